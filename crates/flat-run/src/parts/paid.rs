//! The number of steps that a budget of gradient evaluations pays for.

use crate::settings::config::RunConfig;
use anyhow::Result;
use flat_optim::RuleKind;

/// Gradient evaluations of a batch that a step costs while this rule is on: its cheapest one, and one on average. They are one
/// number unless the data decide.
///
/// # Errors
/// Options of the rule out of range.
fn costs(config: &RunConfig, rule: RuleKind) -> Result<[f64; 2]> {
    // of the whole training set, a few examples are nothing
    let rows = if config.full_batch { usize::MAX } else { config.batch_size };
    let rule = config.rule_of(rule, &config.all_values())?;
    Ok([rule.least_evals(rows), rule.mean_evals(rows)])
}

/// Gradient evaluations that the first step may take.
///
/// # Errors
/// As [`steps`].
pub(super) fn first(config: &RunConfig) -> Result<f64> {
    Ok(costs(config, config.rules()[0])?[1])
}

/// Whether the length of the run is a number of evaluations that the data divide into steps.
///
/// # Errors
/// As [`steps`].
pub(super) fn by_evals(config: &RunConfig) -> Result<bool> {
    let varies = |rule: &RuleKind| costs(config, *rule).map(|[least, mean]| least < mean);
    Ok(config.evals.is_some() && config.rules().iter().map(varies).collect::<Result<Vec<_>>>()?.contains(&true))
}

/// The steps that `evals` evaluations pay for, rule after rule where rules are scheduled; at most, where the data decide what a
/// step costs.
///
/// # Errors
/// Options of the rule out of range.
pub(super) fn steps(config: &RunConfig, evals: u64, steps_per_epoch: u64) -> Result<u64> {
    let phases: Vec<(u64, RuleKind)> = match &config.rule_schedule {
        None => vec![(0, config.optimizer)],
        Some(schedule) => {
            (schedule.phases().iter()).map(|phase| (phase.start.saturating_mul(steps_per_epoch), phase.rule)).collect()
        }
    };
    let mut left = evals as f64;
    for (i, (start, rule)) in phases.iter().enumerate() {
        let [cost, _] = costs(config, *rule)?;
        // room for the rounding of a cost such as 4/3
        let paid = (left / cost + 1e-9).floor() as u64;
        match phases.get(i + 1) {
            Some((next, _)) if paid > next - start => left -= cost * (next - start) as f64,
            _ => return Ok(start + paid),
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::parse;

    #[test]
    fn a_rule_with_two_gradients_takes_half_the_steps_and_a_schedule_pays_phase_by_phase() -> Result<()> {
        for (flags, evals, expected) in [
            ("--optimizer sgd", 100, 100),
            ("--optimizer sam", 100, 50),
            ("--optimizer sam", 101, 50),
            // 4 epochs of 10 plain steps, then (100 - 40) / 2
            ("--rule-schedule plain:0-4,sam:4-", 100, 70),
            ("--rule-schedule plain:0-4,sam:4-", 33, 33),
            ("--rule-schedule sam:0-2,plain:2-", 60, 40),
            // at most: every step may turn out a plain one
            ("--optimizer aesam", 100, 100),
            ("--optimizer rsp --eps0 0.1", 100, 100),
            ("--optimizer rsp", 100, 50),
        ] {
            let config = parse(&format!("{flags} --evals {evals}"))?;
            assert_eq!(steps(&config, evals, 10)?, expected, "{flags} {evals}");
        }
        Ok(())
    }
}
