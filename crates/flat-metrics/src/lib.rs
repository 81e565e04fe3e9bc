//! Flatness metrics with honest error bars: curvature operators, their traces and spectra, sharpness, certificates of flat
//! minima.
//!
//! Four parts:
//! - an [`Objective`] is the loss over a data set, a weighted sum of batch losses: [`ModelObjective`] for the models of
//!   `flat-nn`, [`ClosureObjective`] for any candle model;
//! - a [`LinearOperator`] is a symmetric matrix known by its products: the Hessian ([`TangentHessian`],
//!   [`DoubleBackwardHessian`], [`DifferenceHessian`]), its relatives that are positive semi-definite ([`GaussNewton`],
//!   [`Fisher`], [`EmpiricalFisher`], [`MonteCarloFisher`]), what it has beyond them ([`ModelingError`]), a [`Block`] of any
//!   of them, an explicit matrix ([`Dense`]);
//! - an estimator is a function of any operator: [`Hutchinson`], [`HutchPlusPlus`] and [`XTrace`] for the trace of the
//!   whole and of every layer, [`Diagonal`] for the diagonal, [`Lanczos`] for the largest and smallest eigenvalues,
//!   [`DominantSubspace`] for the space of the largest ones at a point that moves,
//!   [`SpectralDensity`] for the distribution of all of them with its moments and effective ranks, [`exact_trace`] for
//!   small models. [`PerturbedGradient`] and [`PerturbedLoss`] need no operator;
//! - every result is a [`Measured`] one: with what it was computed on ([`Provenance`]), what it cost ([`Effort`]) and why it
//!   ended ([`Stop`]). An [`Observer`] sees the [`Progress`] and may end it; [`Silent`] does neither.
//!
//! | operator | cost of a product, in gradients of the data set | of a quadratic form alone | needs |
//! |---|---|---|---|
//! | [`TangentHessian`] | 1.6 (MLP), 2.1 (LeNet), 2.6 (ResNet-20) | 0.6, 0.9, 1.3, four at a time | layers that carry tangents |
//! | [`ModelingError`] | 3.0 (MLP) to 4.3 (ResNet-20) | 1.6 to 2.2 | layers and logits that carry tangents |
//! | [`DoubleBackwardHessian`] | 2 to 3.4, and the graph of a gradient in memory | the same | [`DoubleBackwardThread`] |
//! | [`DifferenceHessian`] | 2, or 4 with [`Stencil::Four`] | the same | smoothness, f64 |
//! | [`GaussNewton`], [`Fisher`], [`EmpiricalFisher`], [`MonteCarloFisher`] | 1.5 to 1.8 | 0.8 to 1.0 | logits that carry tangents |
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
//! use flat_metrics::{ClosureObjective, DifferenceHessian, Hutchinson, Silent, TraceConfig};
//!
//! # fn main() -> flat_metrics::Result<()> {
//! // f(x, y) = (x y - 1)^2 at its minimum (4, 1/4): tr H = 2 (x^2 + y^2) = 32.125
//! let x = Var::from_tensor(&Tensor::new(4.0f64, &Device::Cpu)?)?;
//! let y = Var::from_tensor(&Tensor::new(0.25f64, &Device::Cpu)?)?;
//! let params = Params::new([("x".to_string(), x.clone()), ("y".to_string(), y.clone())])?;
//! let f = ClosureObjective::new(params, vec![1], move |_| (x.mul(&y)? - 1.0)?.sqr())?;
//!
//! let mut hessian = DifferenceHessian::new(&f)?;
//! let report = Hutchinson::new(TraceConfig::fixed(200))?.run(&mut hessian, &Streams::new(0), &mut Silent)?;
//! let [lo, hi] = report.trace.ci95.expect("more than one probe");
//! assert!(lo <= 32.125 && 32.125 <= hi);
//! assert!((report.per_layer["x"].value + report.per_layer["y"].value - report.trace.value).abs() < 1e-9);
//! # Ok(())
//! # }
//! ```

mod around;
mod error;
mod estimator;
mod hidden;
mod linalg;
mod measured;
mod objective;
mod observer;
mod operator;
mod statistics;

pub use around::{
    Axis, Certificate, CertificateConfig, FlowConfig, FlowReport, Geometry, Judgement, Known, Noise, Reason, Rise,
    Sharpness, Slope, SpectrumReport, Verdict, filter_normalized, slice,
};
pub use error::{Error, Result};
pub use estimator::{
    Bounds, Density, DensityConfig, Diagonal, DiagonalEstimate, Dominant, DominantConfig, DominantSubspace,
    EffectiveRank, Eigenpairs, ExactTrace, HutchPlusPlus, Hutchinson, Lanczos, LanczosConfig, LayerDiagonal,
    PerturbedConfig, PerturbedGradient, PerturbedLoss, SpectralDensity, Trace, TraceConfig, XTrace, exact_trace,
    quantile,
};
pub use hidden::{IntrinsicDimension, TwoNn};
pub use linalg::{Eigenpair, Quadrature};
pub use measured::{Effort, Measured, Provenance, Stop};
pub use objective::{
    ClosureObjective, ModelObjective, Objective, Outputs, WayBack, check_determinism, gradient, gradient_watched,
};
pub use observer::{Observer, Progress, Silent, Stage};
pub use operator::{
    BatchForm, BatchProduct, Block, ByTangents, Curvature, DataLabels, Dense, DifferenceHessian, Differences,
    DoubleBackwardHessian, DoubleBackwardThread, DrawnLabels, EmpiricalFisher, Fisher, Form, GaussNewton,
    LinearOperator, ModelCurvature, ModelLabels, ModelingError, MonteCarloFisher, OutputCurvature, Product,
    ReverseOverReverse, Stencil, TangentHessian, check_symmetry, dense_of, disagreement,
};
pub use statistics::{Estimate, ProbeDistribution, t_quantile};
