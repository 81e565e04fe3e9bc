//! The number that cells are ranked by.

use crate::record::Record;
use serde::{Deserialize, Serialize};

flat_core::named! {
    /// The number that cells are ranked by, always on validation images.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Select, "select" {
        /// Accuracy; more is better.
        Accuracy = "accuracy",
        /// Accuracy of the worst group of a data set with a spurious attribute; more is better.
        WorstGroup = "worst-group",
        /// Loss; less is better.
        Loss = "loss",
    }
}

impl Select {
    /// The number of a run that cells are ranked by.
    pub(crate) fn of(self, run: &Record) -> Option<f64> {
        match self {
            Self::Accuracy => run.val_accuracy,
            Self::WorstGroup => run.val_worst_group,
            Self::Loss => run.val_loss,
        }
    }

    /// The sign that makes more better.
    pub(crate) fn sign(self) -> f64 {
        if self.is_fraction() { 1.0 } else { -1.0 }
    }

    /// Whether the number is a share in 0..1, which is shown in percent.
    pub fn is_fraction(self) -> bool {
        match self {
            Self::Accuracy | Self::WorstGroup => true,
            Self::Loss => false,
        }
    }

    /// The number and its unit, for an axis.
    pub fn label(self) -> &'static str {
        match self {
            Self::Accuracy => "validation accuracy, percent",
            Self::WorstGroup => "validation accuracy of the worst group, percent",
            Self::Loss => "validation loss",
        }
    }
}
