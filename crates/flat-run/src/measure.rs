//! What is measured of a model: traces, layers, slices, dimension, and where a number comes from.

pub mod card;
pub mod curvature;
pub mod flatness;
pub mod hidden;
pub mod layers;
pub mod line;
pub mod score;
pub mod trace_settings;
pub mod trace_summary;
pub mod which;
