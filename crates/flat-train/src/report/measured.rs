//! Measurements that lie beside a run: the files of `RUN/metrics`, each as `flat-train metrics ... --json` prints it.

use flat_run::store::Point;
use serde_json::{Map, Value};
use std::ffi::OsStr;
use std::path::Path;

/// Parts of a document that repeat or detail what stands beside them.
const DETAIL: [&str; 10] =
    ["card", "config", "pixels", "per_layer", "layers", "top", "bottom", "quadratures", "starts", "slope"];

/// Numbers of a measurement that are shown.
const AT_MOST: usize = 24;

/// A file of measurements.
#[derive(Debug)]
pub(super) struct Measured {
    /// Its name.
    pub file: String,
    /// What it holds, or why that cannot be read.
    pub documents: Result<Vec<Document>, String>,
}

/// A measurement.
#[derive(Debug, PartialEq)]
pub(super) struct Document {
    /// The measure, as `metrics` names it.
    pub measure: String,
    /// The images.
    pub on: String,
    /// Why it ended.
    pub stopped_by: String,
    /// Its numbers, [`AT_MOST`] of them.
    pub numbers: Vec<Number>,
    /// How many more the file has.
    pub more: usize,
}

/// A number of a measurement.
#[derive(Debug, PartialEq)]
pub(super) struct Number {
    /// Where it stands in the document.
    pub name: String,
    /// The number; `None` where it was not finite.
    pub value: Option<f64>,
    /// Where it lies, as its measure means it.
    pub interval: Option<[f64; 2]>,
}

impl Measured {
    /// The files of the folder `metrics` of a run, by name; none where there is no such folder.
    pub fn beside(run: &Path) -> Vec<Self> {
        let folder = run.join("metrics");
        let entries = match std::fs::read_dir(&folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(e) => return vec![Self { file: String::new(), documents: Err(format!("cannot be read: {e}")) }],
            Ok(entries) => entries,
        };
        let file = |entry: std::io::Result<std::fs::DirEntry>| match entry {
            Err(e) => Some(Self { file: String::new(), documents: Err(format!("cannot be read: {e}")) }),
            // a folder holds plots
            Ok(entry) if entry.path().is_dir() => None,
            Ok(entry) => Some(Self {
                file: entry.file_name().to_string_lossy().into_owned(),
                documents: documents(&entry.path()),
            }),
        };
        let mut files: Vec<Self> = entries.filter_map(file).collect();
        files.sort_by(|a, b| a.file.cmp(&b.file));
        files
    }
}

/// The measurements of a file: one, or those of `metrics all`.
fn documents(path: &Path) -> Result<Vec<Document>, String> {
    if path.extension() != Some(OsStr::new("json")) {
        return Err("is no .json file".into());
    }
    let bytes = flat_core::file::read(path, flat_core::file::TEXT).map_err(|e| format!("cannot be read: {e}"))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|e| format!("is no JSON: {e}"))?;
    let whole = value.as_object().filter(|object| object.get("measure").is_some_and(Value::is_string));
    let whole = whole.ok_or("is no measurement: it has no text `measure`")?;
    let parts: Vec<&Map<String, Value>> =
        whole.values().filter_map(Value::as_object).filter(|part| part.contains_key("measure")).collect();
    let all = if parts.is_empty() { vec![whole] } else { parts };
    Ok(all.into_iter().map(Document::of).collect())
}

impl Document {
    fn of(object: &Map<String, Value>) -> Self {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
        let examples =
            object.get("examples").and_then(Value::as_u64).map(|n| format!("{n} of the ")).unwrap_or_default();
        let mut document = Self {
            measure: text("measure"),
            on: format!("{examples}{}", text("data")),
            stopped_by: text("stopped_by"),
            numbers: Vec::new(),
            more: 0,
        };
        let title = document.measure.clone();
        document.numbers.extend(number(&title, object));
        document.collect("", object);
        document
    }

    /// Takes every number of an object that has an interval, and those of the objects within.
    fn collect(&mut self, path: &str, object: &Map<String, Value>) {
        for (key, value) in object.iter().filter(|(key, _)| !DETAIL.contains(&key.as_str())) {
            let name =
                if path.is_empty() { key.replace('_', " ") } else { format!("{path} {}", key.replace('_', " ")) };
            match value {
                Value::Object(inner) => self.take(&name, inner),
                Value::Array(items) => {
                    for (item, i) in items.iter().filter_map(Value::as_object).zip(1..) {
                        let own = item.get("measure").and_then(Value::as_str).map(String::from);
                        self.take(&format!("{name} {}", own.unwrap_or_else(|| i.to_string())), item);
                    }
                }
                Value::Number(x) => {
                    let ends = ["ci95", "interval"].iter().find_map(|end| object.get(&format!("{key}_{end}")));
                    let interval = ends.and_then(|ends| serde_json::from_value(ends.clone()).ok());
                    if interval.is_some() {
                        self.push(Number { name, value: x.as_f64(), interval });
                    }
                }
                _ => {}
            }
        }
    }

