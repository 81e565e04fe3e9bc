//! Values of settings in TOML.

use crate::usage::{BadFlag, usage};
use anyhow::{Context, Result};
use flat_core::setting::{Value, Values};
use std::path::Path;

/// The settings of a file.
///
/// # Errors
/// An unreadable file, a value that is no setting's.
pub fn table(path: &Path) -> Result<Values> {
    let text = flat_core::file::read_text(path).with_context(|| format!("cannot read {}", path.display()))?;
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| usage(format!("{}: {e}", path.display())))?;
    values(&table).with_context(|| path.display().to_string())
}

/// The settings of a table.
///
/// # Errors
/// A date or a table in place of a value.
pub fn values(table: &toml::Table) -> Result<Values> {
    let mut values = Values::default();
    for (key, value) in table {
        let value = of(value).ok_or_else(|| usage(format!("{key} = {value}: give a number, a name or a list")))?;
        values.insert(key.as_str(), value);
    }
    Ok(values)
}

fn of(value: &toml::Value) -> Option<Value> {
    Some(match value {
        toml::Value::Integer(n) => u64::try_from(*n).map_or(Value::Number(*n as f64), Value::Count),
        toml::Value::Float(x) => Value::Number(*x),
        toml::Value::Boolean(on) => Value::Switch(*on),
        toml::Value::String(text) => Value::Text(text.clone()),
        toml::Value::Array(all) => Value::List(all.iter().map(of).collect::<Option<_>>()?),
        toml::Value::Datetime(_) | toml::Value::Table(_) => return None,
    })
}

/// The table of some settings.
///
/// # Errors
/// A number too large for TOML, by its flag.
pub fn to_toml(values: &Values) -> Result<toml::Table> {
    let most = || format!("give at most {}, which is the most that TOML can hold", i64::MAX);
    let bad = |key: &str, value: &Value| BadFlag { flag: key.into(), value: value.to_string(), remedy: most() };
    let one = |(key, value): (&str, &Value)| Ok((key.to_string(), written(value).ok_or_else(|| bad(key, value))?));
    values.iter().map(one).collect()
}

/// The value in TOML; `None` where that has no such number.
fn written(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Number(x) => toml::Value::Float(*x),
        Value::Count(n) => toml::Value::Integer(i64::try_from(*n).ok()?),
        Value::Switch(on) => toml::Value::Boolean(*on),
        Value::Text(text) => toml::Value::String(text.clone()),
        Value::List(all) => toml::Value::Array(all.iter().map(written).collect::<Option<_>>()?),
    })
}
