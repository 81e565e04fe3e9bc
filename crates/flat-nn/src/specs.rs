//! The parameters and normalisation layers that a network declares.

use std::collections::BTreeMap;

/// PyTorch's constant under the square root of normalisation layers.
const EPS: f64 = 1e-5;

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Uniform in -bound..bound.
    Uniform(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
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

impl Spec {
    fn numbers(&self) -> u128 {
        self.shape.iter().fold(1, |n, &side| n.saturating_mul(side as u128))
    }
}

/// A normalisation layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NormSpec {
    pub channels: usize,
    /// Groups of group normalisation; `None` for batch normalisation.
    pub groups: Option<usize>,
    /// The constant under the square root.
    pub eps: f64,
}

/// All parameters of a network, and its normalisation layers by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Specs {
    pub(crate) params: Vec<Spec>,
    pub(crate) norms: BTreeMap<String, NormSpec>,
}

impl Specs {
    /// Numbers in the largest parameter.
    pub(crate) fn largest(&self) -> u128 {
        self.params.iter().map(Spec::numbers).max().unwrap_or(0)
    }

    /// Numbers in all parameters and in the running statistics of batch normalisation.
    pub(crate) fn numbers(&self) -> u128 {
        let params = self.params.iter().map(Spec::numbers);
        let running = self.norms.values().filter(|norm| norm.groups.is_none()).map(|norm| 2 * norm.channels as u128);
        params.chain(running).fold(0, u128::saturating_add)
    }

    /// A parameter of your own, which [`Scope::param`](crate::Scope::param) finds.
    pub fn param(&mut self, name: impl Into<String>, shape: &[usize], init: Init) {
        self.params.push(Spec { name: name.into(), shape: shape.to_vec(), init });
    }

    /// PyTorch's default: weight and bias uniform within `1 / sqrt(fan_in)`, which is `kaiming_uniform(a = sqrt 5)`.
    fn layer(&mut self, name: &str, shape: &[usize], bias: bool) {
        let fan_in: usize = shape[1..].iter().product();
        let init = Init::Uniform(1.0 / (fan_in.max(1) as f64).sqrt());
        if bias {
            self.param(format!("{name}.bias"), &shape[..1], init);
        }
        self.param(format!("{name}.weight"), shape, init);
    }

    /// A convolution with square windows: weight `(out, channels, kernel, kernel)`, bias `(out)`.
    pub fn conv(&mut self, name: &str, channels: usize, out: usize, kernel: usize, bias: bool) {
        self.layer(name, &[out, channels, kernel, kernel], bias);
    }

    /// [`Self::conv`] with torchvision's start before relu. Weights are normal with variance `2 / (out kernel^2)`, and
    /// the bias is 0 (He, Zhang, Ren & Sun 2015, arXiv 1502.01852, by the outputs).
    pub fn conv_he(&mut self, name: &str, channels: usize, out: usize, kernel: usize, bias: bool) {
        if bias {
            self.param(format!("{name}.bias"), &[out], Init::Constant(0.0));
        }
        let std = (2.0 / (out * kernel * kernel).max(1) as f64).sqrt();
        self.param(format!("{name}.weight"), &[out, channels, kernel, kernel], Init::Normal(std));
    }

    /// A fully connected layer: weight `(out, input)`, bias `(out)`.
    pub fn linear(&mut self, name: &str, input: usize, out: usize) {
        self.layer(name, &[out, input], true);
    }

    /// [`Self::linear`] with normal weights of mean 0 and this standard deviation, and bias 0.
    pub fn linear_normal(&mut self, name: &str, input: usize, out: usize, std: f64) {
        self.param(format!("{name}.bias"), &[out], Init::Constant(0.0));
        self.param(format!("{name}.weight"), &[out, input], Init::Normal(std));
    }

    /// A normalisation layer, gain 1 and bias 0: of the batch, or of `groups` groups of channels of each example.
    pub fn norm(&mut self, name: &str, channels: usize, groups: Option<usize>) {
        self.normalise(name, NormSpec { channels, groups, eps: EPS });
    }

    /// Normalisation of every row of `(n, width)`, gain 1 and bias 0, with `eps` under the square root.
    pub fn layer_norm(&mut self, name: &str, width: usize, eps: f64) {
        self.normalise(name, NormSpec { channels: width, groups: Some(1), eps });
    }

    fn normalise(&mut self, name: &str, norm: NormSpec) {
        self.param(format!("{name}.weight"), &[norm.channels], Init::Constant(1.0));
        self.param(format!("{name}.bias"), &[norm.channels], Init::Constant(0.0));
        self.norms.insert(name.to_string(), norm);
    }
}
