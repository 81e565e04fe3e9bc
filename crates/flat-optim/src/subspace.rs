//! A subspace of parameter space that a rule may ask for.

use crate::Result;
use flat_core::{ParamVec, Params};
use std::sync::Arc;

/// Gives rules a subspace at theta, such as the dominant eigenvectors of the Hessian; [`crate::Builder::subspace`] takes one.
pub trait Subspace: Send {
    /// Orthonormal vectors that span it at what the variables hold, in the step of this index; what they cost is for the
    /// implementation to count, apart from gradient evaluations. The variables are left as they are.
    ///
    /// # Errors
    /// Whatever finding them returns, as [`crate::Error::objective`].
    fn basis(&mut self, params: &Params, step: u64) -> Result<Arc<[ParamVec]>>;
}
