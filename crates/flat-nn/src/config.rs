//! What a built-in model is: architecture, sizes, activation and norm.

use crate::networks::Arch;
use crate::{Error, Result};
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
    /// The normalisation of the residual networks; `mlp` and `lenet` have none.
    pub enum Norm, "norm" {
        /// Batch normalisation (Ioffe & Szegedy 2015, arXiv 1502.03167).
        Batch = "batch",
        /// Group normalisation (Wu & He 2018, arXiv 1803.08494) with [`Norm::groups`] groups.
        Group = "group",
    }
}

impl Norm {
    /// Number of groups over `channels` channels: the largest divisor of `channels` that is at most 32 and leaves at
    /// least 4 channels a group (16 channels: 4 groups, 64: 16, 128 and more: 32).
    pub fn groups(channels: usize) -> usize {
        (1..=32).rev().find(|g| channels.is_multiple_of(*g) && channels / g >= 4).unwrap_or(1)
    }
}

/// Everything that determines a model but its weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelConfig {
    /// The network.
    pub arch: Arch,
    /// Channels of an input image.
    pub in_channels: usize,
    /// Rows of an input image.
    pub height: usize,
    /// Columns of an input image.
    pub width: usize,
    /// Number of classes, the length of the logits.
    pub classes: usize,
    /// Hidden widths, of `mlp` alone; empty means a linear classifier.
    pub hidden: Vec<usize>,
    /// Channels of the first convolution, of `lenet` and the residual networks; all other channels, and `lenet`'s hidden
    /// units, keep their ratio to it. `None` is the architecture's own ([`crate::NetworkSpec::width`]).
    pub channels: Option<usize>,
    /// Groups of every layer of group normalisation, of the residual networks with [`Norm::Group`]. `None` is
    /// [`Norm::groups`] of each layer's channels.
    pub groups: Option<usize>,
    /// The nonlinearity.
    pub activation: Activation,
    /// The normalisation, of the residual networks alone.
    pub norm: Norm,
}

impl ModelConfig {
    /// Shape of an input image.
    pub(crate) fn input(&self) -> Vec<usize> {
        vec![self.in_channels, self.height, self.width]
    }

    /// Groups of the normalisation of `channels` channels; `None` for batch normalisation.
    pub(crate) fn norm_groups(&self, channels: usize) -> Option<usize> {
        (self.norm == Norm::Group).then(|| self.groups.unwrap_or_else(|| Norm::groups(channels)))
    }

    /// Channels of the first convolution.
    pub(crate) fn stem(&self) -> usize {
        self.channels.unwrap_or(self.arch.width)
    }

    /// The fields as text, as a checkpoint's metadata records them; [`Self::from_metadata`] reads them back.
    pub fn to_metadata(&self) -> Vec<(String, String)> {
        let hidden: Vec<String> = self.hidden.iter().map(usize::to_string).collect();
        let channels = self.channels.map(|n| ("channels", n.to_string()));
        let groups = self.groups.map(|n| ("groups", n.to_string()));
        let fields = [
            ("arch", self.arch.to_string()),
            ("in_channels", self.in_channels.to_string()),
            ("height", self.height.to_string()),
            ("width", self.width.to_string()),
            ("classes", self.classes.to_string()),
            ("hidden", hidden.join(",")),
            ("activation", self.activation.to_string()),
            ("norm", self.norm.to_string()),
        ];
        fields.into_iter().chain(channels).chain(groups).map(|(k, v)| (k.to_string(), v)).collect()
    }

    /// Reads the fields back from text, `field(name)` giving the value of each.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the missing or unreadable field.
    pub fn from_metadata<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Result<Self> {
        let text = |name: &str| field(name).ok_or_else(|| Error::BadConfig(format!("the field `{name}` is missing")));
        let whole = |name: &str, t: &str| -> Result<usize> {
            t.parse().map_err(|_| Error::BadConfig(format!("the field `{name}` is `{t}`, not a whole number")))
        };
        let number = |name: &str| whole(name, text(name)?);
        let hidden = text("hidden")?;
        let hidden = hidden
            .split(',')
            .filter(|s| !s.is_empty())
            .map(|s| {
                s.trim().parse().map_err(|_| {
                    Error::BadConfig(format!("the field `hidden` is `{hidden}`, not widths such as 256,128"))
                })
            })
            .collect::<Result<Vec<usize>>>()?;
        Ok(Self {
            arch: text("arch")?.parse()?,
            in_channels: number("in_channels")?,
            height: number("height")?,
            width: number("width")?,
            classes: number("classes")?,
            hidden,
            channels: field("channels").map(|t| whole("channels", t)).transpose()?,
            groups: field("groups").map(|t| whole("groups", t)).transpose()?,
            activation: text("activation")?.parse()?,
            norm: text("norm")?.parse()?,
        })
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
    use crate::networks;

    #[test]
    fn words_are_read_back() {
        for arch in Arch::all() {
            assert_eq!(arch.to_string().parse::<Arch>().expect("known"), arch);
        }
        for activation in Activation::ALL {
            assert_eq!(activation.to_string().parse::<Activation>().expect("known"), *activation);
        }
        for norm in Norm::ALL {
            assert_eq!(norm.to_string().parse::<Norm>().expect("known"), *norm);
        }
    }

    #[test]
    fn unknown_words_are_refused_with_the_choices() {
        let err = "resnet".parse::<Arch>().expect_err("unknown").to_string();
        assert_eq!(err, "architecture = resnet: give one of mlp, lenet, resnet20, resnet18, wrn-16-4");
    }

    #[test]
    fn groups_divide_the_channels_and_hold_at_least_four() {
        for (channels, groups) in [(16, 4), (32, 8), (64, 16), (128, 32), (512, 32), (3, 1)] {
            assert_eq!(Norm::groups(channels), groups, "{channels}");
        }
    }

    #[test]
    fn a_config_survives_the_way_through_metadata() {
        let config = ModelConfig {
            arch: networks::MLP,
            in_channels: 1,
            height: 28,
            width: 27,
            classes: 10,
            hidden: vec![256, 128],
            channels: None,
            groups: None,
            activation: Activation::Gelu,
            norm: Norm::Group,
        };
        let narrow = ModelConfig {
            arch: networks::RESNET20,
            hidden: vec![],
            channels: Some(8),
            groups: Some(2),
            ..config.clone()
        };
        for config in [config, narrow] {
            let map: std::collections::BTreeMap<_, _> = config.to_metadata().into_iter().collect();
            let back = ModelConfig::from_metadata(|k| map.get(k).map(String::as_str)).expect("readable");
            assert_eq!(back, config);
        }
    }
}
