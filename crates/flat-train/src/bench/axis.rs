//! What a benchmark varies of a cell to see how its cost scales.

use super::Place;
use flat_nn::{Arch, networks as of};
use serde::{Deserialize, Serialize};

flat_core::named! {
    /// What is varied of a cell.
    #[derive(PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Axis, "axis" {
        /// Images a step.
        Batch = "batch",
        /// Channels of the first convolution, to which all others keep their ratio.
        Width = "width",
        /// Blocks of all stages, over the networks of a family.
        Depth = "depth",
        /// Threads of the kernels.
        Threads = "threads",
    }
}

impl Axis {
    /// What its values count, as the axis of a plot.
    pub fn label(self) -> &'static str {
        match self {
            Self::Batch => "images a step",
            Self::Width => "channels of the first convolution",
            Self::Depth => "blocks",
            Self::Threads => "threads",
        }
    }

    /// The value of a variant, as its row begins; of depth the name of the network.
    pub fn word(self, variant: &Variant) -> String {
        match self {
            Self::Depth => variant.arch.to_string(),
            _ => self.value(variant).to_string(),
        }
    }

    /// Where a variant lies.
    pub fn value(self, variant: &Variant) -> usize {
        match self {
            Self::Batch => variant.batch_size,
            Self::Width => variant.channels.unwrap_or_default(),
            Self::Depth => blocks(variant.arch),
            Self::Threads => variant.threads,
        }
    }
}

/// Networks that differ in depth alone.
const FAMILIES: [&[Arch]; 4] = [
    &[of::RESNET20, of::RESNET32, of::RESNET44, of::RESNET56],
    &[of::RESNET18, of::RESNET34],
    &[of::RESNET20_A, of::RESNET32_A, of::RESNET44_A, of::RESNET56_A],
    &[of::VGG11_BN, of::VGG13_BN, of::VGG16_BN],
];

/// The networks of a network's family, by depth; none where it has no family.
pub fn family(arch: Arch) -> &'static [Arch] {
    FAMILIES.into_iter().find(|family| family.contains(&arch)).unwrap_or_default()
}

/// Blocks of all stages of a network, or layers of one that has no blocks; 0 where it has no stages.
pub fn blocks(arch: Arch) -> usize {
    arch.stages.iter().map(|(_, blocks)| blocks).sum()
}

/// A cell with a width and a number of threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Network.
    pub arch: Arch,
    /// Optimizer.
    pub optimizer: &'static str,
    /// Images a step.
    pub batch_size: usize,
    /// Channels of the first convolution; `None` for a network that takes none.
    pub channels: Option<usize>,
    /// Threads of the kernels.
    pub threads: usize,
}

impl Variant {
    /// The same of another network, with its own width.
    #[must_use]
    pub fn of(&self, arch: Arch) -> Self {
        Self { arch, channels: arch.takes("channels").then_some(arch.width), ..self.clone() }
    }

    /// The cell, on a device with a precision.
    pub fn place(&self, device: &str, precision: &str) -> Place {
        Place {
            device: device.into(),
            model: self.arch.to_string(),
            optimizer: self.optimizer.into(),
            batch_size: self.batch_size,
            precision: precision.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_a_family_have_one_width_and_grow_in_blocks_alone() {
        for family in FAMILIES {
            let ratios = |arch: Arch| arch.stages.iter().map(|(ratio, _)| *ratio).collect::<Vec<_>>();
            for pair in family.windows(2) {
                assert!(blocks(pair[0]) < blocks(pair[1]), "{pair:?}");
                assert_eq!((pair[0].width, ratios(pair[0])), (pair[1].width, ratios(pair[1])), "{pair:?}");
                assert_eq!(pair[0].options, pair[1].options, "{pair:?}");
            }
        }
        assert_eq!(family(of::RESNET34), [of::RESNET18, of::RESNET34]);
        assert!(family(of::LENET).is_empty() && blocks(of::LENET) == 0 && blocks(of::RESNET20) == 9);
    }
}
