//! Which matrix is measured.

use clap::{Args, ValueEnum};

/// Flags that choose the matrix.
#[derive(Debug, Clone, Args)]
pub struct OperatorArgs {
    /// The matrix: hessian, ggn (generalised Gauss-Newton), fisher (of the model's own labels, summed over all classes) or
    /// empirical-fisher (of the data's labels) [default: hessian].
    #[arg(long, value_name = "NAME", hide_possible_values = true)]
    pub operator: Option<OperatorName>,
}

/// A matrix of second-order information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OperatorName {
    /// The Hessian of the loss.
    #[default]
    Hessian,
    /// The generalised Gauss-Newton matrix.
    Ggn,
    /// The Fisher matrix of the model's own labels, exactly.
    Fisher,
    /// The Fisher matrix at the data's labels.
    EmpiricalFisher,
}
