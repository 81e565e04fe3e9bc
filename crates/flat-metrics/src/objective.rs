//! The loss over a data set: what it asks of a model, for models and closures, and its gradient.

mod closure;
mod determinism;
mod gradient;
mod loss;
mod model;
mod outputs;
mod pull;
mod tensor;

pub use closure::ClosureObjective;
pub use determinism::check_determinism;
pub use gradient::{gradient, gradient_watched};
pub use loss::Objective;
pub use model::ModelObjective;
pub use outputs::{Outputs, WayBack};

pub(crate) use gradient::batch_gradient;
pub(crate) use loss::provenance;
pub(crate) use outputs::Rows;
pub(crate) use pull::{AT_ONCE, forms_of, products_of};
pub(crate) use tensor::{gradient_or_zero, scalar};
