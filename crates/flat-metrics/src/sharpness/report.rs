//! A sharpness and what it was computed on.

use super::Sharpness;
use crate::{Estimate, Tick};
use serde::Serialize;

/// How far a measure has come; given to its callback before every batch.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct SharpnessProgress {
    /// Evaluations of the data set completed, losses and gradients alike.
    pub evaluations: u64,
    /// Most evaluations there will be.
    pub max_evaluations: u64,
    /// Position within the current evaluation.
    pub tick: Tick,
    /// Seconds since the start.
    pub wall_s: f64,
}

/// A sharpness, its error where it is random, and what it was computed on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SharpnessReport {
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
    /// Gradients of the data set spent.
    pub gradients: u64,
    /// Losses of the data set spent beside them.
    pub losses: u64,
    /// d, the number of trainable parameters.
    pub dim: usize,
    /// Examples that the loss averages over.
    pub examples: usize,
    /// Batches these were taken in.
    pub batches: usize,
    /// BatchNorm mode, where known.
    pub bn_mode: Option<String>,
    /// Element type, `f32` or `f64`.
    pub dtype: String,
    /// Seed of the draws.
    pub seed: u64,
    /// The callback asked to stop; the report covers the pairs or ascents completed.
    pub interrupted: bool,
    /// Seconds spent.
    pub wall_s: f64,
}
