//! The multilayer perceptron: `fc1`, `fc2`, ... with the nonlinearity between.

use super::scope::Scope;
use super::specs::Specs;
use crate::{ModelConfig, Result, Value};
use candle_core::Tensor;

pub(crate) fn specs(config: &ModelConfig) -> Specs {
    let mut specs = Specs::default();
    let mut input = config.in_channels * config.height * config.width;
    for (i, &out) in config.hidden.iter().chain([&config.classes]).enumerate() {
        specs.linear(&format!("fc{}", i + 1), input, out);
        input = out;
    }
    specs
}

pub(crate) fn forward<V: Value>(scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
    match scope.config.hidden.len() {
        0 => scope.linear_of("fc1", &x.flatten_from(1)?),
        _ => scope.linear(&scope.config.last_layer(), &features(scope, x)?),
    }
}

/// What the last layer takes, of a network with a hidden layer.
pub(crate) fn features<V: Value>(scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
    let mut h = scope.activate(&scope.linear_of("fc1", &x.flatten_from(1)?)?)?;
    for i in 1..scope.config.hidden.len() {
        h = scope.activate(&scope.linear(&format!("fc{}", i + 1), &h)?)?;
    }
    Ok(h)
}
