//! Sizes of a rule's perturbation, tried on every case beside SGD.

use crate::flags::Flags;
use crate::paired::Group;
use anyhow::{Context, Result};

/// A size of a rule's perturbation: rho, or sigma for the isotropic rules.
pub(super) struct Candidate {
    pub flags: Flags,
    /// `rho` or `sigma`.
    symbol: &'static str,
    size: f64,
}

impl Candidate {
    pub fn new(flags: Flags) -> Result<Self> {
        let found = ["rho", "sigma"].into_iter().find_map(|symbol| Some((symbol, flags.number(symbol)?)));
        let (symbol, size) = found.context("a candidate of the study has neither rho nor sigma")?;
        Ok(Self { flags, symbol, size })
    }

    pub fn rule(&self) -> &str {
        self.flags.text("optimizer").unwrap_or_default()
    }

    /// As the page names it.
    pub fn name(&self) -> String {
        let examples = self.flags.number("sap-examples").map(|n| format!(", {n} examples")).unwrap_or_default();
        format!("{}, {} {}{examples}", self.rule(), self.symbol, self.size)
    }

    /// As cells name it.
    pub fn key(&self) -> String {
        let examples = self.flags.number("sap-examples").map(|n| format!("-{n}")).unwrap_or_default();
        format!("{}-{}{examples}", self.rule(), self.size)
    }

    /// Whether the tool has this size by default.
    pub fn is_default(&self) -> Result<bool> {
        let usual = Flags::default().with("optimizer", self.rule());
        Ok(self.flags.config()? == usual.config()?)
    }
}

/// A candidate over the cases, beside SGD.
pub(super) struct Tried {
    pub candidate: Candidate,
    /// One a case.
    pub beside: Vec<Beside>,
}

/// Means over the seeds of a search, of one case.
pub(super) struct Beside {
    /// Trace over SGD's, the mean of logarithms; infinite where a run diverged.
    pub log_ratio: f64,
    /// Validation accuracy above SGD's.
    pub accuracy: f64,
    /// One standard error of SGD's accuracy on that many images.
    pub std_error: f64,
    /// Training loss.
    pub train_loss: f64,
}

impl Beside {
    pub fn of(group: &Group, sgd: &Group, images: usize) -> Self {
        let found = || {
            let level = sgd.mean(&|p| Some(p.held_out_accuracy))?.value;
            Some(Self {
                log_ratio: group.log_ratio(sgd)?.value,
                accuracy: group.accuracy_above(sgd)?.value,
                train_loss: group.mean(&|p| Some(p.train_loss))?.value,
                std_error: (level * (1.0 - level) / images as f64).sqrt(),
            })
        };
        // where a run diverged
        let lost = Self { log_ratio: f64::INFINITY, accuracy: -1.0, std_error: 0.0, train_loss: f64::INFINITY };
        found().unwrap_or(lost)
    }

    fn no_worse(&self) -> bool {
        self.accuracy >= -self.std_error
    }
}

impl Tried {
    pub fn new(candidate: Candidate) -> Self {
        Self { candidate, beside: Vec::new() }
    }

    /// The mean logarithm of its traces over SGD's; `None` where it is worse than SGD in a case.
    pub fn score(&self) -> Option<f64> {
        let no_worse = self.beside.iter().all(Beside::no_worse);
        no_worse.then(|| self.beside.iter().map(|b| b.log_ratio).sum::<f64>() / self.beside.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(log_ratio: f64, accuracy: f64) -> Beside {
        Beside { log_ratio, accuracy, std_error: 0.01, train_loss: 0.1 }
    }

    #[test]
    fn a_candidate_that_is_worse_in_one_case_has_no_score() -> Result<()> {
        let flags = Flags::default().with("optimizer", "sam").with("rho", 0.1);
        let score = |beside| anyhow::Ok(Tried { candidate: Candidate::new(flags.clone())?, beside }.score());
        assert_eq!(score(vec![beside(-1.0, 0.0), beside(-2.0, -0.01)])?, Some(-1.5));
        assert_eq!(score(vec![beside(-1.0, 0.0), beside(-2.0, -0.011)])?, None);
        Ok(())
    }
}
