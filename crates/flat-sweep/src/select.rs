//! What cells are ranked by.

flat_core::named! {
    /// What cells are ranked by, both on validation images.
    pub enum Select, "select" {
        /// Accuracy; more is better.
        Accuracy = "accuracy",
        /// Loss; less is better.
        Loss = "loss",
    }
}

impl Select {
    /// The sign that makes more better.
    pub(crate) fn sign(self) -> f64 {
        match self {
            Self::Accuracy => 1.0,
            Self::Loss => -1.0,
        }
    }
}
