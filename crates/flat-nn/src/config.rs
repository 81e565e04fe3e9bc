//! The description of a built-in model: architecture, sizes, activation and norm.

use crate::kinds::{Activation, Norm, Stem};
use crate::network::AnyNetwork;
use crate::{Error, Result};
use flat_core::Choice;
use std::sync::Arc;

/// Which network: an entry of [`crate::networks::NETWORKS`], found by its name.
pub type Arch = Choice<NetworkSpec>;

/// The facts of a network that are known before it is built.
#[derive(Debug)]
pub struct NetworkSpec {
    /// What the command line, `config.toml` and checkpoints call it.
    pub name: &'static str,
    /// Other names that find it.
    pub others: &'static [&'static str],
    /// What text calls it.
    pub title: &'static str,
    /// In a line.
    pub about: &'static str,
    /// Authors, year and, where there is one, the arXiv id.
    pub paper: &'static str,
    /// The fields of [`ModelConfig`] that it alone makes use of.
    pub options: &'static [&'static str],
    /// Channels of the first convolution unless [`ModelConfig::channels`] says otherwise; 0 where there is none.
    pub width: usize,
    /// Its stages: channels over [`Self::width`], and blocks. Empty where a network has none.
    pub stages: &'static [(usize, usize)],
    /// Channels of the images that it is usually trained on.
    pub in_channels: usize,
    /// What is assumed of weights from elsewhere, whose names and shapes do not tell.
    pub assumed: &'static [&'static str],
    pub(crate) build: fn(&ModelConfig) -> Result<Arc<dyn AnyNetwork>>,
}

impl NetworkSpec {
    /// Whether the field of [`ModelConfig`] called `option` (`hidden`, `channels`, `groups`, `activation`, `norm`,
    /// `stem`, `patch`) has an effect.
    pub fn takes(&self, option: &str) -> bool {
        self.options.contains(&option)
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
    /// Channels of the first convolution; all other channels, and `lenet`'s hidden units, keep their ratio to it.
    /// `None` is the architecture's own ([`NetworkSpec::width`]).
    pub channels: Option<usize>,
    /// Groups of every layer of group normalisation, with [`Norm::Group`]. `None` is
    /// [`Norm::groups`] of each layer's channels.
    pub groups: Option<usize>,
    /// The nonlinearity, of the networks that take one.
    pub activation: Activation,
    /// The normalisation, of the networks that take it.
    pub norm: Norm,
    /// How the network begins, of those that take it.
    pub stem: Stem,
    /// Side of the square patches that an image is cut into, of the vision transformers.
    pub patch: usize,
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
    pub(crate) fn first(&self) -> usize {
        self.channels.unwrap_or(self.arch.width)
    }

    /// The field that makes the model as large as it is, and its value.
    pub(crate) fn size(&self) -> String {
        match self.channels {
            Some(channels) => format!("channels {channels}"),
            None if !self.hidden.is_empty() => {
                let hidden: Vec<String> = self.hidden.iter().map(usize::to_string).collect();
                format!("hidden {}", hidden.join(","))
            }
            None => format!("arch {}", self.arch),
        }
    }

    /// The fields as text, as a checkpoint's metadata records them; [`Self::from_metadata`] reads them back.
    pub fn to_metadata(&self) -> Vec<(String, String)> {
        let hidden: Vec<String> = self.hidden.iter().map(usize::to_string).collect();
        let channels = self.channels.map(|n| ("channels", n.to_string()));
        let groups = self.groups.map(|n| ("groups", n.to_string()));
        // left out where it is the default, so that earlier versions read the file
        let stem = (self.stem != Stem::default()).then(|| ("stem", self.stem.to_string()));
        let patch = self.arch.takes("patch").then(|| ("patch", self.patch.to_string()));
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
        fields
            .into_iter()
            .chain(channels)
            .chain(groups)
            .chain(stem)
            .chain(patch)
            .map(|(k, v)| (k.to_string(), v))
            .collect()
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
            stem: field("stem").map(str::parse).transpose()?.unwrap_or_default(),
            patch: field("patch").map_or(Ok(Self::default().patch), |t| whole("patch", t))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(
            err,
            "architecture = resnet: did you mean resnet9? give one of mlp, lenet, mnist-example, resnet20, resnet32, resnet44, resnet56, resnet110, resnet18, resnet34, resnet50, resnet9, resnet20-a, resnet32-a, resnet44-a, resnet56-a, resnet110-a, wrn-16-4, vgg11-bn, vgg13-bn, vgg16-bn, vit-tiny, wrn-D-K with D = 6 n + 4"
        );
    }

    #[test]
    fn a_config_survives_the_way_through_metadata() {
        let config = ModelConfig {
            arch: "mlp".parse().expect("known"),
            in_channels: 1,
            height: 28,
            width: 27,
            classes: 10,
            hidden: vec![256, 128],
            channels: None,
            groups: None,
            activation: Activation::Gelu,
            norm: Norm::Group,
            stem: Stem::Cifar,
            patch: 4,
        };
        let narrow = ModelConfig {
            arch: "resnet20".parse().expect("known"),
            hidden: vec![],
            channels: Some(8),
            groups: Some(2),
            stem: Stem::Imagenet,
            ..config.clone()
        };
        let patched =
            ModelConfig { arch: "vit-tiny".parse().expect("known"), patch: 7, hidden: vec![], ..config.clone() };
        for config in [config, narrow, patched] {
            let map: std::collections::BTreeMap<_, _> = config.to_metadata().into_iter().collect();
            let back = ModelConfig::from_metadata(|k| map.get(k).map(String::as_str)).expect("readable");
            assert_eq!(back, config);
        }
    }
}
