//! Claims of the literature about two methods, decided by intervals.

use super::{File, Outcome};
use crate::interval::{Mean, short};
use crate::paired::Group;
use crate::training::Point;
use anyhow::Result;
use flat_run::usage;
use flat_run::value::percentage;
use serde::{Deserialize, Serialize};

/// How close two groups are that are about the same.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    /// Of traces and eigenvalues: between 1 / ratio and ratio.
    pub ratio: f64,
    /// Of accuracies, in percentage points.
    pub points: f64,
}

/// A number by which methods are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Number {
    Trace,
    LambdaMax,
    /// Trace once the last layer is divided by the mean margin.
    UnitMargin,
    Accuracy,
}

/// What is said of the first method beside the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Says {
    Lower,
    Higher,
    About,
    /// The literature does not agree.
    Open,
}

/// What the literature says of two methods.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claim {
    pub text: String,
    pub source: String,
    pub first: String,
    pub second: String,
    pub says: Says,
    pub of: Vec<Number>,
}

/// Whether a claim is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Seen {
    #[serde(rename = "seen")]
    Yes,
    Contrary,
    /// Of an open claim: the first is lower.
    Lower,
    /// Of an open claim: the first is higher.
    Higher,
    /// The interval allows for both.
    Undecided,
    /// One seed has no interval.
    NoInterval,
    /// A run diverged or has no such number, as a network that does not fit has no margin.
    Missing,
}

/// A claim in a case by one number.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Verdict {
    pub claim: String,
    pub source: String,
    pub case: String,
    pub number: Number,
    /// First over second, or first less second for accuracies.
    pub difference: Option<Mean>,
    pub seen: Seen,
}

impl Number {
    pub const ALL: [Self; 4] = [Self::Trace, Self::LambdaMax, Self::UnitMargin, Self::Accuracy];

    /// The first group beside the second, seed by seed, on the scale on which no difference is 0.
    fn between(self, first: &Group, second: &Group) -> Option<Mean> {
        match self {
            Self::Trace => first.log_ratio(second),
            Self::LambdaMax => first.above(second, &|p: &Point| Some(p.lambda_max?.ln())),
            Self::UnitMargin => first.fits_above(second, &|fit| Some(fit.unit_margin?.trbar.ln())),
            Self::Accuracy => first.accuracy_above(second),
        }
    }

    /// A difference as it is shown.
    fn shown(self, between: Mean) -> Mean {
        match self {
            Self::Trace | Self::LambdaMax | Self::UnitMargin => between.map(f64::exp),
            Self::Accuracy => between,
        }
    }

    /// The ratio, or the difference of accuracies.
    pub fn difference(self, first: &Group, second: &Group) -> Option<Mean> {
        Some(self.shown(self.between(first, second)?))
    }

    pub fn text(self, difference: Mean) -> String {
        match self {
            Self::Trace | Self::LambdaMax | Self::UnitMargin => difference.text(short),
            Self::Accuracy => difference.text(percentage),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace, ratio",
            Self::LambdaMax => "lambda_max, ratio",
            Self::UnitMargin => "trace at unit margin, ratio",
            Self::Accuracy => "test acc., points",
        }
    }

    /// The name without the unit.
    pub fn short_name(self) -> &'static str {
        self.name().split(',').next().unwrap_or_default()
    }

    /// Largest distance from 0 of what is about the same.
    fn margin(self, about: About) -> f64 {
        match self {
            Self::Trace | Self::LambdaMax | Self::UnitMargin => about.ratio.ln(),
            Self::Accuracy => about.points / 100.0,
        }
    }
}

impl Seen {
    /// What an interval around the difference shows, where 0 is no difference.
    pub fn of(says: Says, ci95: [f64; 2], margin: f64) -> Self {
        let [low, high] = ci95;
        let (below, above) = (high < 0.0, low > 0.0);
        match says {
            Says::Lower if below => Self::Yes,
            Says::Lower if above => Self::Contrary,
            Says::Higher if above => Self::Yes,
            Says::Higher if below => Self::Contrary,
            Says::About if low >= -margin && high <= margin => Self::Yes,
            Says::About if low > margin || high < -margin => Self::Contrary,
            Says::Open if below => Self::Lower,
            Says::Open if above => Self::Higher,
            _ => Self::Undecided,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::Yes => "seen",
            Self::Contrary => "not seen, but the contrary",
            Self::Lower => "lower",
            Self::Higher => "higher",
            Self::Undecided => "cannot be told apart",
            Self::NoInterval => "one seed: no interval",
            Self::Missing => "no number for a run",
        }
    }
}

impl Claim {
    /// Refuses claims of methods that the study has not.
    ///
    /// # Errors
    /// A usage error that names the claim; a margin that leaves nothing about the same.
    pub fn check(file: &File) -> Result<()> {
        if !(file.about.ratio > 1.0 && file.about.points > 0.0) {
            return Err(usage("about: ratio is to be above 1 and points above 0"));
        }
        for claim in &file.claims {
            for key in [&claim.first, &claim.second] {
                if !file.methods.iter().any(|m| m.key == *key) {
                    return Err(usage(format!("the claim \"{}\" is of {key}, which is no method here", claim.text)));
                }
            }
        }
        Ok(())
    }

    fn in_case(&self, number: Number, about: About, outcome: &Outcome<'_>) -> Verdict {
        let groups = outcome.group(&self.first).zip(outcome.group(&self.second));
        let between = groups.and_then(|(first, second)| number.between(first, second));
        let seen = match between {
            None => Seen::Missing,
            Some(Mean { ci95: None, .. }) => Seen::NoInterval,
            Some(Mean { ci95: Some(ends), .. }) => Seen::of(self.says, ends, number.margin(about)),
        };
        Verdict {
            claim: self.text.clone(),
            source: self.source.clone(),
            case: outcome.case.key.clone(),
            number,
            difference: between.map(|mean| number.shown(mean)),
            seen,
        }
    }
}

/// Every claim in every case, by each of its numbers.
pub(super) fn decide(file: &File, outcomes: &[Outcome<'_>]) -> Vec<Verdict> {
    let of_claim = |claim: &Claim| -> Vec<Verdict> {
        let numbers = |outcome| claim.of.iter().map(move |number| claim.in_case(*number, file.about, outcome));
        outcomes.iter().flat_map(numbers).collect()
    };
    file.claims.iter().flat_map(of_claim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_decided_by_the_whole_interval_and_else_cannot_be() {
        for (says, ends, seen) in [
            (Says::Lower, [-0.3, -0.1], Seen::Yes),
            (Says::Lower, [-0.3, 0.1], Seen::Undecided),
            (Says::Lower, [0.1, 0.3], Seen::Contrary),
            (Says::Higher, [0.1, 0.3], Seen::Yes),
            (Says::Higher, [-0.3, -0.1], Seen::Contrary),
            (Says::About, [-0.1, 0.2], Seen::Yes),
            // no difference is shown, nor that there is none
            (Says::About, [-0.1, 0.4], Seen::Undecided),
            // a difference is shown, but not one above the margin
            (Says::About, [0.05, 0.3], Seen::Undecided),
            (Says::About, [0.3, 0.4], Seen::Contrary),
            (Says::Open, [0.1, 0.3], Seen::Higher),
            (Says::Open, [-0.3, -0.1], Seen::Lower),
            (Says::Open, [-0.3, 0.1], Seen::Undecided),
        ] {
            assert_eq!(Seen::of(says, ends, 0.2), seen, "{says:?} {ends:?}");
        }
    }
}
