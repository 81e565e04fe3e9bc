//! What a run, a study or a sweep came to, without what differs from one sitting to the next.

use crate::case::{Case, Kind};
use anyhow::{Context, Result};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Keys of JSON that tell of the sitting, not of the run.
const OF_THE_SITTING: [&str; 5] = ["wall_s", "train_s", "samples_per_s", "out", "resumed"];

/// The parts of an outcome by name: bytes of a tensor, a line of the journal, a summary.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome(BTreeMap<String, Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Tensor(String, Vec<u8>),
    Json(Value),
}

impl Outcome {
    /// Of a case in its folder.
    ///
    /// # Errors
    /// A file that is missing or damaged.
    pub fn of(case: &Case, out: &Path) -> Result<Self> {
        let mut parts = BTreeMap::new();
        match case.kind {
            Kind::Run => {
                tensors(&out.join("model.safetensors"), &mut parts)?;
                parts.insert("summary.json".into(), json(&out.join("summary.json"))?);
                let text = std::fs::read_to_string(out.join("metrics.jsonl")).context("metrics.jsonl")?;
                for (i, line) in text.lines().enumerate() {
                    let line =
                        serde_json::from_str(line).with_context(|| format!("line {} of metrics.jsonl", i + 1))?;
                    parts.insert(format!("metrics.jsonl {i:05}"), Part::Json(stripped(line)));
                }
            }
            Kind::Study => drop(parts.insert("results.json".into(), json(&out.join("results.json"))?)),
            Kind::Sweep => drop(parts.insert("sweep.json".into(), json(&out.join("sweep.json"))?)),
        }
        Ok(Self(parts))
    }

    /// The final weights alone.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn weights(out: &Path) -> Result<Self> {
        let mut parts = BTreeMap::new();
        tensors(&out.join("model.safetensors"), &mut parts)?;
        Ok(Self(parts))
    }

    /// Whether the weights are those of another outcome.
    pub fn has_weights_of(&self, other: &Self) -> bool {
        fn tensors(of: &Outcome) -> impl Iterator<Item = (&String, &Part)> {
            of.0.iter().filter(|(_, part)| matches!(part, Part::Tensor(..)))
        }
        tensors(self).eq(tensors(other))
    }

    /// The first thing that is not as in the other; `None` where all is.
    pub fn differs_from(&self, other: &Self) -> Option<String> {
        let names = self.0.keys().chain(other.0.keys());
        let name = names.filter(|name| self.0.get(*name) != other.0.get(*name)).min()?;
        let text = |part: Option<&Part>| match part {
            None => "nothing".into(),
            Some(Part::Tensor(kind, _)) => kind.clone(),
            Some(Part::Json(value)) => value.to_string(),
        };
        Some(format!("{name}: {} instead of {}", text(self.0.get(name)), text(other.0.get(name))))
    }
}

fn json(file: &Path) -> Result<Part> {
    let name = || file.display().to_string();
    let bytes = std::fs::read(file).with_context(name)?;
    Ok(Part::Json(stripped(serde_json::from_slice(&bytes).with_context(name)?)))
}

/// Without what tells of the sitting.
fn stripped(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.retain(|key, _| !OF_THE_SITTING.contains(&key.as_str()));
            map.values_mut().for_each(|inner| *inner = stripped(inner.take()));
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| *inner = stripped(inner.take())),
        _ => {}
    }
    value
}

fn tensors(file: &Path, parts: &mut BTreeMap<String, Part>) -> Result<()> {
    let name = || file.display().to_string();
    let bytes = std::fs::read(file).with_context(name)?;
    for (tensor, view) in SafeTensors::deserialize(&bytes).with_context(name)?.iter() {
        let kind = format!("{:?} {:?}", view.dtype(), view.shape());
        parts.insert(format!("weights {tensor}"), Part::Tensor(kind, view.data().to_vec()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_of_the_sitting_and_losses_of_the_run() {
        let line = serde_json::json!({"loss": 1.0, "wall_s": 2.0, "rows": [{"wall_s": 3.0, "n": 1}]});
        assert_eq!(stripped(line), serde_json::json!({"loss": 1.0, "rows": [{"n": 1}]}));
    }
}
