//! Values of settings in TOML.

use crate::usage::usage;
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
/// A number too large for TOML.
pub fn to_toml(values: &Values) -> Result<toml::Table> {
    values.iter().map(|(key, value)| Ok((key.to_string(), written(value)?))).collect()
}

fn written(value: &Value) -> Result<toml::Value> {
    Ok(match value {
        Value::Number(x) => toml::Value::Float(*x),
        Value::Count(n) => toml::Value::Integer(i64::try_from(*n).context("a number too large for TOML")?),
        Value::Switch(on) => toml::Value::Boolean(*on),
        Value::Text(text) => toml::Value::String(text.clone()),
        Value::List(all) => toml::Value::Array(all.iter().map(written).collect::<Result<_>>()?),
    })
}
