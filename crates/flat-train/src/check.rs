//! Which configurations make sense: ranges, and flags that would have no effect.

use crate::choice::LossName;
use crate::config::TrainConfig;
use crate::exit::usage;
use anyhow::Result;
use flat_nn::Arch;
use flat_optim::{BaseKind, RuleKind};

impl TrainConfig {
    /// Refuses what is out of range or would be ignored.
    ///
    /// # Errors
    /// A usage error that names the flag and what it takes.
    pub(crate) fn check(&self) -> Result<()> {
        let positive = [
            ("lr", self.lr),
            ("plain-lr", self.plain_lr),
            ("rho", self.rho),
            ("sigma", Some(self.sigma)),
            ("eps", Some(self.eps)),
            ("clip", self.clip),
            ("gamma", Some(self.gamma)),
        ];
        for (flag, value) in positive {
            if let Some(x) = value.filter(|x| !(x.is_finite() && *x > 0.0)) {
                return Err(usage(format!("--{flag} {x}: give a number above 0")));
            }
        }
        let not_negative =
            [("weight-decay", self.weight_decay), ("min-lr", Some(self.min_lr)), ("min-rho", Some(self.min_rho))];
        for (flag, value) in not_negative {
            if let Some(x) = value.filter(|x| !(x.is_finite() && *x >= 0.0)) {
                return Err(usage(format!("--{flag} {x}: give 0 or a number above it")));
            }
        }
        if self.eps0.is_nan() || self.eps0 <= 0.0 {
            return Err(usage(format!("--eps0 {}: give a number above 0; inf perturbs always", self.eps0)));
        }
        let below_one = [
            ("momentum", Some(self.momentum)),
            ("beta1", Some(self.beta1)),
            ("beta2", Some(self.beta2)),
            ("label-smoothing", Some(self.label_smoothing)),
            ("ema", self.ema),
        ];
        for (flag, value) in below_one {
            if let Some(x) = value.filter(|x| !(0.0..1.0).contains(x)) {
                return Err(usage(format!("--{flag} {x}: give a number in [0, 1)")));
            }
        }
        if !(0.0..=1.0).contains(&self.dampening) {
            return Err(usage(format!("--dampening {}: give a number in [0, 1]", self.dampening)));
        }
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            return Err(usage("--nesterov needs --momentum above 0 and --dampening 0"));
        }
        let at_least_one = [
            ("batch-size", Some(self.batch_size)),
            ("micro-batch", self.micro_batch),
            ("train-limit", self.train_limit),
            ("test-limit", self.test_limit),
            ("pairs", Some(self.pairs)),
            ("sap-examples", Some(self.sap_examples)),
            ("keep-checkpoints", Some(self.keep_checkpoints)),
            ("trace-examples", Some(self.trace_examples)),
        ];
        for (flag, value) in at_least_one {
            if value == Some(0) {
                return Err(usage(format!("--{flag} 0: give at least 1")));
            }
        }
        if self.hidden.contains(&0) || self.hidden.is_empty() {
            return Err(usage("--hidden: give widths of at least 1, as in --hidden 256,128"));
        }
        if self.trace_probes == 1 {
            return Err(usage("--trace-probes 1 has no confidence interval: give at least 2, or 0 for no trace"));
        }
        self.check_relevance()
    }

    /// Refuses flags that the chosen optimizer would silently ignore.
    fn check_relevance(&self) -> Result<()> {
        let rule = self.optimizer.0;
        let name = self.optimizer_name();
        let gated = matches!(rule, RuleKind::Rsp | RuleKind::Sap);
        let default = Self::default();
        let stray = [
            (self.rho.is_some() && matches!(rule, RuleKind::Plain | RuleKind::Nso), "rho"),
            (self.sigma != default.sigma && rule != RuleKind::Nso, "sigma"),
            (self.pairs != default.pairs && rule != RuleKind::Nso, "pairs"),
            (self.plain_lr.is_some() && !gated, "plain-lr"),
            (self.eps0 != default.eps0 && !gated, "eps0"),
            (self.no_project && !gated, "no-project"),
            (self.sap_direction != default.sap_direction && rule != RuleKind::Sap, "sap-direction"),
            (self.sap_sign != default.sap_sign && rule != RuleKind::Sap, "sap-sign"),
            (self.sap_examples != default.sap_examples && rule != RuleKind::Sap, "sap-examples"),
            (self.rho_schedule != default.rho_schedule && rule == RuleKind::Plain, "rho-schedule"),
            (self.nesterov && self.base() == BaseKind::AdamW, "nesterov"),
            (self.decoupled && self.base() == BaseKind::AdamW, "decoupled"),
            (self.label_smoothing != 0.0 && self.loss == LossName::Mse, "label-smoothing"),
        ];
        let arch = self.model.0;
        let model_stray = [
            (self.hidden != default.hidden && arch != Arch::Mlp, "hidden"),
            (self.activation != default.activation && arch != Arch::Mlp, "activation"),
            (self.norm != default.norm && matches!(arch, Arch::Mlp | Arch::LeNet), "norm"),
        ];
        if let Some((_, flag)) = model_stray.iter().find(|(is_stray, _)| *is_stray) {
            return Err(usage(format!("--{flag} has no effect on --model {arch}; leave it out")));
        }
        match stray.iter().find(|(is_stray, _)| *is_stray) {
            None => Ok(()),
            Some((_, flag)) => Err(usage(format!(
                "--{flag} has no effect with --optimizer {name} over --base {}{}; leave it out",
                self.base(),
                if *flag == "label-smoothing" { " and --loss mse" } else { "" }
            ))),
        }
    }
}
