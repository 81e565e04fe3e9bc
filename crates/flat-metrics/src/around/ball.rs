//! The neighbourhoods that sharpness is measured in.

use crate::{Error, Result};
use flat_core::{ParamVec, Space, Stream};
use serde::Serialize;

/// Which displacements delta of the parameters theta have size at most rho.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Geometry {
    /// `||delta||_2 <= rho` over all parameters together.
    L2,
    /// `|delta_i| <= rho` for each parameter.
    LInf,
    /// `||delta / (|theta| + eta)||_2 <= rho`, element by element: the same for networks that differ by a rescaling of their
    /// weights where eta is 0 (Kwon et al. 2021, arXiv 2102.11600; here for every parameter, biases included).
    AdaptiveL2 {
        /// Keeps small parameters from being frozen; 0.01 in the paper.
        eta: f64,
    },
    /// `|delta_i| <= rho (|theta_i| + eta)`; with eta = 1 the box of Keskar et al. 2017.
    AdaptiveLInf {
        /// As above.
        eta: f64,
    },
}

impl Geometry {
    /// The same, if it makes sense.
    pub(crate) fn validated(self) -> Result<Self> {
        match self {
            Self::AdaptiveL2 { eta } | Self::AdaptiveLInf { eta } if !(eta.is_finite() && eta >= 0.0) => {
                let remedy = "give 0 or a number above it, such as 0.01";
                Err(Error::BadConfig { field: "eta", value: eta.to_string(), remedy })
            }
            ok => Ok(ok),
        }
    }
}

/// The displacements of size at most rho from one point. Works on the host.
#[derive(Debug)]
pub(crate) struct Ball {
    space: Space,
    rho: f64,
    infinity: bool,
    /// The unit of each element; 1 where there is none.
    scale: Option<Vec<f64>>,
}

impl Ball {
    pub(crate) fn new(geometry: Geometry, rho: f64, theta: &ParamVec) -> Result<Self> {
        let units = |eta: f64| Ok::<_, Error>(theta.to_f64()?.into_iter().map(|x| x.abs() + eta).collect::<Vec<f64>>());
        let (infinity, scale) = match geometry {
            Geometry::L2 => (false, None),
            Geometry::LInf => (true, None),
            Geometry::AdaptiveL2 { eta } => (false, Some(units(eta)?)),
            Geometry::AdaptiveLInf { eta } => (true, Some(units(eta)?)),
        };
        Ok(Self { space: theta.space(), rho, infinity, scale })
    }

    fn unit(&self, i: usize) -> f64 {
        self.scale.as_ref().map_or(1.0, |s| s[i])
    }

    /// The displacement that a linear function of gradient `g` grows most by; `None` where it grows by none.
    pub(crate) fn steepest(&self, g: &ParamVec) -> Result<Option<ParamVec>> {
        // in the ball's own units: the gradient T g, the displacement T e
        let mut e = g.to_f64()?;
        e.iter_mut().enumerate().for_each(|(i, x)| *x *= self.unit(i));
        let norm = e.iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm == 0.0 {
            return Ok(None);
        }
        for (i, x) in e.iter_mut().enumerate() {
            let along = if self.infinity { if *x == 0.0 { 0.0 } else { x.signum() } } else { *x / norm };
            *x = self.rho * along * self.unit(i);
        }
        Ok(Some(ParamVec::from_f64(&self.space, e)?))
    }

    /// The nearest displacement of the ball, in its own units.
    pub(crate) fn project(&self, delta: ParamVec) -> Result<ParamVec> {
        let mut e = delta.to_f64()?;
        if self.infinity {
            e.iter_mut().enumerate().for_each(|(i, x)| {
                let bound = self.rho * self.unit(i);
                *x = x.clamp(-bound, bound);
            });
            return Ok(ParamVec::from_f64(&self.space, e)?);
        }
        // an element whose unit is 0 does not move
        let size = |(i, x): (usize, &f64)| if self.unit(i) > 0.0 { (x / self.unit(i)).powi(2) } else { 0.0 };
        let norm = e.iter().enumerate().map(size).sum::<f64>().sqrt();
        let shrink = if norm > self.rho { self.rho / norm } else { 1.0 };
        e.iter_mut().enumerate().for_each(|(i, x)| *x *= if self.unit(i) > 0.0 { shrink } else { 0.0 });
        Ok(ParamVec::from_f64(&self.space, e)?)
    }

    /// A random displacement: uniform in a box, uniform on the surface of a ball (where nearly all of its volume is).
    pub(crate) fn random(&self, stream: &Stream) -> Result<ParamVec> {
        let d = self.space.layout.len();
        let mut e = if self.infinity { stream.uniforms(d) } else { stream.normals(d) };
        let norm = e.iter().map(|x| x * x).sum::<f64>().sqrt();
        for (i, x) in e.iter_mut().enumerate() {
            let size = if self.infinity { 2.0 * *x - 1.0 } else { *x / norm.max(f64::MIN_POSITIVE) };
            *x = self.rho * size * self.unit(i);
        }
        Ok(ParamVec::from_f64(&self.space, e)?)
    }
}
