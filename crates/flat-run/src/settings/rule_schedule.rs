//! The schedule of rules over epochs: `plain:0-40,sam:40-50`.

use flat_optim::RuleKind;
use std::fmt;
use std::str::FromStr;

/// Rules in the order of their phases, which begin at epoch 0 and follow one another without gap or overlap.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSchedule {
    phases: Vec<Phase>,
}

/// A rule from one epoch up to another, which belongs to the next phase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phase {
    /// The rule.
    pub rule: RuleKind,
    /// Its first epoch.
    pub start: u64,
    /// The first epoch that is no longer its own; `None` for the end of the run.
    pub end: Option<u64>,
}

impl RuleSchedule {
    /// The phases, the first from epoch 0.
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// Epochs of all phases together, where the last one says its end.
    pub fn epochs(&self) -> Option<u64> {
        self.phases.last().and_then(|phase| phase.end)
    }

    /// The rules, each once.
    pub fn rules(&self) -> Vec<RuleKind> {
        let mut rules: Vec<RuleKind> = Vec::new();
        for phase in &self.phases {
            if !rules.contains(&phase.rule) {
                rules.push(phase.rule);
            }
        }
        rules
    }
}

impl fmt::Display for RuleSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Phase { rule, start, end }) in self.phases.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let end = end.map_or(String::new(), |end| end.to_string());
            write!(f, "{comma}{rule}:{start}-{end}")?;
        }
        Ok(())
    }
}

impl FromStr for RuleSchedule {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let mut phases: Vec<Phase> = Vec::new();
        for part in s.split(',') {
            let phase = phase(part.trim()).ok_or_else(|| {
                format!(
                    "`{part}` is no phase: write RULE:FIRST-END in epochs, as in plain:0-40,sam:40-50, with one of {}",
                    RuleKind::names()
                )
            })?;
            let due = phases.last().map_or(Some(0), |last| last.end);
            if due != Some(phase.start) || phase.end.is_some_and(|end| end <= phase.start) {
                let due = due.map_or("no epoch, since the phase before goes on to the end".to_string(), |due| {
                    format!("epoch {due}")
                });
                return Err(format!(
                    "`{part}`: phases follow one another from epoch 0; this one is to begin at {due} and end after its start"
                ));
            }
            phases.push(phase);
        }
        Ok(Self { phases })
    }
}

fn phase(text: &str) -> Option<Phase> {
    let (rule, epochs) = text.split_once(':')?;
    let (start, end) = epochs.split_once('-')?;
    let end = if end.is_empty() { None } else { Some(end.parse().ok()?) };
    Some(Phase { rule: rule.parse().ok()?, start: start.parse().ok()?, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_read_back_as_written() {
        for text in ["plain:0-40,sam:40-50", "sam:0-", "sam:0-1,plain:1-3,sam:3-"] {
            assert_eq!(text.parse::<RuleSchedule>().map(|s| s.to_string()), Ok(text.to_string()));
        }
        let schedule: RuleSchedule = "sam:0-1,plain:1-3,sam:3-9".parse().expect("three phases");
        assert_eq!((schedule.epochs(), schedule.rules().len()), (Some(9), 2));
    }

    #[test]
    fn gaps_overlaps_and_what_is_no_phase_are_refused() {
        for text in [
            "plain:0-4,sam:5-9",
            "plain:0-4,sam:3-9",
            "sam:1-2",
            "sam:0-0",
            "plain:0-,sam:2-3",
            "sam",
            "no:0-1",
            "sam:0",
            "",
        ] {
            assert!(text.parse::<RuleSchedule>().is_err(), "{text}");
        }
    }
}
