//! Rules made of rules.

mod every;
mod per_part;
mod phases;

pub use every::Every;
pub use per_part::PerPart;
pub use phases::Phases;

use crate::{Error, GradientRule, Result};

/// Refuses a rule that is a whole optimizer of its own, or sees the data at a pace of its own.
fn over_a_base(option: &'static str, rule: &dyn GradientRule) -> Result<()> {
    if rule.replaces_base() {
        return Err(Error::option(option, rule.name(), "it is a whole optimizer and combines with no other rule"));
    }
    if rule.batches() > 1 {
        let why = "it takes several batches a step and combines with no other rule";
        return Err(Error::option(option, rule.name(), why));
    }
    Ok(())
}
