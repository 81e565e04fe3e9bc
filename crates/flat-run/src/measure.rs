//! What is measured of a model: one file a measure, and one line in [`MEASURES`].

pub mod all;
pub mod along;
pub mod certify;
pub mod curvature;
pub mod density;
pub mod dimension;
pub mod document;
pub mod eig;
pub mod gradnorm;
pub mod hessian_method;
pub mod interface;
pub mod lambda_max;
pub mod layers;
pub mod line;
pub mod operator;
pub mod provenance;
pub mod sharpness;
pub mod trace;

use crate::settings::choice::Flatness;
use along::Along;
use interface::{Entry, Of};
use std::sync::LazyLock;

/// The measures: each is a subcommand of `metrics`, a part of `metrics all` and, where it can be, of `--flatness`.
pub static MEASURES: &[&dyn Entry] = &[
    &Of::<trace::TraceArgs>::NEW,
    &Of::<layers::LayersArgs>::NEW,
    &Of::<eig::EigArgs>::NEW,
    &Of::<density::DensityArgs>::NEW,
    &Of::<sharpness::SharpnessArgs>::NEW,
    &Of::<dimension::DimensionArgs>::NEW,
    &Of::<gradnorm::GradnormArgs>::NEW,
    &Of::<certify::CertifyArgs>::NEW,
];

/// Those of them that a run can take on its way.
pub fn along() -> impl Iterator<Item = Along> {
    MEASURES.iter().filter_map(|measure| measure.along())
}

/// What `--flatness` takes.
impl flat_core::Item for Flatness {
    const WHAT: &'static str = "flatness";

    fn table() -> &'static [Self] {
        static TABLE: LazyLock<Vec<Flatness>> = LazyLock::new(|| along().map(|along| Flatness(along.name)).collect());
        &TABLE
    }

    fn name(&self) -> &'static str {
        self.0
    }
}
