//! Flags of `metrics sharpness`.

use crate::settings::args::HessianArgs;
use flat_core::named;
use flat_core::setting::{Needs, Range, Value};
use flat_metrics::{Geometry, Noise, Sharpness};
use std::sync::LazyLock;

const AVERAGE: Needs = Needs::OneOf("measures", &["average"]);
const ASCENT: Needs = Needs::OneOf("measures", &["worst", "keskar"]);

flat_core::settings! {
    /// Flags of `metrics sharpness`: which measures, how far and how thoroughly. Hessian-vector products are not used.
    #[derive(Debug, Clone)]
    pub struct SharpnessArgs {
        /// Measures, separated by commas.
        measures as "measures": Option<Vec<SharpnessName>> = None, default_in_words: "all";
        /// Radius of first-order, per-batch, average and worst.
        rho as "rho": Option<f64> = None, range: Range::Positive,
            needs: Needs::OneOf("measures", &["first-order", "per-batch", "average", "worst"]),
            default_in_words: &RADII;
        /// Norm of the radius.
        geometry as "geometry": GeometryName = GeometryName::L2;
        /// Added to the size of each parameter.
        eta as "eta": f64 = 0.01, range: Range::NonNegative, needs: Needs::OneOf("geometry", &["adaptive-l2", "adaptive-linf"]);
        /// per-batch: images a batch, the m of m-sharpness.
        m as "m": usize = 128, range: Range::AtLeast(1), metavar: "M", needs: Needs::OneOf("measures", &["per-batch"]);
        /// Distribution of the displacements of average.
        noise as "noise": Noise = Noise::Sphere, needs: AVERAGE;
        /// average, low-pass: antithetic pairs drawn.
        pairs as "pairs": u64 = 16, range: Range::AtLeast(1), metavar: "K",
            needs: Needs::OneOf("measures", &["average", "low-pass"]);
        /// worst, keskar: steps of each ascent.
        steps as "steps": u64 = 20, range: Range::AtLeast(1), needs: ASCENT;
        /// worst, keskar: ascents; the first starts at the weights, the others at random points.
        starts as "starts": u64 = 3, range: Range::AtLeast(1), needs: ASCENT;
        /// low-pass: standard deviation of the noise on each parameter.
        sigma as "sigma": f64 = 0.01, range: Range::Positive, needs: Needs::OneOf("measures", &["low-pass"]);
        /// keskar: size of the box |delta| <= epsilon (|w| + 1).
        epsilon as "epsilon": f64 = 1e-3, range: Range::Positive, needs: Needs::OneOf("measures", &["keskar"]);
    }
    with {
        /// The checkpoint and the data.
        hessian: HessianArgs;
    }
}

named! {
    /// Measures by name.
    pub enum SharpnessName, "measures" {
        /// Rise at SAM's step.
        FirstOrder = "first-order",
        /// The same for each batch of --m images apart: m-sharpness.
        PerBatch = "per-batch",
        /// Mean rise at random displacements.
        Average = "average",
        /// Largest rise found by projected ascent.
        Worst = "worst",
        /// Loss filtered by Gaussian noise.
        LowPass = "low-pass",
        /// Largest rise in Keskar's box, in percent.
        Keskar = "keskar",
    }
}

named! {
    /// Norms by name.
    pub enum GeometryName, "geometry" {
        /// Euclidean, of all parameters together.
        L2 = "l2",
        /// The largest element.
        Linf = "linf",
        /// Euclidean, each element relative to its parameter.
        AdaptiveL2 = "adaptive-l2",
        /// The largest element relative to its parameter.
        AdaptiveLinf = "adaptive-linf",
    }
}

impl GeometryName {
    /// The radius where no flag says it.
    fn radius(self) -> f64 {
        match self {
            Self::L2 => 0.05,
            Self::Linf => 5e-4,
            Self::AdaptiveL2 => 0.5,
            Self::AdaptiveLinf => 5e-3,
        }
    }
}

/// The radii of all geometries in words.
static RADII: LazyLock<String> = LazyLock::new(|| {
    let radii = GeometryName::ALL.iter().map(|geometry| format!("{geometry} {}", Value::from(geometry.radius())));
    radii.collect::<Vec<_>>().join(", ")
});

impl SharpnessArgs {
    /// The measures as the library takes them.
    pub fn list(&self) -> Vec<Sharpness> {
        let Self { eta, noise, pairs, steps, starts, sigma, epsilon, .. } = *self;
        let geometry = match self.geometry {
            GeometryName::L2 => Geometry::L2,
            GeometryName::Linf => Geometry::LInf,
            GeometryName::AdaptiveL2 => Geometry::AdaptiveL2 { eta },
            GeometryName::AdaptiveLinf => Geometry::AdaptiveLInf { eta },
        };
        let rho = self.rho.unwrap_or(self.geometry.radius());
        let adaptive = (self.geometry == GeometryName::AdaptiveL2).then_some(eta);
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
            None => SharpnessName::ALL
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
}
