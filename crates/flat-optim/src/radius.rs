//! The size of an isotropic perturbation.

use crate::Result;
use crate::error::positive;

/// The size of a perturbation whose direction is uniform over d weights.
///
/// A fixed length moves one weight by `rho / sqrt(d)`, so it means less the larger the network. [`Radius::PerWeight`] means the
/// same for every d: the loss rises by `sigma^2 / 2` times the trace of its Hessian, to second order.
///
/// ```
/// use flat_optim::Radius;
/// assert_eq!(Radius::PerWeight(0.01).length(10_000), 1.0);
/// assert_eq!(Radius::from(0.5).length(10_000), 0.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Radius {
    /// The length rho itself.
    Length(f64),
    /// sigma, the root mean square of one weight's displacement: `rho = sigma sqrt(d)`.
    PerWeight(f64),
}

impl Radius {
    /// The length rho over `dim` perturbed weights.
    pub fn length(self, dim: usize) -> f64 {
        match self {
            Self::Length(rho) => rho,
            Self::PerWeight(sigma) => sigma * (dim as f64).sqrt(),
        }
    }

    /// The same, refused where it is not a finite number above 0.
    pub(crate) fn checked(self) -> Result<Self> {
        match self {
            Self::Length(rho) => positive("rho", rho)?,
            Self::PerWeight(sigma) => positive("sigma", sigma)?,
        };
        Ok(self)
    }
}

impl From<f64> for Radius {
    fn from(rho: f64) -> Self {
        Self::Length(rho)
    }
}
