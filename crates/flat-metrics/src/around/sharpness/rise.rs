//! The result of a measure of sharpness: how far the loss rises.

use super::measure::Sharpness;
use crate::statistics::Estimate;
use serde::Serialize;

/// A sharpness and its error where it is random.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Rise {
    /// What was measured, with its radius.
    #[serde(flatten)]
    pub sharpness: Sharpness,
    /// The value, see [`Sharpness`].
    pub value: f64,
    /// Standard error and 95 % interval of `value` over the pairs; `None` where the measure draws nothing or is a maximum.
    pub estimate: Option<Estimate>,
    /// Loss at theta.
    pub loss: f64,
    /// Loss at the displaced parameters: the mean, or the largest.
    pub displaced: f64,
    /// What each ascent reached, as a difference from `loss`; empty for the other measures.
    pub starts: Vec<f64>,
}
