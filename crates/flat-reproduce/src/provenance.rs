//! The provenance of a study: the words of the command line, and the version.

use crate::scale::Scale;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a study is of: its identity, which must be the same when it is continued, and the parts that this sitting makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The reproduction's name, as the command line has it.
    pub study: String,
    /// Its size.
    pub scale: Scale,
    /// Seed of all random draws.
    pub seed: u64,
    /// Version of the program that began it.
    pub version: String,
    /// The user's own study file, as the command line names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// What `--part` names: another sitting may make others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
}

impl Provenance {
    /// Of this version of the program.
    pub fn of(study: impl Into<String>, scale: Scale, seed: u64, file: Option<PathBuf>) -> Self {
        Self { study: study.into(), scale, seed, version: env!("CARGO_PKG_VERSION").into(), file, parts: Vec::new() }
    }

    /// The same, of these parts alone.
    #[must_use]
    pub fn with_parts(self, parts: Vec<String>) -> Self {
        Self { parts, ..self }
    }

    /// The words of the command line.
    pub fn words(&self) -> String {
        let file = self.file.as_ref().map(|file| format!(" --study {}", file.display())).unwrap_or_default();
        let parts = if self.parts.is_empty() { String::new() } else { format!(" --part {}", self.parts.join(",")) };
        format!("{} --scale {} --seed {}{file}{parts}", self.study, self.scale, self.seed)
    }
}
