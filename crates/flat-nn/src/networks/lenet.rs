//! A LeNet-style network: two 5x5 convolutions with 2x2 max pooling, two fully connected layers; no padding. With `c`
//! channels in the first convolution there are `2 c` in the second and `32 c` hidden units.

use super::NetworkSpec;
use crate::ops::Pool2d;
use crate::{Activation, Error, ModelConfig, Network, Result, Scope, Specs, Value};
use candle_core::Tensor;
use std::sync::Arc;

pub(super) const LENET: NetworkSpec = NetworkSpec {
    name: "lenet",
    others: &["lenet5"],
    title: "LeNet",
    about: "two 5x5 convolutions with 2x2 max pooling, 32 and 64 channels, then 1024 hidden units",
    paper: "LeCun, Bottou, Bengio & Haffner 1998",
    options: &["activation", "channels"],
    width: 32,
    stages: &[],
    in_channels: 1,
    assumed: &["max pooling"],
    build: |config| Ok(Arc::new(LeNet(config.clone()))),
};

struct LeNet(ModelConfig);

/// Side of the last feature map for an input of side `len`.
fn side(len: usize) -> Result<usize> {
    let convolved = |len: usize| len.saturating_sub(4) / 2;
    match convolved(convolved(len)) {
        0 => Err(Error::BadConfig(format!("arch lenet needs inputs of at least 16x16, not a side of {len}"))),
        side => Ok(side),
    }
}

impl Network for LeNet {
    fn name(&self) -> String {
        self.0.arch.to_string()
    }

    fn input(&self) -> Vec<usize> {
        self.0.input()
    }

    fn specs(&self) -> Result<Specs> {
        let (config, c) = (&self.0, self.0.first());
        let mut specs = Specs::default();
        specs.conv("conv1", config.in_channels, c, 5, true);
        specs.conv("conv2", c, 2 * c, 5, true);
        specs.linear("fc1", 2 * c * side(config.height)? * side(config.width)?, 32 * c);
        specs.linear("fc2", 32 * c, config.classes);
        Ok(specs)
    }

    fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        let (tiles, then) = (Pool2d::tiles(2), self.0.activation);
        let h = match then {
            // a rising nonlinearity may follow the pooling, where it has a quarter of the work: the largest element is the same
            Activation::Relu | Activation::Tanh => {
                let h = scope.conv_pool_of("conv1", x, tiles, then)?;
                scope.conv_pool("conv2", &h, tiles, then)?
            }
            Activation::Gelu => {
                let h = scope.conv_of("conv1", x, 1, 0)?.activate(then)?.max_pool(tiles)?;
                scope.conv("conv2", &h, 1, 0)?.activate(then)?.max_pool(tiles)?
            }
        };
        scope.linear("fc2", &scope.linear_activate("fc1", &h.flatten()?, then)?)
    }
}
