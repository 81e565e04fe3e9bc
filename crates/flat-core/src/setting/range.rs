//! The values that a setting accepts.

use super::Value;

/// Range of a setting's value; every number of a list must lie in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// Whatever its type takes.
    Any,
    /// Finite.
    Finite,
    /// Finite and at least this.
    From(f64),
    /// Finite and above 0.
    Positive,
    /// Above 0 and at most this.
    PositiveUpTo(f64),
    /// Above 0 or infinite.
    PositiveOrInfinite,
    /// Finite and not below 0.
    NonNegative,
    /// In [0, 1).
    BelowOne,
    /// In [0, 1].
    Fraction,
    /// In (0, 1].
    Share,
    /// A whole number that is at least this.
    AtLeast(u64),
    /// A whole number between these, which belong to it.
    Between(u64, u64),
}

impl Range {
    /// What is accepted instead of `value`; `None` where `value` lies within.
    pub fn expected(self, value: &Value) -> Option<String> {
        match value {
            Value::List(all) => all.iter().find_map(|one| self.expected(one)),
            Value::Number(x) => self.of_number(*x),
            Value::Count(n) => self.of_count(*n),
            Value::Switch(_) | Value::Text(_) => None,
        }
    }

    fn of_number(self, x: f64) -> Option<String> {
        let (within, expected) = match self {
            Self::Finite => (x.is_finite(), "give a finite number"),
            Self::From(least) => {
                return (!(x >= least && x.is_finite())).then(|| format!("give {least} or a number above it"));
            }
            Self::PositiveUpTo(most) => {
                return (!(x > 0.0 && x <= most)).then(|| format!("give a number above 0, at most {most}"));
            }
            Self::Positive => (x > 0.0 && x.is_finite(), "give a number above 0"),
            Self::PositiveOrInfinite => (x > 0.0, "give a number above 0; inf for no limit"),
            Self::NonNegative => (x >= 0.0 && x.is_finite(), "give 0 or a number above it"),
            Self::BelowOne => ((0.0..1.0).contains(&x), "give a number in [0, 1)"),
            Self::Fraction => ((0.0..=1.0).contains(&x), "give a number in [0, 1]"),
            Self::Share => (x > 0.0 && x <= 1.0, "give a number in (0, 1]"),
            Self::Any | Self::AtLeast(_) | Self::Between(..) => (true, ""),
        };
        (!within).then(|| expected.to_string())
    }

    fn of_count(self, n: u64) -> Option<String> {
        match self {
            Self::AtLeast(least) if n < least => Some(format!("give at least {least}")),
            Self::Between(least, most) if n < least || n > most => {
                Some(format!("give a number from {least} to {most}"))
            }
            _ => None,
        }
    }
}
