//! The table of built-in networks: a file and a line each.

mod lenet;
mod mlp;
mod mnist_example;
mod residual;
mod resnet;
mod resnet9;
mod resnet_a;
mod vgg;
mod vit;
mod wide_resnet;

use crate::config::{Arch, ModelConfig, NetworkSpec};
use crate::network::AnyNetwork;
use crate::{Activation, Error, Norm, Result, Stem};
use flat_core::{Choice, Item};
use std::sync::Arc;

impl Item for NetworkSpec {
    const WHAT: &'static str = "architecture";

    fn table() -> &'static [Self] {
        NETWORKS
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn others(&self) -> &'static [&'static str] {
        self.others
    }

    const FAMILY: &'static str = wide_resnet::FAMILY;

    fn of_family(typed: &str) -> Option<&'static Self> {
        wide_resnet::of_family(typed)
    }
}

/// A LeNet of 10 classes for grey images of 28x28.
impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            arch: LENET,
            in_channels: 1,
            height: 28,
            width: 28,
            classes: 10,
            hidden: Vec::new(),
            channels: None,
            groups: None,
            activation: Activation::Relu,
            norm: Norm::Batch,
            stem: Stem::Cifar,
            patch: 4,
        }
    }
}

macro_rules! networks {
    ($($file:ident::$name:ident),+ $(,)?) => {
        /// Every built-in network.
        pub const NETWORKS: &[NetworkSpec] = &[$($file::$name),+];

        $(#[doc = concat!("`", stringify!($file), "::", stringify!($name), "` of [`NETWORKS`].")]
        pub const $name: Arch = Choice::of(&$file::$name);)+
    };
}

networks! {
    mlp::MLP,
    lenet::LENET,
    mnist_example::MNIST_EXAMPLE,
    resnet::RESNET20,
    resnet::RESNET32,
    resnet::RESNET44,
    resnet::RESNET56,
    resnet::RESNET110,
    resnet::RESNET18,
    resnet::RESNET34,
    resnet::RESNET50,
    resnet9::RESNET9,
    resnet_a::RESNET20_A,
    resnet_a::RESNET32_A,
    resnet_a::RESNET44_A,
    resnet_a::RESNET56_A,
    resnet_a::RESNET110_A,
    wide_resnet::WRN_16_4,
    vgg::VGG11_BN,
    vgg::VGG13_BN,
    vgg::VGG16_BN,
    vit::VIT_TINY,
}

impl ModelConfig {
    /// Numbers in the weights and buffers of such a model, found without making it.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for sizes that the network cannot take.
    pub fn numbers(&self) -> Result<u128> {
        Ok(build(self)?.specs()?.numbers())
    }
}

/// Largest number of channels, classes, inputs or units of a layer: with it no count of weights overflows.
const LARGEST: usize = 1 << 24;

/// The network of a configuration.
///
/// # Errors
/// [`Error::BadConfig`] naming the field that no network, or not this one, can take.
pub(crate) fn build(config: &ModelConfig) -> Result<Arc<dyn AnyNetwork>> {
    let arch = config.arch;
    let bad = |reason: String| Err(Error::BadConfig(reason));
    let takers = |option| {
        let names: Vec<_> = NETWORKS.iter().filter(|n| n.takes(option)).map(|n| n.name).collect();
        names.join(", ")
    };
    for (field, n) in [
        ("in_channels", config.in_channels),
        ("height", config.height),
        ("width", config.width),
        ("classes", config.classes),
        ("channels", config.channels.unwrap_or(1)),
    ] {
        if n == 0 {
            return bad(format!("{field} is 0: give at least 1"));
        }
        if n > LARGEST {
            return bad(format!("{field} is {n}: give at most {LARGEST}"));
        }
    }
    if let Some(n) = config.hidden.iter().find(|n| !(1..=LARGEST).contains(n)) {
        return bad(format!("a hidden width is {n}: every width must be at least 1, and at most {LARGEST}"));
    }
    let pixels = config.input().iter().fold(1u128, |n, &side| n * side as u128);
    if pixels > LARGEST as u128 {
        return bad(format!("in_channels, height and width make {pixels} inputs: give at most {LARGEST}"));
    }
    if !arch.takes("hidden") && !config.hidden.is_empty() {
        let of = takers("hidden");
        return bad(format!("hidden widths {:?} belong to arch {of}; leave them out for {arch}", config.hidden));
    }
    if config.groups.is_some() && (config.norm != Norm::Group || !arch.takes("groups")) {
        return bad(format!("groups belong to norm group of {}: leave them out", takers("groups")));
    }
    if let Some(n) = config.channels.filter(|_| !arch.takes("channels")) {
        return bad(format!("{n} channels belong to {}: leave them out for {arch}", takers("channels")));
    }
    if config.stem != Stem::default() && !arch.takes("stem") {
        return bad(format!("stem {} belongs to {}: leave it out for {arch}", config.stem, takers("stem")));
    }
    (arch.build)(config)
}
