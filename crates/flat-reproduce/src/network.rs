//! The networks of the studies.

use flat_nn::{Arch, Norm, networks};
use flat_run::settings::config::TrainConfig;

/// A network of a study.
pub(super) struct Network {
    /// Its kind.
    pub arch: Arch,
    /// Hidden widths of an mlp.
    pub hidden: Vec<usize>,
    /// Channels of the first convolution, where they are not the usual ones.
    pub channels: Option<usize>,
    /// The norm of a residual network.
    pub norm: Norm,
}

impl Network {
    /// A multilayer perceptron with one hidden layer.
    pub fn mlp(hidden: usize) -> Self {
        Self { arch: networks::MLP, hidden: vec![hidden], channels: None, norm: Norm::Batch }
    }

    /// Another network of a width and norm.
    pub fn of(arch: Arch, channels: Option<usize>, norm: Norm) -> Self {
        Self { arch, hidden: vec![], channels, norm }
    }

    /// Whether the loss of one example depends on its batch.
    pub fn has_batch_norm(&self) -> bool {
        self.norm == Norm::Batch && self.arch.takes("norm")
    }

    /// In words.
    pub fn name(&self) -> String {
        let width = match (self.hidden.first(), self.channels) {
            (Some(hidden), _) => format!(" with {hidden} hidden units"),
            (_, Some(channels)) => format!(" with {channels} channels in its first convolution"),
            _ => String::new(),
        };
        let norm = match self.norm {
            _ if !self.arch.takes("norm") => "",
            Norm::Group => ", group normalisation",
            Norm::Batch => ", batch normalisation",
        };
        format!("{}{width}{norm}", self.arch.title)
    }

    /// A run of it.
    pub fn over(&self, config: TrainConfig) -> TrainConfig {
        TrainConfig {
            model: self.arch,
            hidden: if self.hidden.is_empty() { config.hidden } else { self.hidden.clone() },
            channels: self.channels,
            norm: self.norm,
            ..config
        }
    }
}
