//! Residual networks: ResNet-20 and ResNet-18 (He et al. 2016, arXiv 1512.03385), wide ResNet 16-4 (Zagoruyko &
//! Komodakis 2016, arXiv 1605.07146). Parameter names are torchvision's.

use crate::{ModelConfig, Network, NetworkSpec, Result, Scope, Specs, Value};
use candle_core::Tensor;
use std::sync::Arc;

pub(super) const RESNET20: NetworkSpec = NetworkSpec {
    name: "resnet20",
    others: &[],
    title: "ResNet-20",
    about: "CIFAR ResNet-20 (section 4.2), channels 16-32-64, shortcuts by 1x1 convolutions",
    paper: "He, Zhang, Ren & Sun 2016, arXiv 1512.03385",
    options: &["channels", "groups", "norm"],
    width: 16,
    in_channels: 3,
    assumed: &[],
    build: |config| Ok(Arc::new(Residual::new(config, &[1, 2, 4], 3, false))),
};

pub(super) const RESNET18: NetworkSpec = NetworkSpec {
    name: "resnet18",
    others: &[],
    title: "ResNet-18",
    about: "channels 64-512, with a 3x3 stem and no stem pooling, as used for CIFAR",
    width: 64,
    build: |config| Ok(Arc::new(Residual::new(config, &[1, 2, 4, 8], 2, false))),
    ..RESNET20
};

pub(super) const WRN_16_4: NetworkSpec = NetworkSpec {
    name: "wrn-16-4",
    others: &["wide-resnet-16-4", "wideresnet16-4"],
    title: "wide ResNet 16-4",
    about: "wide ResNet 16-4, pre-activation, channels 16-64-128-256",
    paper: "Zagoruyko & Komodakis 2016, arXiv 1605.07146",
    build: |config| Ok(Arc::new(Residual::new(config, &[4, 8, 16], 2, true))),
    ..RESNET20
};

/// A residual network of basic blocks (two 3x3 convolutions each).
struct Residual {
    config: ModelConfig,
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

impl Residual {
    fn new(config: &ModelConfig, ratios: &[usize], blocks: usize, pre_activation: bool) -> Self {
        let stem = config.stem();
        let widths = ratios.iter().map(|ratio| ratio * stem).collect();
        Self { config: config.clone(), stem, widths, blocks, pre_activation }
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

    /// `activate(norm(conv(activate(norm(conv(x))))) + shortcut(x))`.
    fn basic_block<V: Value>(&self, scope: &Scope<'_, V>, b: &Block, x: &V) -> Result<V> {
        let (name, then) = (&b.name, Some(self.config.activation));
        let h = scope.conv(&format!("{name}.conv1"), x, b.stride, 1)?;
        let h = scope.norm(&format!("{name}.bn1"), &h, None, then)?;
        let h = scope.conv(&format!("{name}.conv2"), &h, 1, 1)?;
        let norm = format!("{name}.bn2");
        if b.reshapes() {
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
        let config = &self.config;
        let norm = |specs: &mut Specs, name: &str, c: usize| specs.norm(name, c, config.norm_groups(c));
        specs.conv("conv1", config.in_channels, self.stem, 3, false);
        norm(&mut specs, "bn1", if self.pre_activation { self.last() } else { self.stem });
        for b in self.blocks() {
            let name = &b.name;
            specs.conv(&format!("{name}.conv1"), b.input, b.out, 3, false);
            norm(&mut specs, &format!("{name}.bn1"), if self.pre_activation { b.input } else { b.out });
            specs.conv(&format!("{name}.conv2"), b.out, b.out, 3, false);
            norm(&mut specs, &format!("{name}.bn2"), b.out);
            if b.reshapes() {
                specs.conv(&format!("{name}.downsample.0"), b.input, b.out, 1, false);
                if !self.pre_activation {
                    norm(&mut specs, &format!("{name}.downsample.1"), b.out);
                }
            }
        }
        specs.linear("fc", self.last(), config.classes);
        Ok(specs)
    }

    fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        let mut h = scope.conv_of("conv1", x, 1, 1)?;
        let then = Some(self.config.activation);
        if self.pre_activation {
            for b in self.blocks() {
                h = self.pre_activation_block(scope, &b, &h)?;
            }
            h = scope.norm("bn1", &h, None, then)?;
        } else {
            h = scope.norm("bn1", &h, None, then)?;
            for b in self.blocks() {
                h = self.basic_block(scope, &b, &h)?;
            }
        }
        scope.linear("fc", &h.global_mean()?)
    }
}
