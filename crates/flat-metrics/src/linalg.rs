//! Linear algebra on parameter vectors: Krylov spaces, orthonormal bases, Gauss quadrature.

mod krylov;
mod orthonormal;
mod quadrature;
mod symmetric;
mod tridiagonal;

pub use krylov::Eigenpair;
pub use quadrature::Quadrature;

pub(crate) use krylov::{Krylov, Ritz};
pub(crate) use orthonormal::{Basis, check_memory, combine, room};
pub(crate) use symmetric::symmetric;
