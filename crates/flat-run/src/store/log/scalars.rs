//! The scalars of a line of the journal by name, and the group that they are of.

use crate::store::line::{Flatness, Line, Part};
use serde::Serialize;
use serde_json::{Number, Value};
use std::collections::BTreeMap;

/// The group of a line's scalars: `step`, `flatness`, or the images of an epoch's line. `None` of a line that a later
/// version wrote.
pub(super) fn group(line: &Line) -> Option<&'static str> {
    match line {
        Line::Step(_) => Some("step"),
        Line::Flatness(_) => Some("flatness"),
        Line::Epoch(progress) => match progress.split? {
            Part::Train => Some("train"),
            Part::Test => Some("test"),
            Part::Validation => Some("validation"),
            Part::Other => None,
        },
        Line::Other => None,
    }
}

/// The optimizer steps done by the line.
pub(super) fn step(line: &Line) -> u64 {
    match line {
        Line::Step(progress) | Line::Epoch(progress) => progress.step,
        Line::Flatness(flatness) => flatness.step,
        Line::Other => 0,
    }
}

/// The numbers of a line: those at its top by their keys, those of a map as `map_key`, an interval as `key_low` and
/// `key_high`. A measure is its value and its interval. Numbers that are not finite are absent, as in the journal.
///
/// # Errors
/// None in practice.
pub(super) fn scalars(line: &Line) -> serde_json::Result<BTreeMap<String, Number>> {
    let mut found = BTreeMap::new();
    match line {
        Line::Step(progress) | Line::Epoch(progress) => of_record(progress, &mut found)?,
        Line::Flatness(flatness) => {
            of_record(&Flatness { measured: BTreeMap::new(), ..flatness.clone() }, &mut found)?;
            for (name, point) in &flatness.measured {
                collect(name, &serde_json::to_value(point.value)?, &mut found);
                collect(name, &serde_json::to_value(point.interval)?, &mut found);
            }
        }
        Line::Other => {}
    }
    Ok(found)
}

fn of_record(record: &impl Serialize, into: &mut BTreeMap<String, Number>) -> serde_json::Result<()> {
    if let Value::Object(fields) = serde_json::to_value(record)? {
        fields.iter().for_each(|(key, value)| collect(key, value, into));
    }
    Ok(())
}

/// The numbers in a value, under this name.
pub(super) fn collect(name: &str, value: &Value, into: &mut BTreeMap<String, Number>) {
    match value {
        Value::Number(number) => drop(into.insert(name.to_string(), number.clone())),
        Value::Object(map) => map.iter().for_each(|(key, value)| collect(&format!("{name}_{key}"), value, into)),
        Value::Array(ends) if ends.len() == 2 => {
            ends.iter().zip(["low", "high"]).for_each(|(end, which)| collect(&format!("{name}_{which}"), end, into));
        }
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
