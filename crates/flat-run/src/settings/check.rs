//! Which values make sense.

use crate::settings::config::TrainConfig;
use crate::settings::pixels;
use crate::usage::usage;
use anyhow::Result;
use flat_optim::RuleKind;

impl TrainConfig {
    /// Refuses what is out of range.
    ///
    /// # Errors
    /// A usage error that names the flag and what it takes.
    pub fn check(&self) -> Result<()> {
        let positive = [
            ("lr", self.lr),
            ("plain-lr", self.plain_lr),
            ("rho", self.rho),
            ("sigma", self.sigma),
            ("eps", Some(self.eps)),
            ("clip", self.clip),
            ("gamma", Some(self.gamma)),
        ];
        for (flag, value) in positive {
            if let Some(x) = value.filter(|x| !(x.is_finite() && *x > 0.0)) {
                return Err(usage(format!("--{flag} {x}: give a number above 0")));
            }
        }
        if self.optimizer.0 == RuleKind::Rsp && self.rho.is_some() && self.sigma.is_some() {
            return Err(usage(
                "--rho and --sigma of rsp exclude each other: rho is sigma times the root of the number of weights",
            ));
        }
        let not_negative =
            [("weight-decay", self.weight_decay), ("min-lr", Some(self.min_lr)), ("min-rho", Some(self.min_rho))];
        for (flag, value) in not_negative {
            if let Some(x) = value.filter(|x| !(x.is_finite() && *x >= 0.0)) {
                return Err(usage(format!("--{flag} {x}: give 0 or a number above it")));
            }
        }
        pixels::of_run(self)?;
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
            ("log-every", self.log_every),
            ("train-limit", self.train_limit),
            ("test-limit", self.test_limit),
            ("channels", self.channels),
            ("groups", self.groups),
            ("pairs", Some(self.pairs)),
            ("sap-examples", Some(self.sap_examples)),
            ("keep-checkpoints", Some(self.keep_checkpoints)),
            ("trace-examples", Some(self.trace_examples)),
            ("flatness-examples", Some(self.flatness_examples)),
        ];
        for (flag, value) in at_least_one {
            if value == Some(0) {
                return Err(usage(format!("--{flag} 0: give at least 1")));
            }
        }
        if self.hidden.contains(&0) || self.hidden.is_empty() {
            return Err(usage("--hidden: give widths of at least 1, as in --hidden 256,128"));
        }
        if self.hidden.len() > 64 || self.hidden.iter().any(|n| *n > 1 << 16) {
            return Err(usage("--hidden: at most 64 layers of at most 65536 units"));
        }
        if self.channels.is_some_and(|n| n > 1 << 12) {
            return Err(usage("--channels: at most 4096"));
        }
        if self.trace_probes == 1 {
            return Err(usage("--trace-probes 1 has no confidence interval: give at least 2, or 0 for no trace"));
        }
        if self.flatness_probes < 2 {
            return Err(usage(format!(
                "--flatness-probes {}: a confidence interval needs at least 2",
                self.flatness_probes
            )));
        }
        if !self.flatness.is_empty() && self.flatness_every.in_steps(1) == 0 {
            return Err(usage(format!(
                "--flatness-every {}: --flatness would never be taken; give steps, or epochs as in 1ep",
                self.flatness_every
            )));
        }
        if self.epochs.is_some() && self.steps.is_some() {
            return Err(usage("--epochs and --steps exclude each other"));
        }
        Ok(())
    }
}
