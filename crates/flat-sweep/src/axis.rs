//! One setting of a grid and the values that it takes.

use crate::known;
use anyhow::Result;
use flat_core::setting::{Kind, Value};
use flat_run::usage;

/// A setting of `train` and the values that are tried.
///
/// ```
/// use flat_sweep::Axis;
/// let axis = Axis::parse("rho=0.02,0.05")?;
/// assert_eq!((axis.name.as_str(), axis.values.len()), ("rho", 2));
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Name of the setting.
    pub name: String,
    /// Its values, in the order of the user; no two are the same.
    pub values: Vec<Value>,
}

impl Axis {
    /// `name=a,b,c`; of a setting that is a list itself `name=a,b;c`, values with semicolons between them.
    ///
    /// # Errors
    /// A usage error: no such setting, no values, one twice, one of another kind.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((name, values)) = text.split_once('=') else {
            return Err(usage(format!("--grid {text}: write a setting and its values, as in rho=0.02,0.05")));
        };
        let name = name.trim();
        Self::new(name, split(values, known::setting("grid", name)?.kind).into_iter().map(Value::Text).collect())
    }

    /// These values of a setting.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn new(name: &str, values: Vec<Value>) -> Result<Self> {
        let values = checked("grid", name, &values)?;
        Ok(Self { name: name.to_string(), values })
    }
}

/// The values between the commas, or between the semicolons where a value is a list.
pub(crate) fn split(text: &str, kind: Kind) -> Vec<String> {
    let by = if kind == Kind::List || text.contains(';') { ';' } else { ',' };
    text.split(by).map(|value| value.trim().to_string()).filter(|value| !value.is_empty()).collect()
}

/// The values as the setting's kind has them; refuses none at all and one twice.
pub(crate) fn checked(flag: &str, name: &str, values: &[Value]) -> Result<Vec<Value>> {
    let setting = known::setting(flag, name)?;
    if values.is_empty() {
        return Err(usage(format!("--{flag} {name}: it has no values; write some, as in {name}=A,B")));
    }
    let mut read: Vec<Value> = Vec::with_capacity(values.len());
    for value in values {
        let value = known::read(flag, &setting, value)?;
        if read.contains(&value) {
            return Err(usage(format!("--{flag} {name}: the value {value} is there twice")));
        }
        read.push(value);
    }
    Ok(read)
}

/// Every combination of the values, the last axis fastest.
pub(crate) fn combinations(axes: &[Axis]) -> Vec<Vec<(String, Value)>> {
    axes.iter().fold(vec![Vec::new()], |all, axis| {
        let with = |before: &Vec<(String, Value)>, value: &Value| {
            before.iter().cloned().chain([(axis.name.clone(), value.clone())]).collect()
        };
        all.iter().flat_map(|before| axis.values.iter().map(move |value| with(before, value))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_their_kind_and_equal_ones_are_found_however_written() -> Result<()> {
        assert_eq!(Axis::parse("rho = 0.02, 1e-1")?.values, [Value::Number(0.02), Value::Number(0.1)]);
        assert_eq!(Axis::parse("optimizer=sgd,sam")?.values.len(), 2);
        assert_eq!(Axis::parse("hidden=256,128;64")?.values, [Value::from("256,128"), Value::from("64")]);
        for (text, part) in [
            ("rho=0.1,1e-1", "twice"),
            ("rho=", "no values"),
            ("rho", "write a setting"),
            ("rho=a", "give a number"),
            ("batch-size=1.5", "whole number"),
            ("optimizer=sgd,lion", "lion"),
            ("model=lenet,vgg", "vgg"),
        ] {
            let error = Axis::parse(text).expect_err(text).to_string();
            assert!(error.contains(part) && error.contains("--grid"), "{text}: {error}");
        }
        Ok(())
    }

    #[test]
    fn the_last_axis_varies_fastest() -> Result<()> {
        let all = combinations(&[Axis::parse("lr=1,2")?, Axis::parse("rho=3,4")?]);
        let texts: Vec<String> = all.iter().map(|c| format!("{}{}", c[0].1, c[1].1)).collect();
        assert_eq!(texts, ["13", "14", "23", "24"]);
        Ok(())
    }
}
