//! A study's file, `studies/NAME.toml` or the user's own: what the study does at each scale.

use crate::scale::Scale;
use anyhow::{Context, Result};
use flat_run::usage::usage;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;

/// Reads the user's file, where there is one, else the one of that text.
///
/// # Errors
/// An unreadable file; a usage error that names line and key where the file has not what the study needs, or more.
pub(crate) fn read<T: DeserializeOwned>(own: Option<&Path>, text: &str) -> Result<T> {
    match own {
        None => toml::from_str(text).context("the study's own file"),
        Some(file) => {
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read --study {}", file.display()))?;
            toml::from_str(&text).map_err(|e| usage(format!("--study {}: {e}", file.display())))
        }
    }
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

/// Training, validation and test images.
pub(crate) type Sizes = [usize; 3];
