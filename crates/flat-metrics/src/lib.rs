//! Flatness metrics with honest error bars: curvature operators, their traces and spectra, sharpness, certificates of flat
//! minima.
//!
//! Three parts, apart from each other:
//! - an [`Objective`] is the loss over a data set, a weighted sum of batch losses: [`ModelObjective`] for the models of
//!   `flat-nn`, [`ClosureObjective`] for any candle model;
//! - a [`LinearOperator`] is a symmetric matrix known by its products: the Hessian ([`TangentHessian`],
//!   [`DoubleBackwardHessian`], [`DifferenceHessian`]), its relatives that are positive semi-definite ([`GaussNewton`],
//!   [`Fisher`], [`EmpiricalFisher`], [`MonteCarloFisher`]), a [`Block`] of any of them, an explicit matrix ([`Dense`]);
//! - an estimator is a function of any operator: [`Hutchinson`], [`HutchPlusPlus`] and [`XTrace`] for the trace of the
//!   whole and of every layer, [`Diagonal`] for the diagonal, [`Lanczos`] for the largest and smallest eigenvalues,
//!   [`SpectralDensity`] for the distribution of all of them with its moments and effective ranks, [`exact_trace`] for
//!   small models. [`PerturbedGradient`] and [`PerturbedLoss`] need no operator.
//!
//! | operator | cost of a product, in gradients of the data set | needs |
//! |---|---|---|
//! | [`TangentHessian`] | 1.6 (MLP), 2.1 (LeNet), 2.6 (ResNet-20) | layers that carry tangents |
//! | [`DoubleBackwardHessian`] | 2 to 3.4, and the graph of a gradient in memory | [`TapeThread`] |
//! | [`DifferenceHessian`] | 2, or 4 with [`Stencil::Four`] | smoothness, f64 |
//! | [`GaussNewton`], [`Fisher`], [`EmpiricalFisher`], [`MonteCarloFisher`] | about 1.4 | logits that carry tangents |
//!
//! | estimator of the trace | products | standard error | vectors held |
//! |---|---|---|---|
//! | [`Hutchinson`] | one a probe, stops when told | `sqrt(2) \|\|A\|\|_F / sqrt(products)` at most | 3 |
//! | [`HutchPlusPlus`] | a number given before | falls as 1/products, faster for fast decaying spectra | products / 3 |
//! | [`XTrace`] | a number given before | the same, smaller at equal products | products |
//! | [`PerturbedGradient`] | none; 2 gradients a probe | Hutchinson's, and a bias O(radius^2) | 4 |
//! | [`PerturbedLoss`] | none; 2 losses a probe | Hutchinson's, and a bias O(radius^2) | 3 |
//!
//! Of the objective itself, around the parameters: [`Sharpness`] (how much the loss grows), [`Certificate`] (whether the
//! point is a flat minimum), [`slice()`] (loss landscapes). Of points: [`TwoNn`] (intrinsic dimension).
//!
//! Every estimate comes with its standard error, a 95 % confidence interval and what it was computed on. Every Hessian
//! operator first evaluates one batch twice and refuses an objective with dropout, augmentation or moving BatchNorm
//! statistics ([`check_determinism`]).
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use flat_core::{Params, Streams};
//! use flat_metrics::{ClosureObjective, DifferenceHessian, Hutchinson, TraceConfig};
//!
//! # fn main() -> flat_metrics::Result<()> {
//! // f(x, y) = (x y - 1)^2 at its minimum (4, 1/4): tr H = 2 (x^2 + y^2) = 32.125
//! let x = Var::from_tensor(&Tensor::new(4.0f64, &Device::Cpu)?)?;
//! let y = Var::from_tensor(&Tensor::new(0.25f64, &Device::Cpu)?)?;
//! let params = Params::new([("x".to_string(), x.clone()), ("y".to_string(), y.clone())])?;
//! let f = ClosureObjective::new(params, vec![1], move |_| (x.mul(&y)? - 1.0)?.sqr())?;
//!
//! let mut hessian = DifferenceHessian::new(&f)?;
//! let report = Hutchinson::new(TraceConfig::fixed(200))?.run(&mut hessian, &Streams::new(0))?;
//! let [lo, hi] = report.trace.ci95.expect("more than one probe");
//! assert!(lo <= 32.125 && 32.125 <= hi);
//! assert!((report.per_layer["x"].value + report.per_layer["y"].value - report.trace.value).abs() < 1e-9);
//! # Ok(())
//! # }
//! ```

mod ascent;
mod ball;
mod block;
mod certificate;
mod closure;
mod clusters;
mod config;
mod dense;
mod density;
mod diagonal;
mod difference;
mod distribution;
mod double_backward;
mod drift;
mod eigen;
mod error;
mod estimate;
mod exact;
mod fisher;
mod flow;
mod gauss_newton;
mod gradient;
mod hutchinson;
mod hutchpp;
mod intrinsic;
mod jackknife;
mod krylov;
mod landscape;
mod linear;
mod model;
mod objective;
mod operator;
mod orthonormal;
mod outputs;
mod perturbed;
mod probe;
mod quadrature;
mod range;
mod rank;
mod report;
mod sampling;
mod sharpness;
mod sketch;
mod surface;
mod tangent;
mod tape;
mod tridiagonal;
mod xtrace;

pub use ball::Geometry;
pub use block::Block;
pub use certificate::{
    Certificate, CertificateConfig, CertificateProgress, CertificateReport, SpectrumReport, Stage, Verdict,
};
pub use closure::ClosureObjective;
pub use config::TraceConfig;
pub use dense::{Dense, dense_of};
pub use density::{DensityConfig, DensityProgress, DensityReport, SpectralDensity};
pub use diagonal::{Bounds, Diagonal, DiagonalReport, LayerDiagonal, quantile};
pub use difference::{DifferenceHessian, Stencil};
pub use distribution::ProbeDistribution;
pub use double_backward::DoubleBackwardHessian;
pub use drift::{Known, Slope};
pub use eigen::{EigenProgress, EigenReport, EigenStop, Eigenpair, Lanczos, LanczosConfig};
pub use error::{Error, Result};
pub use estimate::{Estimate, t_quantile};
pub use exact::{ExactTrace, exact_trace};
pub use fisher::{EmpiricalFisher, Fisher, MonteCarloFisher};
pub use flow::{FlowConfig, FlowReport, FlowStop};
pub use gauss_newton::GaussNewton;
pub use gradient::gradient;
pub use hutchinson::Hutchinson;
pub use hutchpp::HutchPlusPlus;
pub use intrinsic::{IntrinsicDimension, TwoNn};
pub use landscape::{Axis, filter_normalized, slice};
pub use model::ModelObjective;
pub use objective::Objective;
pub use operator::{BatchForm, Form, LinearOperator, Origin, Product, Tick, Watch};
pub use outputs::Outputs;
pub use perturbed::{PerturbedConfig, PerturbedGradient, PerturbedLoss};
pub use probe::{check_determinism, check_symmetry, disagreement};
pub use quadrature::Quadrature;
pub use rank::EffectiveRank;
pub use report::{Progress, StoppedBy, TraceReport};
pub use sharpness::{Noise, Sharpness, SharpnessProgress, SharpnessReport};
pub use tangent::TangentHessian;
pub use tape::TapeThread;
pub use xtrace::XTrace;
