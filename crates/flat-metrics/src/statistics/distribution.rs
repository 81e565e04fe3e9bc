//! The distributions of probe vectors.

use crate::Result;
use flat_core::{ParamVec, Space, Stream, named};
use serde::Serialize;

named! {
    /// The distribution of a probe z; for all of them `E z z^T = I`, so that `z^T A z` is an unbiased estimate of the trace.
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    #[non_exhaustive]
    pub enum ProbeDistribution, "distribution" {
        /// Independent signs. Variance of `z^T A z`: `2 (||A||_F^2 - sum_i a_ii^2)`, the smallest among independent entries
        /// (Hutchinson 1990); it depends on the basis.
        Rademacher = "rademacher",
        /// Independent standard normal numbers. Variance `2 ||A||_F^2`.
        Gaussian = "gaussian",
        /// sqrt(d) times a uniform point of the unit sphere, the paper's u. Variance `2 d/(d + 2) (||A||_F^2 - tr(A)^2 / d)`:
        /// a Gaussian's without the noise of its length; none for a multiple of the identity.
        Sphere = "sphere",
    }
}

impl ProbeDistribution {
    /// The probe that `stream` gives.
    ///
    /// # Errors
    /// candle's.
    pub fn draw(self, space: &Space, stream: &Stream) -> Result<ParamVec> {
        match self {
            Self::Rademacher => Ok(ParamVec::rademacher(space, stream)?),
            Self::Gaussian => Ok(ParamVec::gaussian(space, 1.0, stream)?),
            Self::Sphere => {
                let mut z = ParamVec::sphere(space, stream)?;
                z.scale((space.layout.len() as f64).sqrt())?;
                Ok(z)
            }
        }
    }

    /// Whether the direction of a probe is uniform, in every subspace it is projected to.
    pub(crate) fn is_rotation_invariant(self) -> bool {
        self != Self::Rademacher
    }
}
