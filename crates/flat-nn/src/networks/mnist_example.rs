//! The network of PyTorch's MNIST example: two 3x3 convolutions, 2x2 max pooling, two fully connected layers. Its dropout is
//! left out: it does nothing where a network is measured.

use super::NetworkSpec;
use crate::ops::Pool2d;
use crate::{Error, ModelConfig, Network, Result, Scope, Specs, Value};
use candle_core::Tensor;
use std::sync::Arc;

pub(super) const MNIST_EXAMPLE: NetworkSpec = NetworkSpec {
    name: "mnist-example",
    others: &["pytorch-mnist"],
    title: "PyTorch's MNIST example",
    about: "two 3x3 convolutions of 32 and 64 channels, 2x2 max pooling, 128 hidden units; no dropout",
    paper: "pytorch/examples, mnist/main.py",
    options: &["activation"],
    width: 32,
    stages: &[],
    in_channels: 1,
    assumed: &["max pooling after the second convolution"],
    build: |config| Ok(Arc::new(MnistExample(config.clone()))),
};

/// Units of the hidden layer.
const HIDDEN: usize = 128;

struct MnistExample(ModelConfig);

/// Side of the last feature map for an input of side `len`.
fn side(len: usize) -> Result<usize> {
    match len.saturating_sub(4) / 2 {
        0 => Err(Error::BadConfig(format!("arch mnist-example needs inputs of at least 6x6, not a side of {len}"))),
        side => Ok(side),
    }
}

impl Network for MnistExample {
    fn name(&self) -> String {
        self.0.arch.to_string()
    }

    fn input(&self) -> Vec<usize> {
        self.0.input()
    }

    fn specs(&self) -> Result<Specs> {
        let (config, c) = (&self.0, self.0.first());
        let mut specs = Specs::default();
        specs.conv("conv1", config.in_channels, c, 3, true);
        specs.conv("conv2", c, 2 * c, 3, true);
        specs.linear("fc1", 2 * c * side(config.height)? * side(config.width)?, HIDDEN);
        specs.linear("fc2", HIDDEN, config.classes);
        Ok(specs)
    }

    fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        let then = self.0.activation;
        let h = scope.conv_of("conv1", x, 1, 0)?.activate(then)?;
        let h = scope.conv("conv2", &h, 1, 0)?.activate(then)?.max_pool(Pool2d::tiles(2))?;
        scope.linear("fc2", &scope.linear_activate("fc1", &h.flatten()?, then)?)
    }
}
