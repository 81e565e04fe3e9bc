//! The straight line between two networks.

use crate::parts::evaluate::score;
use crate::parts::statistics;
use crate::parts::subject::LoadedCheckpoint;
use crate::parts::weights::Weights;
use crate::settings::choice::BnModeName;
use crate::signal;
use crate::usage::usage;
use anyhow::{Context, Result};
use candle_core::Tensor;
use flat_core::{ParamVec, Streams};
use flat_data::Loader;
use flat_nn::Model;
use std::collections::BTreeMap;
use std::path::Path;

/// The line from the subject's network at 0 to another one at 1. At both ends everything is that network's own, bit for
/// bit. Elsewhere the parameters are `theta + x (other - theta)`, and running statistics of batch normalisation are
/// computed anew from training images, as T. Garipov et al., "Loss Surfaces, Mode Connectivity, and Fast Ensembling of
/// DNNs" (NeurIPS 2018, arXiv 1802.10026) do: neither end's, nor their mean, belong to the weights between.
pub struct Line {
    theta: ParamVec,
    direction: ParamVec,
    ends: [BTreeMap<String, Tensor>; 2],
    /// Training images to compute running statistics from, where the model keeps any and they are used.
    train: Option<Loader>,
}

impl Line {
    /// From the subject to the weights in `other`.
    ///
    /// # Errors
    /// Weights of another model, or the same weights.
    pub fn new(subject: &LoadedCheckpoint, other: &Path, bn_mode: BnModeName) -> Result<Self> {
        let (model, flag) = (&subject.model, || format!("--between {}", other.display()));
        let theta = model.params().read()?;
        let read = || -> Result<Model> {
            let space = theta.space();
            let there = model.again(&Streams::new(0))?;
            Weights::read(other, &space.device)?.load_into(&there, Some(&subject.images))?;
            Ok(there)
        };
        let there = read().with_context(flag)?;
        let direction = there.params().read()?.plus(-1.0, &theta)?;
        if direction.norm()? == 0.0 {
            return Err(usage(format!("{}: it holds the same weights as --checkpoint", flag())));
        }
        let recompute = model.has_batch_norm() && bn_mode == BnModeName::Eval;
        let train = if recompute { Some(subject.training()?) } else { None };
        Ok(Self { theta, direction, ends: [model.state()?, there.state()?], train })
    }

    /// Coordinates from about `-span` to `1 + span`, evenly, with 0 and 1 among them.
    pub fn coordinates(span: f64, points: usize) -> Vec<f64> {
        let steps = points.max(2) - 1;
        let beyond = ((steps as f64 * span / (1.0 + 2.0 * span)).round() as usize).min((steps - 1) / 2);
        let between = (steps - 2 * beyond) as f64;
        (0..=steps).map(|i| (i as f64 - beyond as f64) / between).collect()
    }

    /// Whether running statistics are computed anew between the ends.
    pub fn recomputes(&self) -> bool {
        self.train.is_some()
    }

    /// Images that they are computed from at every point.
    pub fn images(&self) -> usize {
        self.train.as_ref().map_or(0, statistics::images)
    }

    /// Length of the line from 0 to 1.
    ///
    /// # Errors
    /// candle's.
    pub fn length(&self) -> Result<f64> {
        Ok(self.direction.norm()?)
    }

    /// Loss and accuracy at each coordinate, at fewer where a signal asked to stop. The subject's network is as it was
    /// afterwards. Cost: a forward pass over the data a point, and one over [`Self::images`].
    ///
    /// # Errors
    /// candle's.
    pub fn scores(
        &self,
        subject: &LoadedCheckpoint,
        bn_mode: BnModeName,
        coordinates: &[f64],
        mut progress: impl FnMut(u64, f64),
    ) -> Result<Vec<(f64, f64)>> {
        let mut scores = Vec::with_capacity(coordinates.len());
        let measured = coordinates.iter().try_for_each(|x| -> Result<()> {
            if signal::stop_requested() || !self.put(&subject.model, *x)? {
                return Ok(());
            }
            if let Some(s) = score(&subject.model, subject.loss, &subject.data, bn_mode.mode(), |_, _| ())? {
                scores.push((s.loss, s.accuracy));
                progress(scores.len() as u64, s.loss);
            }
            Ok(())
        });
        subject.model.set_state(&self.ends[0])?;
        measured?;
        Ok(scores)
    }

    /// Puts the network at a coordinate into the model; false where a signal asked to stop.
    fn put(&self, model: &Model, x: f64) -> Result<bool> {
        if let Some(end) = [0.0, 1.0].into_iter().position(|end| end == x) {
            model.set_state(&self.ends[end])?;
            return Ok(true);
        }
        model.params().write(&self.theta.plus(x, &self.direction)?)?;
        self.train.as_ref().map_or(Ok(true), |train| statistics::refresh(model, train))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_among_the_coordinates_exactly() {
        for (span, points) in [(0.25, 51), (0.25, 21), (0.0, 3), (1.0, 4), (0.3, 2), (7.0, 100), (0.1, 10)] {
            let x = Line::coordinates(span, points);
            assert_eq!(x.len(), points);
            assert!(x.contains(&0.0) && x.contains(&1.0), "{span} {points}: {x:?}");
            assert!((x[0] + span).abs() <= 0.5 + 0.5 * span, "{span} {points}: {x:?}");
        }
    }
}
