//! Curvature matrices, known by their products with vectors.

mod block;
mod curvature;
mod dense;
mod difference;
mod double_backward;
mod fisher;
mod gauss_newton;
mod hessian;
mod linear;
mod meter;
mod modeling_error;
mod summands;
mod symmetry;

pub use block::Block;
pub use curvature::{BatchProduct, Curvature};
pub use dense::{Dense, dense_of};
pub use difference::{DifferenceHessian, Differences, Stencil};
pub use double_backward::{DoubleBackwardHessian, DoubleBackwardThread, ReverseOverReverse};
pub use fisher::{DataLabels, DrawnLabels, EmpiricalFisher, Fisher, ModelLabels, MonteCarloFisher};
pub use gauss_newton::{GaussNewton, OutputCurvature};
pub use hessian::{ByTangents, TangentHessian};
pub use linear::{BatchForm, Form, LinearOperator, Product};
pub use modeling_error::{ModelCurvature, ModelingError};
pub use symmetry::{check_symmetry, disagreement};

pub(crate) use dense::basis;
pub(crate) use meter::Meter;
