//! Residual networks of any stages: basic blocks, bottlenecks, and blocks that normalise first. Parameter names are
//! torchvision's.

use crate::network::AnyNetwork;
use crate::ops::{Conv2d, Pool2d};
use crate::{ModelConfig, Network, Result, Scope, Specs, Stem, Value};
use candle_core::Tensor;
use std::sync::Arc;

type Built = Result<Arc<dyn AnyNetwork>>;

/// Blocks of two 3x3 convolutions.
pub(super) fn basic(config: &ModelConfig) -> Built {
    built(config, Kind::Basic)
}

/// Blocks of two 3x3 convolutions, with shortcuts that have no weights.
pub(super) fn padded(config: &ModelConfig) -> Built {
    built(config, Kind::Padded)
}

/// Blocks of a 1x1, a 3x3 and a 1x1 convolution, the last with four times the channels.
pub(super) fn bottleneck(config: &ModelConfig) -> Built {
    built(config, Kind::Bottleneck)
}

/// Blocks of two 3x3 convolutions, each after normalisation and nonlinearity.
pub(super) fn pre_activation(config: &ModelConfig) -> Built {
    built(config, Kind::PreActivation)
}

fn built(config: &ModelConfig, kind: Kind) -> Built {
    Ok(Arc::new(Residual { config: config.clone(), kind }))
}

/// What the blocks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Basic,
    Padded,
    Bottleneck,
    PreActivation,
}

