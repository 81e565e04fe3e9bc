//! What a model is: architecture, sizes, activation and norm.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// An enum with a word for each variant.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal, $choices:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// Every choice, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $word),* })
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(s: &str) -> Result<Self> {
                match s {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(Error::Unknown { what: $what, given: s.to_string(), choices: $choices }),
                }
            }
        }
    };
}

pub(crate) use words;

words! {
    /// Which network.
    Arch, "architecture", "mlp, lenet, resnet20, resnet18, wrn-16-4" {
        /// Fully connected, hidden widths from [`ModelConfig::hidden`].
        Mlp = "mlp",
        /// Two 5x5 convolutions with 2x2 max pooling, 32 and 64 channels, then 1024 hidden units.
        LeNet = "lenet",
        /// CIFAR ResNet-20, channels 16-32-64 (He et al. 2016, arXiv 1512.03385, section 4.2), 1x1 convolution shortcuts.
        ResNet20 = "resnet20",
        /// ResNet-18, channels 64-512 (He et al. 2016), with a 3x3 stem and no stem pooling, as used for CIFAR.
        ResNet18 = "resnet18",
        /// Wide ResNet 16-4, pre-activation (Zagoruyko & Komodakis 2016, arXiv 1605.07146).
        Wrn16x4 = "wrn-16-4",
    }
}

words! {
    /// The nonlinearity.
    Activation, "activation", "relu, tanh, gelu" {
        /// `max(x, 0)`, derivative 0 at 0 as in PyTorch.
        Relu = "relu",
        /// Hyperbolic tangent.
        Tanh = "tanh",
        /// `x Phi(x)` with the exact normal distribution function (Hendrycks & Gimpel 2016, arXiv 1606.08415).
        Gelu = "gelu",
    }
}

words! {
    /// The normalisation of the residual networks; `mlp` and `lenet` have none.
    Norm, "norm", "batch, group" {
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
    /// units, keep their ratio to it. `None` is the architecture's own: 32 for `lenet`, 64 for `resnet18`, else 16.
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
    /// Whether the loss has kinks in the parameters, from relu or max pooling: second differences count them, while the
    /// Hessian does not see them.
    pub fn has_kinks(&self) -> bool {
        self.activation == Activation::Relu || self.arch == Arch::LeNet
    }

    /// Name of the layer that gives the logits, of parameters `NAME.weight` and `NAME.bias`.
    pub fn last_layer(&self) -> String {
        match self.arch {
            Arch::Mlp => format!("fc{}", self.hidden.len() + 1),
            Arch::LeNet => "fc2".into(),
            Arch::ResNet20 | Arch::ResNet18 | Arch::Wrn16x4 => "fc".into(),
        }
    }

    /// Checks what no architecture can take.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the field.
    pub(crate) fn validate(&self) -> Result<()> {
        for (field, n) in [
            ("in_channels", self.in_channels),
            ("height", self.height),
            ("width", self.width),
            ("classes", self.classes),
        ] {
            if n == 0 {
                return Err(Error::BadConfig(format!("{field} is 0: give at least 1")));
            }
        }
        if self.hidden.contains(&0) {
            return Err(Error::BadConfig(format!("hidden widths {:?}: every width must be at least 1", self.hidden)));
        }
        if self.arch != Arch::Mlp && !self.hidden.is_empty() {
            return Err(Error::BadConfig(format!(
                "hidden widths {:?} belong to arch mlp; leave them out for {}",
                self.hidden, self.arch
            )));
        }
        if self.channels == Some(0) {
            return Err(Error::BadConfig("channels is 0: give at least 1".into()));
        }
        if self.groups.is_some() && (self.norm != Norm::Group || matches!(self.arch, Arch::Mlp | Arch::LeNet)) {
            return Err(Error::BadConfig("groups belong to a residual network with norm group: leave them out".into()));
        }
        if let (Arch::Mlp, Some(n)) = (self.arch, self.channels) {
            return Err(Error::BadConfig(format!("{n} channels: an mlp has hidden widths instead")));
        }
        Ok(())
    }

    /// Groups of a group normalisation of `channels` channels.
    pub fn groups_of(&self, channels: usize) -> usize {
        self.groups.unwrap_or_else(|| Norm::groups(channels))
    }

    /// Channels of the first convolution.
    pub(crate) fn stem(&self) -> usize {
        self.channels.unwrap_or(match self.arch {
            Arch::LeNet => 32,
            Arch::ResNet18 => 64,
            Arch::ResNet20 | Arch::Wrn16x4 | Arch::Mlp => 16,
        })
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

    #[test]
    fn words_are_read_back() {
        for arch in Arch::ALL {
            assert_eq!(arch.to_string().parse::<Arch>().expect("known"), *arch);
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
        assert!(err.contains("resnet20") && err.contains("`resnet`"), "{err}");
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
            arch: Arch::Mlp,
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
        let narrow =
            ModelConfig { arch: Arch::ResNet20, hidden: vec![], channels: Some(8), groups: Some(2), ..config.clone() };
        for config in [config, narrow] {
            let map: std::collections::BTreeMap<_, _> = config.to_metadata().into_iter().collect();
            let back = ModelConfig::from_metadata(|k| map.get(k).map(String::as_str)).expect("readable");
            assert_eq!(back, config);
        }
    }
}
