//! Traces, diagonals, eigenvalues and spectral densities of any operator, with their errors.

mod config;
mod density;
mod diagonal;
mod dominant;
mod exact;
mod hutchinson;
mod hutchpp;
mod jackknife;
mod lanczos;
mod perturbed;
mod rank;
mod sampling;
mod sketch;
mod trace;
mod xtrace;

pub use config::TraceConfig;
pub use density::{Density, DensityConfig, SpectralDensity};
pub use diagonal::{Bounds, Diagonal, DiagonalEstimate, LayerDiagonal, quantile};
pub use dominant::{Dominant, DominantConfig, DominantSubspace};
pub use exact::{ExactTrace, exact_trace};
pub use hutchinson::Hutchinson;
pub use hutchpp::HutchPlusPlus;
pub use lanczos::{Eigenpairs, Lanczos, LanczosConfig};
pub use perturbed::{PerturbedConfig, PerturbedGradient, PerturbedLoss};
pub use rank::EffectiveRank;
pub use trace::Trace;
pub use xtrace::XTrace;
