//! The settings of runs and measures: flags and files, defaults and ranges, and which have an effect together.

pub(crate) mod args;
mod check;
pub(crate) mod choice;
pub(crate) mod config;
pub(crate) mod file;
pub(crate) mod flags;
pub(crate) mod graph;
pub(crate) mod network;
pub(crate) mod own;
pub(crate) mod pixels;
pub(crate) mod reading;
pub(crate) mod recipe;
pub(crate) mod resolve;
pub(crate) mod rule_schedule;
#[cfg(test)]
pub(crate) mod tests;

pub use args::{EvalArgs, HessianArgs};
pub use choice::{
    BnModeName, Flatness, FlatnessName, Float, HvpName, LogName, LossName, NormalizeName, OptimizerName, PerturbName,
    RadiusScheduleName, SamplerName, ScheduleName, SplitName,
};
pub use file::{table as read_table, to_toml, values as values_of};
pub use flags::{Flag, Flags, flags, given};
pub use graph::{GraphName, StrategyName};
pub use own::images as own_images;
pub use reading::{show_reading, watched};
pub use recipe::{Contents as RecipeContents, Recipe, RecipeSpec};
pub use rule_schedule::{Phase, RuleSchedule};
