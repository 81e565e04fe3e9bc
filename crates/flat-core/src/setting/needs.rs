//! Conditions on other settings under which a setting has an effect.

use super::Values;
use std::fmt;

/// What other settings must be for a setting to have an effect.
#[derive(Debug, Clone, Copy)]
pub enum Needs {
    /// It always has one.
    Nothing,
    /// Another setting has this value, or this member of its list.
    Is(&'static str, &'static str),
    /// Another setting, where it has a value, has one of these values, or one of these members in its list.
    OneOf(&'static str, &'static [&'static str]),
    /// Another setting has a value.
    Set(&'static str),
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
            Self::OneOf(name, of) => values.get(name).is_none_or(|value| of.iter().any(|wanted| value.has(wanted))),
            Self::Set(name) => values.get(name).is_some(),
            Self::Unset(name) => values.get(name).is_none(),
            Self::All(needs) => needs.iter().all(|need| need.met(values)),
            Self::Any(needs) => needs.iter().any(|need| need.met(values)),
            Self::That(holds, _) => holds(values),
        }
    }

    /// What of it `values` do not fulfil, in words.
    pub fn unmet(&self, values: &Values) -> Option<String> {
        match self {
            Self::All(needs) => {
                let unmet: Vec<String> = needs.iter().filter_map(|need| need.unmet(values)).collect();
                (!unmet.is_empty()).then(|| unmet.join(" and "))
            }
            need => (!need.met(values)).then(|| need.to_string()),
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
            Self::OneOf(name, of) => write!(f, "--{name} {}", in_words(of)),
            Self::Set(name) => write!(f, "--{name}"),
            Self::Unset(name) => write!(f, "to go without --{name}"),
            Self::All(needs) => f.write_str(&joined(needs, " and ")),
            Self::Any(needs) => f.write_str(&joined(needs, " or ")),
            Self::That(_, words) => f.write_str(words),
        }
    }
}

/// `a, b or c`.
pub fn in_words(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
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
        assert!(Needs::Set("schedule").met(&values("step", "step")) && !Needs::Set("rho").met(&values("step", "step")));
        const TWO: Needs = Needs::OneOf("schedule", &["step", "cosine"]);
        assert!(TWO.met(&Values::default()) && TWO.met(&values("cosine", "")) && !TWO.met(&values("constant", "")));
        let unmet = Needs::All(&[TWO, Needs::Is("rho-schedule", "step")]).unmet(&values("constant", "step"));
        assert_eq!(unmet.as_deref(), Some("--schedule step or cosine"), "what is met is not asked for");
        let list = Values::of([("flatness", Value::List(vec![Value::Text("trace".into())]))]);
        assert!(Needs::Is("flatness", "trace").met(&list) && !Needs::Is("flatness", "rank").met(&list));
    }
}
