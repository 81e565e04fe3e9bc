//! The measures of a model: one file each, and one line in [`MEASURES`].

pub mod all;
pub(crate) mod along;
mod certify;
mod curvature;
mod density;
mod dimension;
pub(crate) mod document;
mod eig;
mod gradnorm;
pub(crate) mod hessian_method;
pub(crate) mod interface;
mod lambda_max;
mod layers;
pub(crate) mod line;
mod operator;
pub(crate) mod provenance;
mod sharpness;
pub(crate) mod trace;

pub use all::All;
pub use along::{Along, Moment};
pub use curvature::Curvature;
pub use document::{Document, SCHEMA};
pub use eig::tolerance;
pub use hessian_method::HessianMethod;
pub use interface::{Asked, Entry, InAll, Measure, Report, Shared};
pub use line::Line;
pub use provenance::{Provenance, Source};
pub use trace::{Probes, TraceFound, TraceRecord, TraceSettings, trace};

use crate::settings::choice::Flatness;
use interface::Of;
use std::sync::LazyLock;

/// The table of measures. Each is a subcommand of `metrics`, a part of `metrics all` and, where it can be, of
/// `--flatness`.
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

/// The measures that a run can take while it trains.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::config::RunConfig;
    use flat_core::setting::{Needs, Setting, Settings};

    /// The settings that a need names, with the values that it asks them for.
    fn named(needs: Needs) -> Vec<(&'static str, &'static [&'static str])> {
        match needs {
            Needs::OneOf(name, of) => vec![(name, of)],
            Needs::Set(name) | Needs::Unset(name) | Needs::Is(name, _) => vec![(name, &[])],
            Needs::All(all) | Needs::Any(all) => all.iter().copied().flat_map(named).collect(),
            Needs::Nothing | Needs::That(..) => Vec::new(),
        }
    }

    #[test]
    fn every_flag_has_a_help_text_and_needs_choices_that_there_are() {
        let of_measures = MEASURES.iter().map(|m| m.flags().into_iter().map(|flag| flag.setting).collect());
        for settings in of_measures.chain([RunConfig::settings()]) {
            let settings: Vec<Setting> = settings;
            for setting in &settings {
                assert!(!setting.help.is_empty(), "{}", setting.name);
                for (name, values) in named(setting.needs) {
                    let Some(other) = settings.iter().find(|s| s.name == name) else { continue };
                    let known = |value: &&str| other.names.contains(value);
                    assert!(values.iter().all(known), "--{} needs {values:?} of --{name}", setting.name);
                }
            }
        }
    }

    #[test]
    fn what_metrics_all_shares_are_flags_of_the_measures() {
        let all = all::flags(MEASURES);
        for shared in MEASURES.iter().filter_map(|measure| measure.in_all()).flat_map(|of| of.flags) {
            assert!(all.iter().any(|flag| flag.setting.name == shared.flag), "{}", shared.flag);
        }
    }
}
