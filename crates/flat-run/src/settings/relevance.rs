//! Which settings a configuration makes use of. A setting that would be ignored is an error where it is a flag, and is
//! not written to `config.toml`.

use crate::settings::choice::Float;
use crate::settings::choice::{FlatnessName, LossName, SapDirection, ScheduleName};
use crate::settings::config::TrainConfig;
use flat_nn::{Arch, Norm};
use flat_optim::{BaseKind, RuleKind};

impl TrainConfig {
    /// Whether the setting called `key` has an effect here; if not, what it would need.
    pub(crate) fn needs(&self, key: &str) -> Option<&'static str> {
        let (rule, base, arch) = (self.optimizer.0, self.base(), self.model.0);
        let stepped =
            self.schedule == ScheduleName::Step || (self.rho_schedule == ScheduleName::Step && rule != RuleKind::Plain);
        let (applies, needs) = match key {
            "rho" => (matches!(rule, RuleKind::Sam | RuleKind::Rsp | RuleKind::Sap), "--optimizer sam, rsp or sap"),
            "precision" => (self.dtype == Float::F32, "--dtype f32: products of f64 are never rounded"),
            "sigma" => (matches!(rule, RuleKind::Rsp | RuleKind::Nso), "--optimizer rsp or nso"),
            "pairs" => (rule == RuleKind::Nso, "--optimizer nso"),
            "plain-lr" | "eps0" | "no-project" => {
                (matches!(rule, RuleKind::Rsp | RuleKind::Sap), "--optimizer rsp or sap")
            }
            "sap-direction" | "sap-sign" => (rule == RuleKind::Sap, "--optimizer sap"),
            "sap-examples" => {
                let sampled = rule == RuleKind::Sap && self.sap_direction == SapDirection::Sample;
                (sampled, "--optimizer sap --sap-direction sample")
            }
            "rho-schedule" | "rho-warmup" => (rule != RuleKind::Plain, "an --optimizer that perturbs"),
            "min-rho" => {
                let cosine = rule != RuleKind::Plain && self.rho_schedule == ScheduleName::Cosine;
                (cosine, "--rho-schedule cosine and an --optimizer that perturbs")
            }
            "momentum" | "dampening" | "nesterov" | "decoupled" => (base == BaseKind::Sgd, "--base sgd"),
            "beta1" | "beta2" | "eps" => (base == BaseKind::AdamW, "--base adamw"),
            "label-smoothing" => (self.loss == LossName::CrossEntropy, "--loss cross-entropy"),
            "hidden" => (arch == Arch::Mlp, "--model mlp"),
            "channels" => (arch != Arch::Mlp, "lenet or a ResNet as --model"),
            "groups" => {
                let grouped = self.norm.0 == Norm::Group && !matches!(arch, Arch::Mlp | Arch::LeNet);
                (grouped, "--norm group and a ResNet as --model")
            }
            "norm" => (!matches!(arch, Arch::Mlp | Arch::LeNet), "a ResNet as --model"),
            "min-lr" => (self.schedule == ScheduleName::Cosine, "--schedule cosine"),
            "gamma" | "step-size" => (stepped, "--schedule step or --rho-schedule step"),
            "micro-batch" => (!self.full_batch, "a run without --full-batch, which streams by --batch-size"),
            "trace-examples" => (self.trace_probes > 0, "--trace-probes above 0"),
            "flatness-every" | "flatness-examples" => (!self.flatness.is_empty(), "--flatness"),
            "flatness-probes" => (self.flatness.contains(&FlatnessName::Trace), "--flatness with trace"),
            _ => (true, ""),
        };
        (!applies).then_some(needs)
    }
}

/// Keys of a file that a change of this setting by a flag makes stale: their values were chosen for the old one.
pub(crate) fn stale(changed: &str) -> &'static [&'static str] {
    match changed {
        "optimizer" => &["rho", "sigma"],
        "base" => &["lr", "weight-decay"],
        _ => &[],
    }
}
