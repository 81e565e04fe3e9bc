//! Flags of `metrics sharpness`.

use crate::settings::args::HessianArgs;
use clap::{Args, ValueEnum};
use flat_metrics::{Geometry, Noise, Sharpness};

/// Flags of `metrics sharpness`.
#[derive(Debug, Args)]
pub struct SharpnessArgs {
    /// The checkpoint and the data; Hessian-vector products are not used.
    #[command(flatten)]
    pub hessian: HessianArgs,
    /// What to measure.
    #[command(flatten)]
    pub ball: BallArgs,
}

/// Which measures, how far and how thoroughly.
#[derive(Debug, Clone, Args)]
pub struct BallArgs {
    /// Measures, separated by commas [default: all].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub measures: Option<Vec<SharpnessName>>,
    /// Radius of first-order, per-batch, average and worst [default: l2 0.05, linf 5e-4, adaptive-l2 0.5, adaptive-linf 5e-3].
    #[arg(long, value_name = "X")]
    pub rho: Option<f64>,
    /// Norm of the radius.
    #[arg(long, value_name = "NAME", default_value = "l2")]
    pub geometry: GeometryName,
    /// adaptive-l2, adaptive-linf: added to the size of each parameter [default: 0.01].
    #[arg(long, value_name = "X")]
    pub eta: Option<f64>,
    /// per-batch: images a batch, the m of m-sharpness.
    #[arg(long, value_name = "M", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    pub m: u32,
    /// average: sphere or gaussian.
    #[arg(long, value_name = "NAME", default_value = "sphere")]
    pub noise: NoiseName,
    /// average, low-pass: antithetic pairs drawn.
    #[arg(long, value_name = "K", default_value_t = 16)]
    pub pairs: u64,
    /// worst, keskar: steps of each ascent.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub steps: u64,
    /// worst, keskar: ascents; the first starts at the weights, the others at random points.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub starts: u64,
    /// low-pass: standard deviation of the noise on each parameter.
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    pub sigma: f64,
    /// keskar: size of the box |delta| <= epsilon (|w| + 1).
    #[arg(long, value_name = "X", default_value_t = 1e-3)]
    pub epsilon: f64,
}

/// Measures by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SharpnessName {
    /// Rise at SAM's step.
    FirstOrder,
    /// The same for each batch of --m images apart: m-sharpness.
    PerBatch,
    /// Mean rise at random displacements.
    Average,
    /// Largest rise found by projected ascent.
    Worst,
    /// Loss filtered by Gaussian noise.
    LowPass,
    /// Largest rise in Keskar's box, in percent.
    Keskar,
}

/// Norms by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GeometryName {
    /// Euclidean, of all parameters together.
    L2,
    /// The largest element.
    Linf,
    /// Euclidean, each element relative to its parameter.
    AdaptiveL2,
    /// The largest element relative to its parameter.
    AdaptiveLinf,
}

/// Distributions by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NoiseName {
    /// Uniform on the sphere.
    Sphere,
    /// Gaussian of the same mean square.
    Gaussian,
}

impl BallArgs {
    /// The measures as the library takes them.
    pub fn list(&self) -> Vec<Sharpness> {
        let eta = self.eta.unwrap_or(0.01);
        let (geometry, rho) = match self.geometry {
            GeometryName::L2 => (Geometry::L2, 0.05),
            GeometryName::Linf => (Geometry::LInf, 5e-4),
            GeometryName::AdaptiveL2 => (Geometry::AdaptiveL2 { eta }, 0.5),
            GeometryName::AdaptiveLinf => (Geometry::AdaptiveLInf { eta }, 5e-3),
        };
        let rho = self.rho.unwrap_or(rho);
        let noise = match self.noise {
            NoiseName::Sphere => Noise::Sphere,
            NoiseName::Gaussian => Noise::Gaussian,
        };
        let adaptive = (self.geometry == GeometryName::AdaptiveL2).then_some(eta);
        let (pairs, steps, starts, sigma, epsilon) = (self.pairs, self.steps, self.starts, self.sigma, self.epsilon);
        let of = |name: &SharpnessName| match name {
            SharpnessName::FirstOrder => Sharpness::FirstOrder { rho, geometry },
            SharpnessName::PerBatch => Sharpness::PerBatch { rho, geometry },
            SharpnessName::Average => Sharpness::Average { rho, noise, adaptive, pairs },
            SharpnessName::Worst => Sharpness::Worst { rho, geometry, steps, starts },
            SharpnessName::LowPass => Sharpness::LowPass { sigma, pairs },
            SharpnessName::Keskar => Sharpness::Keskar { epsilon, steps, starts },
        };
        match &self.measures {
            Some(names) => names.iter().map(of).collect(),
            // a mean over the sphere belongs to the Euclidean norms
            None => SharpnessName::value_variants()
                .iter()
                .filter(|name| **name != SharpnessName::Average || !self.infinity())
                .map(of)
                .collect(),
        }
    }

    /// The radius bounds the largest element.
    pub fn infinity(&self) -> bool {
        matches!(self.geometry, GeometryName::Linf | GeometryName::AdaptiveLinf)
    }

    /// The geometry takes an eta.
    pub fn adaptive(&self) -> bool {
        matches!(self.geometry, GeometryName::AdaptiveL2 | GeometryName::AdaptiveLinf)
    }
}
