//! Vision transformers (Dosovitskiy et al. 2021, arXiv 2010.11929) of the sizes of Touvron et al. 2021. Parameter
//! names, layers and initial weights are timm's.

use super::NetworkSpec;
use crate::{Activation, Error, Init, ModelConfig, Network, Result, Scope, Specs, Value};
use candle_core::Tensor;
use std::sync::Arc;

pub(super) const VIT_TINY: NetworkSpec = NetworkSpec {
    name: "vit-tiny",
    others: &["vit-ti", "deit-tiny"],
    title: "ViT-Tiny",
    about: "12 layers of 3 heads and 192 channels, layer normalisation first, gelu, a class token; 4x4 patches",
    paper: "Dosovitskiy et al. 2021, arXiv 2010.11929; Touvron et al. 2021, arXiv 2012.12877",
    options: &["patch"],
    width: 192,
    stages: &[(1, 12)],
    in_channels: 3,
    assumed: &[],
    build: |config| Ok(Arc::new(Vit(config.clone()))),
};

/// Channels of a head.
const HEAD: usize = 64;
/// Hidden units of a layer's perceptron over its channels.
const WIDER: usize = 4;
/// timm's constant under the square root of its normalisation.
const EPS: f64 = 1e-6;
/// Standard deviation of the initial weights.
const SPREAD: f64 = 0.02;
/// That of the class token.
const TOKEN: f64 = 1e-6;

struct Vit(ModelConfig);

impl Vit {
    fn layers(&self) -> impl Iterator<Item = String> {
        let layers: usize = self.0.arch.stages.iter().map(|(_, layers)| layers).sum();
        (0..layers).map(|i| format!("blocks.{i}"))
    }

    /// Number of patches.
    fn patches(&self) -> Result<usize> {
        let ModelConfig { arch, patch, height, width, .. } = self.0;
        if patch == 0 || !height.is_multiple_of(patch) || !width.is_multiple_of(patch) {
            return Err(Error::BadConfig(format!(
                "patch {patch} does not divide images of {height}x{width}: give {arch} a divisor of both sides"
            )));
        }
        Ok(height / patch * (width / patch))
    }

    /// `softmax(q k^T / sqrt(channels of a head)) v` of every head, for `tokens` rows an image.
    fn attention<V: Value>(&self, scope: &Scope<'_, V>, layer: &str, x: &V, tokens: usize) -> Result<V> {
        let (rows, width) = x.primal().dims2()?;
        let (n, heads) = (rows / tokens, width / HEAD);
        let all = scope.linear(&format!("{layer}.qkv"), x)?.reshape(&[n, tokens, 3, heads, HEAD])?;
        let all = all.permute(&[2, 0, 3, 1, 4])?;
        let part = |i| all.narrow(0, i, 1)?.reshape(&[n * heads, tokens, HEAD]);
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let weights = q.products(&k.permute(&[0, 2, 1])?)?.softmax(1.0 / (HEAD as f64).sqrt())?;
        let mixed = weights.products(&v)?.reshape(&[n, heads, tokens, HEAD])?.permute(&[0, 2, 1, 3])?;
        scope.linear(&format!("{layer}.proj"), &mixed.reshape(&[rows, width])?)
    }
}

impl Network for Vit {
    fn name(&self) -> String {
        self.0.arch.to_string()
    }

    fn input(&self) -> Vec<usize> {
        self.0.input()
    }

    fn specs(&self) -> Result<Specs> {
        let (config, width, mut specs) = (&self.0, self.0.first(), Specs::default());
        let tokens = 1 + self.patches()?;
        specs.param("cls_token", &[1, 1, width], Init::Normal(TOKEN));
        specs.param("pos_embed", &[1, tokens, width], Init::Normal(SPREAD));
        specs.conv("patch_embed.proj", config.in_channels, width, config.patch, true);
        for layer in self.layers() {
            specs.layer_norm(&format!("{layer}.norm1"), width, EPS);
            specs.linear_normal(&format!("{layer}.attn.qkv"), width, 3 * width, SPREAD);
            specs.linear_normal(&format!("{layer}.attn.proj"), width, width, SPREAD);
            specs.layer_norm(&format!("{layer}.norm2"), width, EPS);
            specs.linear_normal(&format!("{layer}.mlp.fc1"), width, WIDER * width, SPREAD);
            specs.linear_normal(&format!("{layer}.mlp.fc2"), WIDER * width, width, SPREAD);
        }
        specs.layer_norm("norm", width, EPS);
        specs.linear_normal("head", width, config.classes, SPREAD);
        Ok(specs)
    }

    fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        let (n, width, patches) = (x.dim(0)?, self.0.first(), self.patches()?);
        let tokens = 1 + patches;
        let h = scope.conv_of("patch_embed.proj", x, self.0.patch, 0)?;
        let h = h.reshape(&[n, width, patches])?.permute(&[0, 2, 1])?.pad(1, 1, 0)?;
        let added = scope.param("pos_embed")?.plus(&scope.param("cls_token")?.pad(1, 0, patches)?)?;
        let mut h = h.plus(&added.repeat(n)?)?.reshape(&[n * tokens, width])?;
        for layer in self.layers() {
            let normal = scope.norm(&format!("{layer}.norm1"), &h, None, None)?;
            h = h.plus(&self.attention(scope, &format!("{layer}.attn"), &normal, tokens)?)?;
            let normal = scope.norm(&format!("{layer}.norm2"), &h, None, None)?;
            let hidden = scope.linear_activate(&format!("{layer}.mlp.fc1"), &normal, Activation::Gelu)?;
            h = h.plus(&scope.linear(&format!("{layer}.mlp.fc2"), &hidden)?)?;
        }
        // the class token alone is read
        let token = h.reshape(&[n, tokens, width])?.narrow(1, 0, 1)?.reshape(&[n, width])?;
        scope.linear("head", &scope.norm("norm", &token, None, None)?)
    }
}
