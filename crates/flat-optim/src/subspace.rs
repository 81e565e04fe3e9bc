//! A subspace of parameter space that a rule may ask for.

use crate::{Error, Result, Stateful};
use flat_core::{ParamVec, Params};
use std::sync::Arc;

/// Gives rules a subspace at theta, such as the dominant eigenvectors of the Hessian; [`crate::Builder::subspace`] takes one.
/// Its state is saved with the optimizer's, under `subspace`.
pub trait Subspace: Stateful + Send {
    /// Orthonormal vectors that span it at what the variables hold, in the step of this index. The variables are left as
    /// they are. What they cost is counted in [`Self::account`], apart from gradient evaluations.
    ///
    /// # Errors
    /// Whatever finding them returns, as [`crate::Error::objective`].
    fn basis(&mut self, params: &Params, step: u64) -> Result<Arc<[ParamVec]>>;

    /// `|P G| / |G|`: the share of the norm of the gradient G of the whole loss that lies in it.
    ///
    /// # Errors
    /// As [`Self::basis`]; by default that it knows no gradient of its own.
    fn share(&mut self, _: &Params, _: u64) -> Result<f64> {
        Err(Error::objective("the subspace knows no gradient of the whole loss: leave out project-above"))
    }

    /// What it cost so far, and how well it is defined; nothing by default.
    fn account(&self) -> Account {
        Account::default()
    }
}

/// The cost of a [`Subspace`] so far, and the numbers of the one found last.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Account {
    /// Hessian-vector products over the whole training set.
    pub products: u64,
    /// Gradients of the whole training set.
    pub gradients: u64,
    /// Times that it was found anew.
    pub refreshes: u64,
    /// Of these, times that its eigenvectors did not become as exact as was asked.
    pub unconverged: u64,
    /// `lambda_k - lambda_(k+1)`: the subspace is not unique where this is about 0.
    pub gap: Option<f64>,
    /// Largest residual of its eigenvectors.
    pub residual: Option<f64>,
    /// The last `|P G| / |G|`, where that was asked for.
    pub share: Option<f64>,
}
