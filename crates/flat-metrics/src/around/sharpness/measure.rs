//! The measures of sharpness and their settings.

use crate::around::ball::Geometry;
use crate::{Error, Result};
use flat_core::named;
use serde::Serialize;

/// Sharpness of a loss L at the parameters theta. What `value` of the report is, in brackets the cost in gradients (g) and
/// losses (l) of the data set beside the loss at theta:
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "measure")]
pub enum Sharpness {
    /// `L(theta + delta) - L(theta)` at the delta of the ball that the linear part of L grows most by, SAM's step (Foret et
    /// al. 2021, arXiv 2010.01412) \[1 g, 1 l\].
    FirstOrder {
        /// Radius.
        rho: f64,
        /// Which ball.
        geometry: Geometry,
    },
    /// m-sharpness: the mean of the former over the objective's batches, each with the step of its own gradient (Foret et
    /// al. 2021); m is the size of the batches \[1 g, 1 l\].
    PerBatch {
        /// Radius.
        rho: f64,
        /// Which ball.
        geometry: Geometry,
    },
    /// `E L(theta + delta) - L(theta)`, by antithetic pairs `+-delta`, whose odd terms cancel: `rho^2 tr(H) / 2d` to second
    /// order for a smooth loss \[2 l a pair\]. The kinks of ReLU that the displacements cross count as curvature, which can
    /// be many times that of the Hessian.
    Average {
        /// Root of the mean of `||delta||^2`; with `adaptive` that of `||delta / (|theta| + eta)||^2`.
        rho: f64,
        /// Distribution of delta.
        noise: Noise,
        /// Scale each element by `|theta| + eta` with this eta.
        adaptive: Option<f64>,
        /// Pairs drawn.
        pairs: u64,
    },
    /// `max L(theta + delta) - L(theta)` over the ball by projected gradient ascent, from theta itself and from random points;
    /// a lower bound of the maximum, and `starts` tells how well the ascents agree \[1 g a step and start\].
    Worst {
        /// Radius.
        rho: f64,
        /// Which ball.
        geometry: Geometry,
        /// Steps of each ascent.
        steps: u64,
        /// Ascents; the first starts at theta.
        starts: u64,
    },
    /// `E L(theta + delta)` with `delta ~ N(0, sigma^2 I)`, the low-pass filtered loss itself (Bisla, Wang & Choromanska
    /// 2022, arXiv 2201.08025), by antithetic pairs \[2 l a pair\].
    LowPass {
        /// Standard deviation of each element.
        sigma: f64,
        /// Pairs drawn.
        pairs: u64,
    },
    /// `100 (max L(theta + delta) - L(theta)) / (1 + L(theta))` over the box `|delta_i| <= epsilon (|theta_i| + 1)` (Keskar et
    /// al. 2017, arXiv 1609.04836, in the full space), by the ascent of `Worst` instead of their L-BFGS-B \[1 g a step and
    /// start\].
    Keskar {
        /// Size of the box.
        epsilon: f64,
        /// Steps of each ascent.
        steps: u64,
        /// Ascents; the first starts at theta.
        starts: u64,
    },
}

named! {
    /// Distribution of a random displacement in d dimensions.
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Noise, "noise" {
        /// Uniform on the sphere of radius rho.
        Sphere = "sphere",
        /// `N(0, rho^2 / d)` for each element.
        Gaussian = "gaussian",
    }
}

impl Sharpness {
    /// The same measure, once its settings are checked.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the field.
    pub fn validated(self) -> Result<Self> {
        let positive = |field, x: f64| match x.is_finite() && x > 0.0 {
            true => Ok(()),
            false => Err(Error::BadConfig { field, value: x.to_string(), remedy: "give a number above 0" }),
        };
        let some = |field, n: u64| match n {
            0 => Err(Error::BadConfig { field, value: "0".into(), remedy: "give at least 1" }),
            _ => Ok(()),
        };
        match self {
            Self::FirstOrder { rho, geometry } | Self::PerBatch { rho, geometry } => {
                positive("rho", rho)?;
                geometry.validated()?;
            }
            Self::Average { rho, adaptive, pairs, .. } => {
                positive("rho", rho)?;
                some("pairs", pairs)?;
                Geometry::AdaptiveL2 { eta: adaptive.unwrap_or(0.0) }.validated()?;
            }
            Self::Worst { rho, geometry, steps, starts } => {
                positive("rho", rho)?;
                geometry.validated()?;
                some("steps", steps)?;
                some("starts", starts)?;
            }
            Self::LowPass { sigma, pairs } => {
                positive("sigma", sigma)?;
                some("pairs", pairs)?;
            }
            Self::Keskar { epsilon, steps, starts } => {
                positive("epsilon", epsilon)?;
                some("steps", steps)?;
                some("starts", starts)?;
            }
        }
        Ok(self)
    }

    /// Evaluations of the data set at most, gradients and losses alike.
    pub fn max_evaluations(&self) -> u64 {
        1 + match *self {
            Self::FirstOrder { .. } | Self::PerBatch { .. } => 2,
            Self::Average { pairs, .. } | Self::LowPass { pairs, .. } => pairs.saturating_mul(2),
            Self::Worst { steps, starts, .. } | Self::Keskar { steps, starts, .. } => {
                steps.saturating_add(1).saturating_mul(starts)
            }
        }
    }
}
