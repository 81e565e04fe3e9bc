//! A LeNet-style network: two 5x5 convolutions with 2x2 max pooling, two fully connected layers; no padding. With `c`
//! channels in the first convolution there are `2 c` in the second and `32 c` hidden units.

use super::scope::Scope;
use super::specs::Specs;
use crate::ops::Pool2d;
use crate::{Activation, Error, ModelConfig, Result, Value};
use candle_core::Tensor;

/// Side of the last feature map for an input of side `len`.
fn side(len: usize) -> Result<usize> {
    let convolved = |len: usize| len.saturating_sub(4) / 2;
    match convolved(convolved(len)) {
        0 => Err(Error::BadConfig(format!("arch lenet needs inputs of at least 16x16, not a side of {len}"))),
        side => Ok(side),
    }
}

pub(crate) fn specs(config: &ModelConfig) -> Result<Specs> {
    let c = config.stem();
    let mut specs = Specs::default();
    specs.conv("conv1", config.in_channels, c, 5, true);
    specs.conv("conv2", c, 2 * c, 5, true);
    specs.linear("fc1", 2 * c * side(config.height)? * side(config.width)?, 32 * c);
    specs.linear("fc2", 32 * c, config.classes);
    Ok(specs)
}

pub(crate) fn forward<V: Value>(scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
    scope.linear("fc2", &features(scope, x)?)
}

/// What the last layer takes.
pub(crate) fn features<V: Value>(scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
    let h = pool(scope, &scope.conv_of("conv1", x, 1, 0)?)?;
    let h = pool(scope, &scope.conv("conv2", &h, 1, 0)?)?;
    scope.activate(&scope.linear("fc1", &h.flatten()?)?)
}

/// Nonlinearity and 2x2 max pooling; a rising nonlinearity may follow the pooling, where it has a quarter of the work:
/// the largest element is the same before and after.
fn pool<V: Value>(scope: &Scope<'_, V>, x: &V) -> Result<V> {
    let tiles = Pool2d::tiles(2);
    match scope.config.activation {
        Activation::Relu | Activation::Tanh => scope.activate(&x.max_pool(tiles)?),
        Activation::Gelu => scope.activate(x)?.max_pool(tiles),
    }
}
