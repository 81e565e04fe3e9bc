//! When a setting has an effect.

use super::Values;
use std::fmt;

/// What other settings must be for a setting to have an effect.
#[derive(Debug, Clone, Copy)]
pub enum Needs {
    /// It always has one.
    Nothing,
    /// Another setting has this value, or this member of its list.
    Is(&'static str, &'static str),
    /// Another setting has no value.
    Unset(&'static str),
    /// All of these.
    All(&'static [Needs]),
    /// One of these.
    Any(&'static [Needs]),
    /// Something else, and what it is in words.
    That(fn(&Values) -> bool, &'static str),
}

impl Needs {
    /// Whether `values` fulfil it.
    pub fn met(&self, values: &Values) -> bool {
        match self {
            Self::Nothing => true,
            Self::Is(name, wanted) => values.get(name).is_some_and(|value| value.has(wanted)),
            Self::Unset(name) => values.get(name).is_none(),
            Self::All(needs) => needs.iter().all(|need| need.met(values)),
            Self::Any(needs) => needs.iter().any(|need| need.met(values)),
            Self::That(holds, _) => holds(values),
        }
    }
}

/// As flags: `--schedule step or --rho-schedule step`.
impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |needs: &[Self], by: &str| needs.iter().map(Self::to_string).collect::<Vec<_>>().join(by);
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Is(name, wanted) => write!(f, "--{name} {wanted}"),
            Self::Unset(name) => write!(f, "a run without --{name}"),
            Self::All(needs) => f.write_str(&joined(needs, " and ")),
            Self::Any(needs) => f.write_str(&joined(needs, " or ")),
            Self::That(_, words) => f.write_str(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::Value;

    #[test]
    fn needs_are_read_from_values_and_said_as_flags() {
        const STEP: Needs = Needs::Any(&[Needs::Is("schedule", "step"), Needs::Is("rho-schedule", "step")]);
        let values = |a: &str, b: &str| {
            Values::of([("schedule", Value::Text(a.into())), ("rho-schedule", Value::Text(b.into()))])
        };
        assert!(STEP.met(&values("cosine", "step")) && !STEP.met(&values("cosine", "constant")));
        assert!(!STEP.met(&Values::default()));
        assert_eq!(STEP.to_string(), "--schedule step or --rho-schedule step");
        assert!(Needs::All(&[STEP, Needs::Unset("rho")]).met(&values("step", "step")));
        assert!(!Needs::Unset("schedule").met(&values("step", "step")));
        let list = Values::of([("flatness", Value::List(vec![Value::Text("trace".into())]))]);
        assert!(Needs::Is("flatness", "trace").met(&list) && !Needs::Is("flatness", "rank").met(&list));
    }
}
