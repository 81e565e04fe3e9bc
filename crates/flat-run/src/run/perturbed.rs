//! The share of perturbed steps of a run with a gate, and a warning where it is small.

use crate::settings::config::RunConfig;
use crate::store::checkpoint::Progress;

/// Below this part of the steps a run is nearly one of the plain rule.
const FEW: f64 = 0.05;

/// Perturbed steps among the steps of a run whose rule perturbs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Perturbed {
    /// Steps whose gradient was perturbed.
    steps: u64,
    /// Steps in all.
    of: u64,
    /// The gate, where the rule has one that can shut.
    eps0: Option<f64>,
}

impl Perturbed {
    /// The count so far; `None` for a rule that never perturbs, and where an earlier version did not count.
    pub fn of(config: &RunConfig, progress: &Progress) -> Option<Self> {
        let eps0 = config.number("eps0").filter(|eps0| eps0.is_finite() && config.lacks("eps0").is_none());
        let steps = progress.perturbed.filter(|_| config.optimizer.perturbs())?;
        Some(Self { steps, of: progress.step, eps0 })
    }

    /// The count for a person.
    pub fn text(self) -> String {
        format!("perturbed {} of {} steps", self.steps, self.of)
    }

    /// The count at the end of a line of progress; empty where there is none.
    pub fn suffix(config: &RunConfig, progress: &Progress) -> String {
        Self::of(config, progress).map(|p| format!("  {}", p.text())).unwrap_or_default()
    }

    /// A warning for a run with fewer than 5 % perturbed steps; `None` for others, and for a run of no steps.
    pub fn warning(self) -> Option<String> {
        if self.of == 0 || self.steps as f64 >= FEW * self.of as f64 {
            return None;
        }
        let remedy = match self.eps0 {
            Some(eps0) => format!("raise --eps0 {eps0}, the norm of the gradient up to which steps are perturbed"),
            None => "the radius was scheduled to 0, the gradient was zero, or the steps were skipped".to_string(),
        };
        Some(format!("{}, fewer than 5 %: the run is nearly one of the base optimizer alone; {remedy}", self.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flat_core::setting::Value;

    fn of(rule: &str, eps0: f64, perturbed: Option<u64>, step: u64) -> Option<Perturbed> {
        let optimizer = rule.parse().expect("a rule");
        let config = RunConfig::default().optimizer(optimizer).with_option("eps0", Value::Number(eps0));
        Perturbed::of(&config, &Progress { perturbed, step, ..Progress::begin() })
    }

    #[test]
    fn fewer_than_5_percent_are_a_warning_that_names_the_gate_where_the_rule_has_one() {
        let warning = |rule, eps0, n, step| of(rule, eps0, Some(n), step).and_then(Perturbed::warning);
        let text = warning("rsp", 0.5, 4, 100).unwrap_or_default();
        assert!(text.starts_with("perturbed 4 of 100 steps") && text.contains("--eps0 0.5"), "{text}");
        assert_eq!(warning("rsp", 0.5, 5, 100), None);
        assert_eq!(warning("sap", 0.5, 0, 0), None, "a run of no steps");
        for (rule, eps0) in [("sam", 0.5), ("nso", 0.5), ("rsp", f64::INFINITY)] {
            let text = warning(rule, eps0, 0, 7).unwrap_or_default();
            assert!(text.contains("perturbed 0 of 7 steps") && !text.contains("eps0"), "{rule}: {text}");
        }
    }

    #[test]
    fn a_rule_that_never_perturbs_and_a_count_that_was_never_taken_say_nothing() {
        assert_eq!(of("plain", 0.5, Some(0), 100), None);
        assert_eq!(of("sam", 0.5, None, 100), None);
    }
}
