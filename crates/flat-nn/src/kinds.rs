//! The kinds of layers: nonlinearity, normalisation, and how batch normalisation behaves.

use flat_core::named;

named! {
    /// The nonlinearity.
    pub enum Activation, "activation" {
        /// `max(x, 0)`, derivative 0 at 0 as in PyTorch.
        Relu = "relu",
        /// Hyperbolic tangent.
        Tanh = "tanh",
        /// `x Phi(x)` with the exact normal distribution function (Hendrycks & Gimpel 2016, arXiv 1606.08415).
        Gelu = "gelu",
    }
}

named! {
    /// The normalisation of the networks that take one ([`crate::NetworkSpec::takes`]).
    pub enum Norm, "norm" {
        /// Batch normalisation (Ioffe & Szegedy 2015, arXiv 1502.03167).
        Batch = "batch" | "batch-norm" | "bn",
        /// Group normalisation (Wu & He 2018, arXiv 1803.08494) with [`Norm::groups`] groups.
        Group = "group" | "group-norm" | "gn",
    }
}

impl Norm {
    /// Number of groups over `channels` channels. It is the largest divisor of `channels` that is at most 32 and
    /// leaves at least 4 channels a group. 16 channels have 4 groups, 64 have 16, 128 and more have 32.
    pub fn groups(channels: usize) -> usize {
        (1..=32).rev().find(|g| channels.is_multiple_of(*g) && channels / g >= 4).unwrap_or(1)
    }
}

named! {
    /// How a network begins, and with which weights.
    pub enum Stem, "stem" {
        /// For small images: a 3x3 convolution without pooling, weights by PyTorch's defaults.
        Cifar = "cifar",
        /// torchvision's for large images, with its initial weights. Residual networks begin with a 7x7 convolution and
        /// 3x3 max pooling, both of stride 2; VGG ends with pooling to 7x7 and a classifier of three layers.
        Imagenet = "imagenet",
    }
}

/// How batch normalisation behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics; the running ones are updated.
    Train,
    /// Batch statistics; the running ones stay as they are.
    BatchStats,
    /// The running statistics.
    Eval,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_divide_the_channels_and_hold_at_least_four() {
        for (channels, groups) in [(16, 4), (32, 8), (64, 16), (128, 32), (512, 32), (3, 1)] {
            assert_eq!(Norm::groups(channels), groups, "{channels}");
        }
    }
}