    fn push(&mut self, number: Number) {
        if self.numbers.len() < AT_MOST {
            self.numbers.push(number);
        } else {
            self.more += 1;
        }
    }

    fn take(&mut self, name: &str, object: &Map<String, Value>) {
        match number(name, object) {
            Some(number) => self.push(number),
            None => self.collect(name, object),
        }
    }
}

/// An object that is a number with its interval, or with an estimate that has one.
fn number(name: &str, object: &Map<String, Value>) -> Option<Number> {
    if !object.contains_key("value") {
        return None;
    }
    let point = Point::from(object.clone());
    let estimate = || object.get("estimate").and_then(Value::as_object).map(|inner| Point::from(inner.clone()));
    let interval = point.interval.or_else(|| estimate()?.interval);
    Some(Number { name: name.to_string(), value: point.value, interval })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Vec<(String, Option<f64>, Option<[f64; 2]>)> {
        let document = Document::of(value.as_object().expect("an object"));
        document.numbers.into_iter().map(|n| (n.name, n.value, n.interval)).collect()
    }

    #[test]
    fn every_number_with_an_interval_is_found_once() {
        let trace = json!({"measure": "trace", "loss": 0.5, "trace": {"value": 2.0, "ci95": [1.0, 3.0]},
            "trace_normalized": 0.25, "trace_normalized_ci95": [0.125, 0.5],
            "per_layer": {"a": {"value": 1.0, "ci95": [0.0, 2.0]}}});
        let expected = [("trace", 2.0, [1.0, 3.0]), ("trace normalized", 0.25, [0.125, 0.5])]
            .map(|(n, v, i)| (n.into(), Some(v), Some(i)));
        assert_eq!(read(&trace), expected);
        let gradnorm = json!({"measure": "gradnorm", "value": 3.0, "ci95": [2.0, 4.0], "loss": 0.5});
        assert_eq!(read(&gradnorm), [("gradnorm".into(), Some(3.0), Some([2.0, 4.0]))]);
        let eig = json!({"measure": "eig",
            "eigenvalues": [{"value": 5.0, "residual": 0.5}, {"value": 1.0, "residual": 0.25}],
            "top": [{"value": 5.0, "residual": 0.5}]});
        let expected = [("eigenvalues 1", 5.0, [4.5, 5.5]), ("eigenvalues 2", 1.0, [0.75, 1.25])];
        assert_eq!(read(&eig), expected.map(|(n, v, i)| (n.into(), Some(v), Some(i))));
        let sharpness = json!({"measure": "sharpness", "measures": [
            {"measure": "average", "value": 0.5, "estimate": {"value": 0.5, "ci95": [0.25, 1.0]}},
            {"measure": "worst", "value": 2.0, "estimate": null}]});
        let expected = [("measures average", 0.5, Some([0.25, 1.0])), ("measures worst", 2.0, None)];
        assert_eq!(read(&sharpness), expected.map(|(n, v, i)| (n.into(), Some(v), i)));
    }

    #[test]
    fn a_file_that_does_not_read_says_so() {
        let room = tempfile::tempdir().expect("a folder");
        assert!(Measured::beside(room.path()).is_empty());
        let folder = room.path().join("metrics");
        std::fs::create_dir(&folder).expect("a folder");
        for (file, text) in [("a.json", "{"), ("b.json", "{\"value\": 1}"), ("c.svg", "<svg/>"), ("d.json", "[]")] {
            std::fs::write(folder.join(file), text).expect("written");
        }
        let both = json!({"measure": "all", "trace": {"measure": "trace"}, "eig": {"measure": "eig"}, "card": {}});
        std::fs::write(folder.join("e.json"), both.to_string()).expect("written");
        let found = Measured::beside(room.path());
        let said: Vec<String> = found.iter().filter_map(|m| m.documents.as_ref().err().cloned()).collect();
        assert_eq!(said.len(), 4, "{said:?}");
        for (said, start) in said.iter().zip(["is no JSON", "is no measurement", "is no .json", "is no measurement"]) {
            assert!(said.starts_with(start), "{said}");
        }
        let all = found[4].documents.as_ref().expect("two measurements");
        let names: Vec<&str> = all.iter().map(|document| document.measure.as_str()).collect();
        assert_eq!((found[4].file.as_str(), names), ("e.json", vec!["eig", "trace"]));
    }
}
