//! Residual networks: ResNet-20 and ResNet-18 (He et al. 2016, arXiv 1512.03385), wide ResNet 16-4 (Zagoruyko &
//! Komodakis 2016, arXiv 1605.07146). Parameter names are torchvision's.

use super::scope::Scope;
use super::specs::Specs;
use crate::{Arch, Error, ModelConfig, Result, Value};
use candle_core::Tensor;

/// The sizes of a residual network of basic blocks (two 3x3 convolutions each).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Channels after the first convolution.
    stem: usize,
    /// Channels of each stage; every stage but the first halves the image.
    widths: Vec<usize>,
    /// Blocks a stage.
    blocks: usize,
    /// Normalise and activate before the convolutions (wide ResNet) instead of after them.
    pre_activation: bool,
}

/// One block: its name, its channels and its stride.
struct Block {
    name: String,
    input: usize,
    out: usize,
    stride: usize,
}

impl Block {
    /// The shortcut needs a 1x1 convolution.
    fn reshapes(&self) -> bool {
        self.stride != 1 || self.input != self.out
    }
}

impl Plan {
    pub(crate) fn of(config: &ModelConfig) -> Result<Self> {
        let arch = config.arch;
        let (ratios, blocks): (&[usize], usize) = match arch {
            Arch::ResNet20 => (&[1, 2, 4], 3),
            Arch::ResNet18 => (&[1, 2, 4, 8], 2),
            Arch::Wrn16x4 => (&[4, 8, 16], 2),
            Arch::Mlp | Arch::LeNet => return Err(Error::BadConfig(format!("{arch} has no residual blocks"))),
        };
        let stem = config.stem();
        let widths = ratios.iter().map(|ratio| ratio * stem).collect();
        Ok(Self { stem, widths, blocks, pre_activation: arch == Arch::Wrn16x4 })
    }

    fn last(&self) -> usize {
        self.widths.last().copied().unwrap_or(self.stem)
    }

    fn blocks(&self) -> Vec<Block> {
        let mut input = self.stem;
        let mut all = Vec::new();
        for (stage, &out) in self.widths.iter().enumerate() {
            for i in 0..self.blocks {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                all.push(Block { name: format!("layer{}.{i}", stage + 1), input, out, stride });
                input = out;
            }
        }
        all
    }

    pub(crate) fn specs(&self, config: &ModelConfig) -> Specs {
        let mut specs = Specs::default();
        specs.conv("conv1", config.in_channels, self.stem, 3, false);
        specs.norm("bn1", if self.pre_activation { self.last() } else { self.stem });
        for b in self.blocks() {
            let name = &b.name;
            specs.conv(&format!("{name}.conv1"), b.input, b.out, 3, false);
            specs.norm(&format!("{name}.bn1"), if self.pre_activation { b.input } else { b.out });
            specs.conv(&format!("{name}.conv2"), b.out, b.out, 3, false);
            specs.norm(&format!("{name}.bn2"), b.out);
            if b.reshapes() {
                specs.conv(&format!("{name}.downsample.0"), b.input, b.out, 1, false);
                if !self.pre_activation {
                    specs.norm(&format!("{name}.downsample.1"), b.out);
                }
            }
        }
        specs.linear("fc", self.last(), config.classes);
        specs
    }

    pub(crate) fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        scope.linear("fc", &self.features(scope, x)?)
    }

    /// What the last layer takes.
    pub(crate) fn features<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        let mut h = scope.conv_of("conv1", x, 1, 1)?;
        if self.pre_activation {
            for b in self.blocks() {
                h = pre_activation_block(scope, &b, &h)?;
            }
            h = scope.norm_activate("bn1", &h)?;
        } else {
            h = scope.norm_activate("bn1", &h)?;
            for b in self.blocks() {
                h = basic_block(scope, &b, &h)?;
            }
        }
        h.global_mean()
    }
}

/// `activate(norm(conv(activate(norm(conv(x))))) + shortcut(x))`.
fn basic_block<V: Value>(scope: &Scope<'_, V>, b: &Block, x: &V) -> Result<V> {
    let name = &b.name;
    let h = scope.conv(&format!("{name}.conv1"), x, b.stride, 1)?;
    let h = scope.norm_activate(&format!("{name}.bn1"), &h)?;
    let h = scope.conv(&format!("{name}.conv2"), &h, 1, 1)?;
    let norm = format!("{name}.bn2");
    if b.reshapes() {
        let shortcut = scope.conv(&format!("{name}.downsample.0"), x, b.stride, 0)?;
        let shortcut = scope.norm(&format!("{name}.downsample.1"), &shortcut)?;
        scope.norm_add_activate(&norm, &h, &shortcut)
    } else {
        scope.norm_add_activate(&norm, &h, x)
    }
}

/// `conv(activate(norm(conv(a)))) + shortcut` with `a = activate(norm(x))`; the shortcut is `x`, or a convolution of `a`
/// where the shape changes.
fn pre_activation_block<V: Value>(scope: &Scope<'_, V>, b: &Block, x: &V) -> Result<V> {
    let name = &b.name;
    let a = scope.norm_activate(&format!("{name}.bn1"), x)?;
    let h = scope.conv(&format!("{name}.conv1"), &a, b.stride, 1)?;
    let h = scope.norm_activate(&format!("{name}.bn2"), &h)?;
    let h = scope.conv(&format!("{name}.conv2"), &h, 1, 1)?;
    if b.reshapes() { h.plus(&scope.conv(&format!("{name}.downsample.0"), &a, b.stride, 0)?) } else { h.plus(x) }
}
