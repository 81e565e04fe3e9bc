//! The JSON of a measured result: one shape for all measures, described in `docs/json.md`.

use super::provenance::{Provenance, Taken};
use flat_metrics::Effort;
use serde::ser::{Error, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// Version of the shapes; 1 was that of the documents without this number.
pub const SCHEMA: u32 = 2;

/// A result as JSON, under the name of its measure. Its own fields come first, then provenance and effort, which
/// `card` holds once more as one object.
#[derive(Debug, Clone)]
pub struct Document<T> {
    /// The measure.
    pub measure: &'static str,
    /// What it found.
    pub taken: Taken<T>,
}

impl<T: Serialize> Serialize for Document<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Taken { result, provenance, effort, stop } = &self.taken;
        let card = card(provenance, effort).map_err(S::Error::custom)?;
        let (mut own, flat) = (map(result).map_err(S::Error::custom)?, &card);
        // `card` has it for a network with BatchNorm alone
        own.entry("bn_mode").or_insert_with(|| provenance.mode.into());
        let interrupted = *stop == flat_metrics::Stop::Interrupted;
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("schema", &SCHEMA)?;
        out.serialize_entry("measure", self.measure)?;
        for (key, value) in own.iter().chain(flat.iter().filter(|(key, _)| !own.contains_key(*key))) {
            out.serialize_entry(key, value)?;
        }
        out.serialize_entry("stopped_by", stop)?;
        out.serialize_entry("interrupted", &interrupted)?;
        out.serialize_entry("card", &card)?;
        out.end()
    }
}

/// Provenance and effort as one object; no `bn_mode` for a network without BatchNorm.
pub(super) fn card(provenance: &Provenance, effort: &Effort) -> serde_json::Result<Map<String, Value>> {
    let mut card = map(provenance)?;
    card.extend(map(effort)?);
    if provenance.computed.bn_mode.is_none() {
        card.remove("bn_mode");
    }
    Ok(card)
}

fn map(of: &impl Serialize) -> serde_json::Result<Map<String, Value>> {
    match serde_json::to_value(of)? {
        Value::Object(map) => Ok(map),
        other => Err(serde_json::Error::custom(format!("{other} is no object"))),
    }
}