impl Kind {
    /// Channels of a block's result over those of its 3x3 convolutions.
    fn expansion(self) -> usize {
        match self {
            Self::Basic | Self::Padded | Self::PreActivation => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// A residual network.
struct Residual {
    config: ModelConfig,
    kind: Kind,
}

/// One block: its name, its channels, within and after, and its stride.
struct Block {
    name: String,
    input: usize,
    inner: usize,
    out: usize,
    stride: usize,
}

impl Block {
    /// The shortcut needs a 1x1 convolution.
    fn reshapes(&self) -> bool {
        self.stride != 1 || self.input != self.out
    }

    /// The 1x1 convolution `(out, input, 1, 1)` that hands every channel on, between zeros for the new ones.
    fn selection(&self, like: &Tensor) -> Result<Tensor> {
        let before = self.out.saturating_sub(self.input) / 2;
        let mut weight = vec![0f32; self.out * self.input];
        for i in 0..self.input.min(self.out) {
            weight[(before + i) * self.input + i] = 1.0;
        }
        let shape = (self.out, self.input, 1, 1);
        Ok(Tensor::from_vec(weight, shape, like.device())?.to_dtype(like.dtype())?)
    }
}

impl Residual {
    /// Every stage but the first halves the image.
    fn blocks(&self) -> Vec<Block> {
        let mut input = self.config.first();
        let mut all = Vec::new();
        for (stage, (ratio, blocks)) in self.config.arch.stages.iter().enumerate() {
            let inner = ratio * self.config.first();
            let out = inner * self.kind.expansion();
            for i in 0..*blocks {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                all.push(Block { name: format!("layer{}.{i}", stage + 1), input, inner, out, stride });
                input = out;
            }
        }
        all
    }

    /// Channels of the last stage.
    fn last(&self) -> usize {
        self.blocks().last().map_or(self.config.first(), |b| b.out)
    }

    /// `activate(f(x) + shortcut(x))`, where f ends with normalisation: of two 3x3 convolutions, or of a 1x1, a 3x3
    /// with the stride, and a 1x1.
    fn block<V: Value>(&self, scope: &Scope<'_, V>, b: &Block, x: &V) -> Result<V> {
        let (name, then) = (&b.name, Some(self.config.activation));
        let (h, norm) = match self.kind {
            Kind::Basic | Kind::Padded | Kind::PreActivation => {
                let h = scope.conv(&format!("{name}.conv1"), x, b.stride, 1)?;
                let h = scope.norm(&format!("{name}.bn1"), &h, None, then)?;
                (scope.conv(&format!("{name}.conv2"), &h, 1, 1)?, format!("{name}.bn2"))
            }
            Kind::Bottleneck => {
                let h = scope.conv(&format!("{name}.conv1"), x, 1, 0)?;
                let h = scope.norm(&format!("{name}.bn1"), &h, None, then)?;
                let h = scope.conv(&format!("{name}.conv2"), &h, b.stride, 1)?;
                let h = scope.norm(&format!("{name}.bn2"), &h, None, then)?;
                (scope.conv(&format!("{name}.conv3"), &h, 1, 0)?, format!("{name}.bn3"))
            }
        };
        if b.reshapes() && self.kind == Kind::Padded {
            let shortcut =
                x.conv2d(&x.constant(b.selection(x.primal())?)?, None, Conv2d { stride: b.stride, padding: 0 })?;
            scope.norm(&norm, &h, Some(&shortcut), then)
        } else if b.reshapes() {
            let shortcut = scope.conv(&format!("{name}.downsample.0"), x, b.stride, 0)?;
            let shortcut = scope.norm(&format!("{name}.downsample.1"), &shortcut, None, None)?;
            scope.norm(&norm, &h, Some(&shortcut), then)
        } else {
            scope.norm(&norm, &h, Some(x), then)
        }
    }

    /// `conv(activate(norm(conv(a)))) + shortcut` with `a = activate(norm(x))`; the shortcut is `x`, or a convolution of
    /// `a` where the shape changes.
    fn pre_activation_block<V: Value>(&self, scope: &Scope<'_, V>, b: &Block, x: &V) -> Result<V> {
        let (name, then) = (&b.name, Some(self.config.activation));
        let a = scope.norm(&format!("{name}.bn1"), x, None, then)?;
        let h = scope.conv(&format!("{name}.conv1"), &a, b.stride, 1)?;
        let h = scope.norm(&format!("{name}.bn2"), &h, None, then)?;
        let h = scope.conv(&format!("{name}.conv2"), &h, 1, 1)?;
        if b.reshapes() { h.plus(&scope.conv(&format!("{name}.downsample.0"), &a, b.stride, 0)?) } else { h.plus(x) }
    }
}

impl Network for Residual {
    fn name(&self) -> String {
        self.config.arch.to_string()
    }

    fn input(&self) -> Vec<usize> {
        self.config.input()
    }

    fn specs(&self) -> Result<Specs> {
        let mut specs = Specs::default();
        let (config, first) = (&self.config, self.config.first());
        let pre = self.kind == Kind::PreActivation;
        let norm = |specs: &mut Specs, name: &str, c: usize| specs.norm(name, c, config.norm_groups(c));
        let conv = |specs: &mut Specs, name: &str, [input, out, kernel]: [usize; 3]| match config.stem {
            Stem::Cifar => specs.conv(name, input, out, kernel, false),
            Stem::Imagenet => specs.conv_he(name, input, out, kernel, false),
        };
        let window = match config.stem {
            Stem::Cifar => 3,
            Stem::Imagenet => 7,
        };
        conv(&mut specs, "conv1", [config.in_channels, first, window]);
        norm(&mut specs, "bn1", if pre { self.last() } else { first });
        for b in self.blocks() {
            let convs: &[[usize; 3]] = match self.kind {
                Kind::Basic | Kind::Padded | Kind::PreActivation => &[[b.input, b.inner, 3], [b.inner, b.out, 3]],
                Kind::Bottleneck => &[[b.input, b.inner, 1], [b.inner, b.inner, 3], [b.inner, b.out, 1]],
            };
            for (i, &[input, out, kernel]) in convs.iter().enumerate() {
                conv(&mut specs, &format!("{}.conv{}", b.name, i + 1), [input, out, kernel]);
                norm(&mut specs, &format!("{}.bn{}", b.name, i + 1), if pre { input } else { out });
            }
            if b.reshapes() && self.kind != Kind::Padded {
                conv(&mut specs, &format!("{}.downsample.0", b.name), [b.input, b.out, 1]);
                if !pre {
                    norm(&mut specs, &format!("{}.downsample.1", b.name), b.out);
                }
            }
        }
        specs.linear("fc", self.last(), config.classes);
        Ok(specs)
    }

    fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        let (stride, padding, pool) = match self.config.stem {
            Stem::Cifar => (1, 1, None),
            Stem::Imagenet => (2, 3, Some(Pool2d { kernel: 3, stride: 2, padding: 1 })),
        };
        let pooled = |h: V| pool.map_or(Ok(h.clone()), |pool| h.max_pool(pool));
        let mut h = scope.conv_of("conv1", x, stride, padding)?;
        let then = Some(self.config.activation);
        if self.kind == Kind::PreActivation {
            h = pooled(h)?;
            for b in self.blocks() {
                h = self.pre_activation_block(scope, &b, &h)?;
            }
            h = scope.norm("bn1", &h, None, then)?;
        } else {
            h = pooled(scope.norm("bn1", &h, None, then)?)?;
            for b in self.blocks() {
                h = self.block(scope, &b, &h)?;
            }
        }
        scope.linear("fc", &h.global_mean()?)
    }
}
