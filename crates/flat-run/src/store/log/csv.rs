//! CSV: a run's journal as a table of one row a line, and its summary as a table of one row.

use super::Format;
use super::scalars::{collect, scalars, step};
use crate::measure;
use crate::store::line::{Line, Point};
use crate::value::csv::row;
use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The columns of the journal's table before those of its measures, under the names of the journal's keys.
const COLUMNS: [&str; 29] = [
    "kind",
    "split",
    "epoch",
    "step",
    "loss",
    "accuracy",
    "lr",
    "rho",
    "grad_norm",
    "evals",
    "perturbed",
    "hessian_products",
    "subspace_gap",
    "subspace_share",
    "consensus_distance",
    "samples_per_s",
    "wall_s",
    "skipped",
    "average_group_accuracy",
    "average_group_ci95_low",
    "average_group_ci95_high",
    "average_group_groups",
    "average_group_n",
    "worst_group_accuracy",
    "worst_group_ci95_low",
    "worst_group_ci95_high",
    "worst_group_group_class",
    "worst_group_group_attribute",
    "worst_group_n",
];

/// The journal's table.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<String>,
}

impl Table {
    /// With the columns that all runs have, whatever they measure: tables of several runs fit together.
    pub(super) fn new() -> Self {
        let of = |name: &str| ["", "_low", "_high"].map(|end| format!("{name}{end}"));
        let measures = measure::along().flat_map(|along| of(along.name));
        Self { columns: COLUMNS.iter().map(ToString::to_string).chain(measures).collect() }
    }
}

impl Format for Table {
    fn head(&self) -> Vec<u8> {
        row(&self.columns).into_bytes()
    }

    fn line(&mut self, line: &Line) -> Result<Vec<u8>> {
        if matches!(line, Line::Other) {
            return Ok(Vec::new());
        }
        let mut cells: BTreeMap<String, String> =
            scalars(line)?.into_iter().map(|(name, number)| (name, number.to_string())).collect();
        cells.insert("step".into(), step(line).to_string());
        if let Value::Object(fields) = serde_json::to_value(line)? {
            let texts = fields.into_iter().filter_map(|(key, value)| Some((key, value.as_str()?.to_string())));
            cells.extend(texts);
        }
        Ok(row(self.columns.iter().map(|column| cells.remove(column).unwrap_or_default())).into_bytes())
    }

    fn end(&self, _: bool, _: f64) -> Vec<u8> {
        Vec::new()
    }
}

/// A summary as a table of one row: its numbers and texts under their keys, its trace as value and interval. Lists are left
/// out. A key that has no value is an empty cell.
///
/// # Errors
/// None in practice.
pub(crate) fn of_summary(summary: &impl Serialize) -> Result<Vec<u8>> {
    let Value::Object(fields) = serde_json::to_value(summary)? else { return Ok(Vec::new()) };
    let mut cells = BTreeMap::new();
    for (key, value) in fields {
        let mut numbers = BTreeMap::new();
        match value {
            Value::Null => drop(cells.insert(key, String::new())),
            Value::String(text) => drop(cells.insert(key, text)),
            // a measured number
            Value::Object(_) if key == "trace" => {
                let point = Point::new(&value)?;
                collect(&key, &serde_json::to_value(point.value)?, &mut numbers);
                collect(&key, &serde_json::to_value(point.interval)?, &mut numbers);
            }
            value => collect(&key, &value, &mut numbers),
        }
        cells.extend(numbers.into_iter().map(|(name, number)| (name, number.to_string())));
    }
    Ok((row(cells.keys()) + &row(cells.values())).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::group_score::GroupScore;
    use crate::store::line::{Flatness, Part, Progress};

    /// An epoch's line with every key.
    fn full() -> Result<Progress> {
        let groups: GroupScore = serde_json::from_value(serde_json::json!({
            "average_group": {"accuracy": 0.5, "ci95": [0.25, 0.75], "groups": 4, "n": 8},
            "worst_group": {"group": {"class": 1, "attribute": 0}, "accuracy": 0.0, "ci95": [0.0, 0.5], "n": 2},
        }))?;
        Ok(Progress {
            epoch: 1,
            step: 2,
            split: Some(Part::Test),
            loss: Some(0.1 + 0.2),
            accuracy: Some(1.0),
            groups: Some(groups),
            lr: Some(1e-8),
            rho: Some(2.0),
            grad_norm: Some(3.0),
            evals: Some(4.0),
            perturbed: Some(5),
            consensus_distance: Some(1e-3),
            hessian_products: Some(6),
            subspace_gap: Some(7.0),
            subspace_share: Some(8.0),
            samples_per_s: Some(9.0),
            wall_s: Some(10.0),
            skipped: Some("a \"step\", skipped".into()),
        })
    }

    #[test]
    fn every_key_of_a_line_has_a_column() -> Result<()> {
        let mut table = Table::new();
        for name in scalars(&Line::Epoch(full()?))?.keys() {
            assert!(table.columns.contains(name), "{name}");
        }
        let head = String::from_utf8(table.head())?;
        let row = String::from_utf8(table.line(&Line::Epoch(full()?))?)?;
        assert!(
            row.starts_with("epoch,test,1,2,0.30000000000000004,1.0,1e-8,2.0,3.0,4.0,5,6,7.0,8.0,0.001,9.0,10.0,"),
            "{row}"
        );
        assert!(row.contains("\"a \"\"step\"\", skipped\",0.5,0.25,0.75,4,8,0.0,0.0,0.5,1,0,2,"), "{row}");
        assert!(head.starts_with("kind,split,epoch,step,loss,accuracy,lr,"), "{head}");
        assert!(head.contains(",trace,trace_low,trace_high,lambda_max,"), "{head}");
        Ok(())
    }

    #[test]
    fn a_measure_is_its_value_and_its_interval() -> Result<()> {
        let mut table = Table::new();
        let point = Point::new(&serde_json::json!({"value": 2.0, "residual": 0.5}))?;
        let line = Line::Flatness(Flatness::new(1, 7, 2.5, [("lambda_max".to_string(), point)].into(), None));
        let row = String::from_utf8(table.line(&line)?)?;
        assert!(row.starts_with("flatness,train,1,7,") && row.contains(",2.0,1.5,2.5,"), "{row}");
        assert_eq!(row.matches(',').count() + 1, table.columns.len());
        Ok(())
    }

    #[test]
    fn a_summary_is_a_row_of_its_numbers_and_texts() -> Result<()> {
        let summary = serde_json::json!({
            "steps": 5, "state": "finished", "test_loss": null, "warnings": ["a", "b"],
            "trace": {"trace": {"value": 2.0, "ci95": [1.0, 3.0]}, "per_layer": {"w": {"value": 1.0}}},
        });
        let text = String::from_utf8(of_summary(&summary)?)?;
        assert_eq!(text, "state,steps,test_loss,trace,trace_high,trace_low\nfinished,5,,2.0,3.0,1.0\n");
        Ok(())
    }
}
