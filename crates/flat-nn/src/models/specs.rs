//! The parameters and buffers that a network asks for.

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Init {
    /// Uniform in -bound..bound.
    Uniform(f64),
    /// The same number everywhere.
    Constant(f64),
}

/// One parameter: its PyTorch name, shape and start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spec {
    pub name: String,
    pub shape: Vec<usize>,
    pub init: Init,
}

/// All parameters of a network, and its normalisation layers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Specs {
    pub params: Vec<Spec>,
    /// Name and channels of every normalisation layer.
    pub norms: Vec<(String, usize)>,
}

impl Specs {
    fn push(&mut self, name: String, shape: Vec<usize>, init: Init) {
        self.params.push(Spec { name, shape, init });
    }

    /// PyTorch's default: weight and bias uniform within `1 / sqrt(fan_in)`, which is `kaiming_uniform(a = sqrt 5)`.
    fn layer(&mut self, name: &str, shape: Vec<usize>, bias: bool) {
        let fan_in: usize = shape[1..].iter().product();
        let init = Init::Uniform(1.0 / (fan_in.max(1) as f64).sqrt());
        if bias {
            self.push(format!("{name}.bias"), vec![shape[0]], init);
        }
        self.push(format!("{name}.weight"), shape, init);
    }

    /// A convolution with square windows.
    pub(crate) fn conv(&mut self, name: &str, channels: usize, out: usize, kernel: usize, bias: bool) {
        self.layer(name, vec![out, channels, kernel, kernel], bias);
    }

    /// A fully connected layer with bias.
    pub(crate) fn linear(&mut self, name: &str, input: usize, out: usize) {
        self.layer(name, vec![out, input], true);
    }

    /// A normalisation layer: gain 1, bias 0.
    pub(crate) fn norm(&mut self, name: &str, channels: usize) {
        self.push(format!("{name}.weight"), vec![channels], Init::Constant(1.0));
        self.push(format!("{name}.bias"), vec![channels], Init::Constant(0.0));
        self.norms.push((name.to_string(), channels));
    }
}
