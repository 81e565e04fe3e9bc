//! Numbers with their errors: of probes, of the choice of examples, of nonlinear functions of means.

mod clusters;
mod distribution;
mod estimate;

pub use distribution::ProbeDistribution;
pub use estimate::{Estimate, t_quantile};

pub(crate) use clusters::Clusters;
pub(crate) use estimate::{Moments, jackknife, of_means};
