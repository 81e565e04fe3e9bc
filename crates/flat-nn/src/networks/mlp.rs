//! The multilayer perceptron: `fc1`, `fc2`, ... with the nonlinearity between.

use crate::{ModelConfig, Network, NetworkSpec, Result, Scope, Specs, Value};
use candle_core::Tensor;
use std::sync::Arc;

pub(super) const MLP: NetworkSpec = NetworkSpec {
    name: "mlp",
    others: &[],
    title: "multilayer perceptron",
    about: "fully connected; no hidden layer makes a linear classifier",
    paper: "Rumelhart, Hinton & Williams 1986",
    options: &["activation", "hidden"],
    width: 0,
    stages: &[],
    in_channels: 1,
    assumed: &[],
    build: |config| Ok(Arc::new(Mlp(config.clone()))),
};

struct Mlp(ModelConfig);

impl Network for Mlp {
    fn name(&self) -> String {
        self.0.arch.to_string()
    }

    fn input(&self) -> Vec<usize> {
        self.0.input()
    }

    fn specs(&self) -> Result<Specs> {
        let mut specs = Specs::default();
        let mut input = self.0.input().iter().product();
        for (i, &out) in self.0.hidden.iter().chain([&self.0.classes]).enumerate() {
            specs.linear(&format!("fc{}", i + 1), input, out);
            input = out;
        }
        Ok(specs)
    }

    fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        let mut h = scope.linear_of("fc1", &x.flatten_from(1)?)?;
        for i in 0..self.0.hidden.len() {
            h = scope.linear(&format!("fc{}", i + 2), &h.activate(self.0.activation)?)?;
        }
        Ok(h)
    }
}
