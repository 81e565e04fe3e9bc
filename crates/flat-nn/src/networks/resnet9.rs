//! ResNet-9 (Page 2018, "How to train your ResNet"): a residual network for short trainings on small images. Parameter names
//! are Page's.

use super::NetworkSpec;
use crate::ops::Pool2d;
use crate::{Error, ModelConfig, Network, Result, Scope, Specs, Value};
use candle_core::Tensor;
use std::sync::Arc;

pub(super) const RESNET9: NetworkSpec = NetworkSpec {
    name: "resnet9",
    others: &["resnet-9"],
    title: "ResNet-9",
    about: "8 convolutions and a linear layer for short trainings: pooling right behind a stage's first convolution, \
            features over 8 before the last layer",
    paper: "Page 2018, How to train your ResNet",
    options: &["activation", "channels", "groups", "norm"],
    width: 64,
    stages: &[(2, 1), (4, 0), (8, 1)],
    in_channels: 3,
    assumed: &["max pooling before normalisation", "features over 8 before the last layer"],
    build: |config| Ok(Arc::new(ResNet9(config.clone()))),
};

/// What the pooled features are multiplied with, as Page's network multiplies its logits.
const SCALE: f64 = 0.125;

struct ResNet9(ModelConfig);

/// A stage: its name, its channels before and after, and its residual blocks of two convolutions.
struct Stage {
    name: String,
    input: usize,
    out: usize,
    blocks: usize,
}

impl ResNet9 {
    fn stages(&self) -> Vec<Stage> {
        let first = self.0.first();
        let mut input = first;
        let stage = |(i, &(ratio, blocks)): (usize, &(usize, usize))| {
            let out = ratio * first;
            Stage { name: format!("layer{}", i + 1), input: std::mem::replace(&mut input, out), out, blocks }
        };
        self.0.arch.stages.iter().enumerate().map(stage).collect()
    }

    /// Channels of the last stage.
    fn out(&self) -> usize {
        self.stages().last().map_or(self.0.first(), |stage| stage.out)
    }

    /// Refuses images that the poolings leave nothing of, and those whose largest pixel no square window finds.
    fn check(&self) -> Result<()> {
        let ModelConfig { arch, height, width, .. } = self.0;
        let least = 1 << arch.stages.len();
        if height != width || height < least {
            return Err(Error::BadConfig(format!(
                "arch {arch} needs square images of at least {least}x{least}, not {height}x{width}"
            )));
        }
        Ok(())
    }

    /// `x + activate(norm(conv(activate(norm(conv(x))))))`.
    fn residual<V: Value>(&self, scope: &Scope<'_, V>, name: &str, x: &V) -> Result<V> {
        let mut h = x.clone();
        for part in ["res1", "res2"] {
            h = scope.conv(&format!("{name}.{part}.conv"), &h, 1, 1)?;
            h = scope.norm(&format!("{name}.{part}.bn"), &h, None, Some(self.0.activation))?;
        }
        x.plus(&h)
    }

    /// The largest of every channel times [`SCALE`].
    fn features<V: Value>(h: &V) -> Result<V> {
        let (_, c, side, _) = h.primal().dims4()?;
        let largest = h.max_pool(Pool2d::tiles(side))?.flatten()?;
        let one = Tensor::ones(c, h.primal().dtype(), h.primal().device())?;
        let (zero, scale) = (one.zeros_like()?, (&one * SCALE)?);
        largest.fixed_norm(&h.constant(one)?, &h.constant(zero.clone())?, &zero, &scale)
    }
}

impl Network for ResNet9 {
    fn name(&self) -> String {
        self.0.arch.to_string()
    }

    fn input(&self) -> Vec<usize> {
        self.0.input()
    }

    fn specs(&self) -> Result<Specs> {
        self.check()?;
        let (config, mut specs) = (&self.0, Specs::default());
        let mut layer = |name: &str, input, out| {
            specs.conv(&format!("{name}.conv"), input, out, 3, false);
            specs.norm(&format!("{name}.bn"), out, config.norm_groups(out));
        };
        layer("prep", config.in_channels, config.first());
        for Stage { name, input, out, blocks } in self.stages() {
            layer(&name, input, out);
            if blocks > 0 {
                layer(&format!("{name}.res1"), out, out);
                layer(&format!("{name}.res2"), out, out);
            }
        }
        specs.linear("linear", self.out(), config.classes);
        Ok(specs)
    }

    fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        let then = Some(self.0.activation);
        let mut h = scope.norm("prep.bn", &scope.conv_of("prep.conv", x, 1, 1)?, None, then)?;
        for Stage { name, blocks, .. } in self.stages() {
            let pooled = scope.conv(&format!("{name}.conv"), &h, 1, 1)?.max_pool(Pool2d::tiles(2))?;
            h = scope.norm(&format!("{name}.bn"), &pooled, None, then)?;
            if blocks > 0 {
                h = self.residual(scope, &name, &h)?;
            }
        }
        scope.linear("linear", &Self::features(&h)?)
    }
}
