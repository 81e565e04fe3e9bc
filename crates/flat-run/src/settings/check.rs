//! What a configuration is refused for: values out of range, and settings that do not go together.

use super::choice::{PerturbByName, ScheduleName};
use super::config::RunConfig;
use super::pixels;
use super::resolve::option;
use crate::usage::{BadFlag, usage};
use anyhow::Result;
use flat_core::setting::Settings;
use flat_data::DatasetKind;
use flat_optim::{Need, RuleKind};

impl RunConfig {
    /// Refuses a rule whose batches the data or the run do not have.
    fn check_need(&self, rule: RuleKind, need: Need) -> Result<()> {
        match need {
            Need::Source(_) if self.dataset.attributes() == 0 => Err(usage(format!(
                "--optimizer {rule}: --dataset {} has no groups of class and attribute, which it draws by; use --dataset \
                 colored-mnist (`flat-train {}` makes it)",
                self.dataset,
                DatasetKind::ColoredMnist.get()
            ))),
            Need::Losses | Need::FreshBatches | Need::Source(_) if self.full_batch => Err(usage(format!(
                "--optimizer {rule} needs {need}, which --full-batch does not have: leave out one of them"
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses what is out of range.
    ///
    /// # Errors
    /// A usage error that names the flag and what it takes.
    pub fn check(&self) -> Result<()> {
        Settings::check(self).map_err(BadFlag::from)?;
        let options = self.all_values();
        for rule in self.rules() {
            let built = self.rule_of(rule, &options)?;
            built.needs().into_iter().try_for_each(|need| self.check_need(rule, need))?;
        }
        self.base.build(&options).map_err(option)?;
        pixels::of_run(self)?;
        self.check_network()?;
        let wrong = [
            (self.hidden.is_empty() || self.hidden.len() > 64, "--hidden: give from 1 to 64 widths, as in 256,128"),
            (self.trace_probes == 1, "--trace-probes 1 has no confidence interval: give at least 2, or 0 for no trace"),
            (
                !self.flatness.is_empty() && self.flatness_every.in_steps(1) == 0,
                "--flatness-every 0: --flatness would never be taken; give steps, or epochs as in 1ep",
            ),
            (
                self.m.is_some() && self.perturb_by == PerturbByName::Grain,
                "--m and --perturb-by grain exclude each other: both say which parts of a batch have a perturbation of their own",
            ),
            (
                self.ema.is_some() && self.swa_start.is_some(),
                "--ema and --swa-start exclude each other: the weights have one average",
            ),
            (
                self.swa_start.is_some() && self.swa_every.in_steps(1) == 0,
                "--swa-every 0: nothing would be averaged; give steps, or epochs as in 1ep",
            ),
            (
                self.base.averages() && self.schedule != ScheduleName::Constant,
                "--schedule cosine or step: a schedule-free --base has the mean of its iterates in place of a schedule; leave \
                 --schedule out, --warmup stays",
            ),
            (
                [self.epochs.is_some(), self.steps.is_some(), self.evals.is_some()]
                    .into_iter()
                    .filter(|given| *given)
                    .count()
                    > 1,
                "--epochs, --steps and --evals exclude each other",
            ),
            (self.image_channels == Some(2), "--image-channels 2: give 1 for grey or 3 for colours"),
        ];
        match wrong.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, text)) => Err(usage(text)),
            None => Ok(()),
        }
    }
}
