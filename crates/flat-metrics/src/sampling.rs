//! The mean of independent samples, with the looks at which it may stop.

use crate::clusters::Clusters;
use crate::estimate::Moments;
use crate::report::{OnProgress, Progress, StoppedBy};
use crate::{BatchForm, Error, Estimate, Result, Tick, TraceConfig, Watch};
use flat_core::{ParamVec, Space};
use std::time::Instant;

/// One sample of a trace.
pub(crate) struct Draw {
    pub(crate) total: f64,
    /// Its parts in the blocks of the parameters; or none.
    pub(crate) layers: Vec<f64>,
    pub(crate) batches: Vec<BatchForm>,
}

impl Draw {
    /// A form without its layers.
    pub(crate) fn total(total: f64, batches: Vec<BatchForm>, k: u64) -> Result<Self> {
        if !total.is_finite() {
            return Err(Error::NonFinite { quantity: format!("probe {k}"), value: total });
        }
        Ok(Self { total, layers: Vec::new(), batches })
    }

    /// `z^T A z` over each parameter's entries, times `scale`.
    pub(crate) fn quadratic(z: &ParamVec, az: &ParamVec, scale: f64, batches: Vec<BatchForm>, k: u64) -> Result<Self> {
        let layers: Vec<f64> = z.dot_per_entry(az)?.into_iter().map(|x| scale * x).collect();
        if let Some(i) = layers.iter().position(|x| !x.is_finite()) {
            let name = &z.layout().entries()[i].name;
            return Err(Error::NonFinite { quantity: format!("probe {k} over `{name}`"), value: layers[i] });
        }
        let batches = batches.into_iter().map(|b| BatchForm { form: scale * b.form, ..b }).collect();
        Ok(Self { total: layers.iter().sum(), layers, batches })
    }
}

/// The sample so far.
pub(crate) struct Sample {
    total: Moments,
    layers: Vec<Moments>,
    pub(crate) clusters: Clusters,
    probes: u64,
    pub(crate) stopped_by: StoppedBy,
    t_level: f64,
}

impl Sample {
    fn push(&mut self, draw: &Draw) {
        self.total.push(draw.total);
        self.layers.iter_mut().zip(&draw.layers).for_each(|(m, x)| m.push(*x));
        self.clusters.push(&draw.batches, 1.0);
        self.probes += 1;
    }

    /// The total and the layers, at a cost of `matvecs`.
    pub(crate) fn estimates(&self, matvecs: u64) -> Result<(Estimate, Vec<Estimate>)> {
        let layers = self.layers.iter().filter(|m| m.count() > 0).map(|m| m.estimate(self.t_level, matvecs));
        Ok((self.total.estimate(self.t_level, matvecs)?, layers.collect::<Result<_>>()?))
    }

    /// Draws `draw(k)` for k = 0, 1, ... until the budget, the tolerance or `progress` ends it.
    ///
    /// # Errors
    /// [`Error::Interrupted`] before the first sample; those of `draw`.
    pub(crate) fn take(
        config: &TraceConfig,
        space: &Space,
        progress: &mut OnProgress<'_>,
        mut draw: impl FnMut(u64, &mut Watch<'_>) -> Result<Draw>,
    ) -> Result<Self> {
        let start = Instant::now();
        let looks = config.looks();
        let mut sample = Self {
            total: Moments::default(),
            layers: vec![Moments::default(); space.layout.entries().len()],
            clusters: Clusters::default(),
            probes: 0,
            stopped_by: StoppedBy::Budget,
            t_level: config.t_level(),
        };
        let report = |probes, tick, e: &Estimate| Progress {
            probes,
            max_probes: config.max_probes,
            tick,
            value: (probes > 0).then_some(e.value),
            std_error: e.std_error,
            wall_s: start.elapsed().as_secs_f64(),
        };
        while sample.probes < config.max_probes {
            let so_far = sample.total.estimate(sample.t_level, 0)?;
            let mut last = Tick { done: 0, of: 1 };
            let drawn = draw(sample.probes, &mut |tick| {
                last = tick;
                progress(&report(sample.probes, tick, &so_far))
            });
            match drawn {
                Ok(draw) => sample.push(&draw),
                Err(Error::Interrupted) if sample.probes > 0 => {
                    sample.stopped_by = StoppedBy::Interrupted;
                    break;
                }
                Err(e) => return Err(e),
            }
            let now = sample.total.estimate(sample.t_level, 0)?;
            let narrow = || matches!((config.rel_tol, now.relative_half_width()), (Some(tol), Some(w)) if w <= tol);
            if looks.contains(&sample.probes) && narrow() {
                sample.stopped_by = StoppedBy::RelTol;
                break;
            }
            let done = Tick { done: last.of, of: last.of };
            if progress(&report(sample.probes, done, &now)).is_break() && sample.probes < config.max_probes {
                sample.stopped_by = StoppedBy::Interrupted;
                break;
            }
        }
        Ok(sample)
    }
}
