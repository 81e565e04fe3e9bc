//! The theory on test functions.

use super::{Page, Study};
use crate::args::ReproduceArgs;
use anyhow::{Result, bail};
use serde_json::Value;

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(_study: &mut Study, _args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    bail!("in the making")
}
