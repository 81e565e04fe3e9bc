//! A method of the comparison: a rule, or two in a row, with the grid of its settings.

use super::Case;
use crate::flags::Flags;
use serde::Deserialize;

/// A method of the comparison.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Method {
    /// As cells name it.
    pub key: String,
    /// As the page names it.
    pub name: String,
    pub flags: Flags,
    /// Flags of every run that this one goes without.
    #[serde(default)]
    without: Vec<String>,
    /// What the search tries.
    grid: Flags,
}

impl Method {
    /// What the search tries; of every list only the first value where `first` says so.
    pub fn settings(&self, first: bool) -> Vec<Flags> {
        let mut all = self.grid.combinations();
        if first {
            all.truncate(1);
        }
        all
    }

    /// The flags of its runs but for what the search chooses, at the reference's learning rate where it has none of its own.
    pub fn base(&self, common: &Flags, case: &Case, lr: Option<f64>) -> Flags {
        let without: Vec<&str> = self.without.iter().map(String::as_str).collect();
        let mut flags = common.under(&case.flags).without(&without).count("evals", case.evals);
        if let Some(lr) = lr.filter(|_| !self.grid.has("lr")) {
            flags = flags.with("lr", lr);
        }
        let own = case.own.get(&self.key).cloned().unwrap_or_default();
        flags.under(&self.flags).under(&own)
    }

    /// Its name with a setting.
    pub fn with(&self, setting: &Flags) -> String {
        match setting.without(&["lr"]).words() {
            words if words.is_empty() => self.name.clone(),
            words => format!("{}, {words}", self.name),
        }
    }
}
