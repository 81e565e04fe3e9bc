//! VGG with normalisation (Simonyan & Zisserman 2015): 3x3 convolutions, and 2x2 max pooling behind each stage.
//! Parameter names are torchvision's, with the stem for small images those of the usual networks for CIFAR.

use super::NetworkSpec;
use crate::ops::Pool2d;
use crate::{Error, ModelConfig, Network, Result, Scope, Specs, Stem, Value};
use candle_core::Tensor;
use std::sync::Arc;

pub(super) const VGG11_BN: NetworkSpec = NetworkSpec {
    name: "vgg11-bn",
    others: &[],
    title: "VGG-11",
    about: "8 convolutions with normalisation; --stem imagenet has torchvision's classifier, without its dropout",
    paper: "Simonyan & Zisserman 2015, arXiv 1409.1556",
    options: &["activation", "channels", "groups", "norm", "stem"],
    width: 64,
    stages: &[(1, 1), (2, 1), (4, 2), (8, 2), (8, 2)],
    in_channels: 3,
    assumed: &[],
    build: |config| Ok(Arc::new(Vgg(config.clone()))),
};

pub(super) const VGG13_BN: NetworkSpec = NetworkSpec {
    name: "vgg13-bn",
    title: "VGG-13",
    about: "10 convolutions, as vgg11-bn with two in every stage",
    stages: &[(1, 2), (2, 2), (4, 2), (8, 2), (8, 2)],
    ..VGG11_BN
};

pub(super) const VGG16_BN: NetworkSpec = NetworkSpec {
    name: "vgg16-bn",
    title: "VGG-16",
    about: "13 convolutions, as vgg13-bn with three in the last three stages",
    stages: &[(1, 2), (2, 2), (4, 3), (8, 3), (8, 3)],
    ..VGG11_BN
};

/// Side of what torchvision's classifier sees.
const SEEN: usize = 7;
/// Hidden units of torchvision's classifier over the channels of the first convolution.
const HIDDEN: usize = 64;
/// Standard deviation of its initial weights.
const SPREAD: f64 = 0.01;

struct Vgg(ModelConfig);

/// A convolution: its place in the sequence `features`, where normalisation and nonlinearity follow, and its channels.
struct Layer {
    at: usize,
    input: usize,
    out: usize,
    /// The last of its stage, which pooling follows.
    last: bool,
}

impl Vgg {
    fn layers(&self) -> Vec<Layer> {
        let (mut at, mut input, mut all) = (0, self.0.in_channels, Vec::new());
        for (ratio, layers) in self.0.arch.stages {
            let out = ratio * self.0.first();
            for i in 1..=*layers {
                all.push(Layer { at, input, out, last: i == *layers });
                (at, input) = (at + 3, out);
            }
            at += 1;
        }
        all
    }

    /// Channels of the last stage.
    fn out(&self) -> usize {
        self.layers().last().map_or(self.0.in_channels, |layer| layer.out)
    }

    /// Refuses images that the poolings leave nothing of.
    fn check(&self) -> Result<()> {
        let ModelConfig { arch, height, width, .. } = self.0;
        let least = 1 << arch.stages.len();
        if height.min(width) < least {
            return Err(Error::BadConfig(format!(
                "arch {arch} needs images of at least {least}x{least}, not {height}x{width}"
            )));
        }
        Ok(())
    }
}

impl Network for Vgg {
    fn name(&self) -> String {
        self.0.arch.to_string()
    }

    fn input(&self) -> Vec<usize> {
        self.0.input()
    }

    fn specs(&self) -> Result<Specs> {
        self.check()?;
        let (config, mut specs) = (&self.0, Specs::default());
        for Layer { at, input, out, .. } in self.layers() {
            let name = format!("features.{at}");
            match config.stem {
                Stem::Cifar => specs.conv(&name, input, out, 3, true),
                Stem::Imagenet => specs.conv_he(&name, input, out, 3, true),
            }
            specs.norm(&format!("features.{}", at + 1), out, config.norm_groups(out));
        }
        match config.stem {
            Stem::Cifar => specs.linear("classifier", self.out(), config.classes),
            Stem::Imagenet => {
                let hidden = HIDDEN * config.first();
                specs.linear_normal("classifier.0", self.out() * SEEN * SEEN, hidden, SPREAD);
                specs.linear_normal("classifier.3", hidden, hidden, SPREAD);
                specs.linear_normal("classifier.6", hidden, config.classes, SPREAD);
            }
        }
        Ok(specs)
    }

    fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        let then = self.0.activation;
        let mut before: Option<V> = None;
        for Layer { at, last, .. } in self.layers() {
            let name = format!("features.{at}");
            let h = match &before {
                None => scope.conv_of(&name, x, 1, 1)?,
                Some(h) => scope.conv(&name, h, 1, 1)?,
            };
            let h = scope.norm(&format!("features.{}", at + 1), &h, None, Some(then))?;
            before = Some(if last { h.max_pool(Pool2d::tiles(2))? } else { h });
        }
        let h = before.ok_or_else(|| Error::BadConfig(format!("arch {} has no layers", self.0.arch)))?;
        match self.0.stem {
            Stem::Cifar => scope.linear("classifier", &h.global_mean()?),
            Stem::Imagenet => {
                let h = scope.linear_activate("classifier.0", &h.adaptive_mean(SEEN)?.flatten()?, then)?;
                scope.linear("classifier.6", &scope.linear_activate("classifier.3", &h, then)?)
            }
        }
    }
}
