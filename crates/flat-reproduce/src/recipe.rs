//! A study's file, `studies/NAME.toml` or the user's own: what the study does at each scale.

use crate::args::ReproduceArgs;
use crate::scale::Scale;
use anyhow::Result;
use flat_run::usage;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;

/// Reads the text of a study's file, which is the user's `own` where that is given.
///
/// # Errors
/// A usage error that names file, line and key where it has not what the study needs, or more.
pub(crate) fn parse<T: DeserializeOwned>(own: Option<&Path>, text: &str) -> Result<T> {
    let name = own.map_or("the study's file".into(), |file| format!("--study {}", file.display()));
    toml::from_str(text).map_err(|e| usage(format!("{name}: {e}")))
}

/// What a study does at each scale.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Scales<P>(BTreeMap<Scale, P>);

impl<P> Scales<P> {
    /// What it does at one of them.
    ///
    /// # Errors
    /// A usage error: a user's file without that scale.
    pub fn at(&mut self, scale: Scale) -> Result<P> {
        let known: Vec<String> = self.0.keys().map(Scale::to_string).collect();
        self.0
            .remove(&scale)
            .ok_or_else(|| usage(format!("--scale {scale}: the study's file has {}", known.join(", "))))
    }
}

/// Of the parts of a study those that `--part` names, all where it names none.
///
/// # Errors
/// A usage error: a name that no part has at this scale.
pub(crate) fn parts_asked<T>(parts: Vec<T>, key: fn(&T) -> &str, args: &ReproduceArgs) -> Result<Vec<T>> {
    let known: Vec<&str> = parts.iter().map(key).collect();
    if let Some(other) = args.parts.iter().find(|asked| !known.contains(&asked.as_str())) {
        return Err(usage(format!("--part {other}: at --scale {} there are {}", args.scale, known.join(", "))));
    }
    Ok(parts
        .into_iter()
        .filter(|part| args.parts.is_empty() || args.parts.iter().any(|asked| asked == key(part)))
        .collect())
}

/// Training, validation and test images.
pub(crate) type Sizes = [usize; 3];
