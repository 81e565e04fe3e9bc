//! Which matrix is measured.

use clap::{Args, ValueEnum};

/// Flags that choose the matrix.
#[derive(Debug, Clone, Args)]
pub struct OperatorArgs {
    /// The matrix: hessian, ggn (generalised Gauss-Newton), fisher (labels drawn from the model) or empirical-fisher
    /// [default: hessian].
    #[arg(long, value_name = "NAME", hide_possible_values = true)]
    pub operator: Option<OperatorName>,
    /// fisher: labels drawn for each image [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub labels: Option<u64>,
}

/// A matrix of second-order information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OperatorName {
    /// The Hessian of the loss.
    #[default]
    Hessian,
    /// The generalised Gauss-Newton matrix.
    Ggn,
    /// The Fisher matrix with labels drawn from the model.
    Fisher,
    /// The Fisher matrix at the data's labels.
    EmpiricalFisher,
}
