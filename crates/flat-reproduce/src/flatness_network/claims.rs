//! What is said of networks of agents, decided by intervals over the seeds.

use super::{Runs, Setting, left_after};
use crate::interval::{Mean, short};
use crate::paired::Group;
use crate::training::Fit;
use flat_run::value::percentage;
use serde::Serialize;

/// A number by which two settings are compared, so that above 0 means as claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Number {
    /// Logarithm of the other's trace over the first one's, at equal training loss.
    Trace,
    /// Logarithm of the other's final training loss over the first one's.
    Loss,
    /// The first one's test accuracy less the other's.
    Accuracy,
    /// The other's steps until the bad minimum is left less the first one's.
    Steps,
}

/// A claim in a case.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Verdict {
    pub claim: String,
    pub case: String,
    pub number: Number,
    /// As the number has it; `None` where a run diverged or two have no common loss.
    pub difference: Option<Mean>,
}

impl Number {
    /// The difference as a page has it.
    pub fn text(self, difference: Mean) -> String {
        match self {
            Self::Trace => format!("the other's trace is {} times this", difference.map(f64::exp).text(short)),
            Self::Loss => format!("the other's loss is {} times this", difference.map(f64::exp).text(short)),
            Self::Accuracy => format!("{} points more", difference.text(percentage)),
            Self::Steps => format!("{} steps earlier", difference.text(short)),
        }
    }
}

impl Verdict {
    /// What the interval shows.
    pub fn words(&self) -> &'static str {
        match self.difference.map(|difference| difference.ci95) {
            None => "no number for a run",
            Some(None) => "one seed: no interval",
            Some(Some([low, _])) if low > 0.0 => "seen",
            Some(Some([_, high])) if high < 0.0 => "not seen, but the contrary",
            Some(Some(_)) => "cannot be told apart",
        }
    }
}

/// The mean difference, seed by seed, of what `of` finds of two runs.
fn paired(first: &Group, other: &Group, of: impl Fn(&Fit, &Fit) -> Option<f64>) -> Option<Mean> {
    let all: Option<Vec<f64>> = first.fits.iter().zip(&other.fits).map(|(a, b)| of(a, b)).collect();
    Mean::of(&all?)
}

/// Logarithm of the other run's trace over the first one's where both have the larger of their final training losses.
fn at_equal_loss(first: &Fit, other: &Fit) -> Option<f64> {
    let loss = first.end()?.train_loss.max(other.end()?.train_loss);
    Some(other.trace_at(None, loss)? - first.trace_at(None, loss)?)
}

fn compared(number: Number, first: &Group, other: &Group, (accuracy, steps): (f64, u64)) -> Option<Mean> {
    paired(first, other, |first, other| match number {
        Number::Trace => at_equal_loss(first, other),
        Number::Loss => Some(other.end()?.train_loss.ln() - first.end()?.train_loss.ln()),
        Number::Accuracy => Some(first.end()?.held_out_accuracy - other.end()?.held_out_accuracy),
        Number::Steps => Some(left_after(other, accuracy, steps) - left_after(first, accuracy, steps)),
    })
}

/// Every claim in every case: from random weights, and from the bad minimum, which is left at this test accuracy, or after all its
/// steps.
pub(super) fn decide(random: &[Runs], bad: &[Runs], accuracy: f64, steps: u64) -> Vec<Verdict> {
    let mut all = Vec::new();
    for (runs, flatness, optimization) in [(random, Number::Trace, true), (bad, Number::Steps, false)] {
        let what = if flatness == Number::Trace { "is flatter than" } else { "leaves a bad minimum faster than" };
        for of in runs.iter().filter(|of| of.setting.graph.is_some()) {
            let same_case = |runs: &&Runs| runs.case == of.case;
            let mut say = |what: &str, than: &str, number: Number| {
                let graph = if than == "centralised" { &None } else { &of.setting.graph };
                let other = |runs: &&Runs| runs.setting.strategy == than && runs.setting.graph == *graph;
                let Some(other) = runs.iter().filter(same_case).find(other) else { return };
                let Setting { strategy, graph } = &of.setting;
                all.push(Verdict {
                    claim: format!("{strategy} {what} {than}"),
                    case: format!("{}, {}", graph.as_deref().unwrap_or_default(), of.case.words()),
                    number,
                    difference: compared(number, &of.group, &other.group, (accuracy, steps)),
                });
            };
            say(what, "centralised", flatness);
            match of.setting.strategy {
                "consensus" => say(what, "diffusion", flatness),
                _ if optimization => {
                    say("reaches a lower training loss than", "consensus", Number::Loss);
                    say("is more accurate than", "centralised", Number::Accuracy);
                    say("is more accurate than", "consensus", Number::Accuracy);
                }
                _ => {}
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flatness_network::Case;
    use crate::training::Point;

    /// Runs whose trace is `factor` times their loss, and which reach an accuracy of 0.9 at this step.
    fn runs(strategy: &'static str, graph: Option<&str>, factor: f64, left: u64) -> Runs {
        let point = |step: u64, train_loss: f64, scale: f64| Point {
            step,
            evals: step as f64,
            train_loss,
            train_accuracy: 1.0,
            held_out_loss: 1.0,
            held_out_accuracy: if step >= left { 0.9 } else { 0.8 },
            trbar: Some(factor * train_loss * scale),
            trbar_ci95: None,
            lambda_max: None,
            groups: None,
            wall_s: None,
        };
        let fit = |scale: f64| Fit {
            points: vec![point(10, 1.0, scale), point(20, 0.1, scale), point(30, 0.01 * factor, scale)],
            diverged: None,
            unit_margin: None,
        };
        let group = Group { name: strategy.into(), lr: 0.5, fits: [0.9, 1.0, 1.1].map(fit).into() };
        Runs { case: Case { batch: 1, lr: 0.5 }, setting: Setting { strategy, graph: graph.map(Into::into) }, group }
    }

    #[test]
    fn claims_are_decided_at_equal_loss_and_by_the_steps_until_the_minimum_is_left() {
        let all = || {
            [
                runs("centralised", None, 2.0, 30),
                runs("consensus", Some("ring"), 0.5, 10),
                runs("diffusion", Some("ring"), 1.0, 99),
            ]
        };
        let verdicts = decide(&all(), &all(), 0.85, 40);
        let of = |claim: &str| verdicts.iter().find(|v| v.claim == claim).expect(claim);
        let flatter = of("consensus is flatter than centralised");
        assert!((flatter.difference.expect("a mean").value - 4f64.ln()).abs() < 1e-12, "{flatter:?}");
        assert_eq!(flatter.words(), "seen");
        assert_eq!(of("consensus is flatter than diffusion").words(), "seen");
        assert_eq!(of("diffusion reaches a lower training loss than consensus").words(), "not seen, but the contrary");
        assert_eq!(of("diffusion is more accurate than consensus").words(), "not seen, but the contrary");
        assert_eq!(of("diffusion is more accurate than centralised").words(), "not seen, but the contrary");
        let faster = of("consensus leaves a bad minimum faster than centralised");
        assert_eq!((faster.difference.expect("a mean").value, faster.words()), (20.0, "seen"));
        let slower = of("diffusion leaves a bad minimum faster than centralised");
        assert_eq!(slower.difference.expect("a mean").value, -10.0, "one that never leaves counts with all its steps");
        assert_eq!(verdicts.len(), 6 + 3);
    }
}
