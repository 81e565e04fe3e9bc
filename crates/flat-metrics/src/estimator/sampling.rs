//! The mean of independent samples, with a stopping rule that keeps its confidence level.

use super::config::TraceConfig;
use crate::measured::Stop;
use crate::observer::{Observer, Progress};
use crate::operator::BatchForm;
use crate::statistics::{Clusters, Estimate, Moments};
use crate::{Error, Result};
use flat_comm::Ranks;
use flat_core::{ParamVec, Space};
use std::ops::Range;

mod shared;

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
    /// How many of them other ranks drew.
    pub(crate) elsewhere: u64,
    pub(crate) stop: Stop,
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

    /// Draws `draw(k)` for k = 0, 1, ... until the budget, the tolerance or the observer ends it.
    ///
    /// # Errors
    /// As [`Self::take_blocks`].
    pub(crate) fn take(
        config: &TraceConfig,
        space: &Space,
        observer: &mut dyn Observer,
        mut draw: impl FnMut(u64, &mut dyn Observer) -> Result<Draw>,
    ) -> Result<Self> {
        let one = |k: Range<u64>, observer: &mut dyn Observer| Ok(vec![draw(k.start, observer)?]);
        Self::take_blocks(config, space, (1, &Ranks::default()), observer, one)
    }

    /// The same with `block` samples drawn at a time, fewer where a look at the interval comes before. Several ranks draw a block
    /// each at a time; the sample is that of one.
    ///
    /// # Errors
    /// [`Error::Interrupted`] before the first sample; those of `draw`.
    pub(crate) fn take_blocks(
        config: &TraceConfig,
        space: &Space,
        (block, ranks): (u64, &Ranks),
        observer: &mut dyn Observer,
        mut draw: impl FnMut(Range<u64>, &mut dyn Observer) -> Result<Vec<Draw>>,
    ) -> Result<Self> {
        let looks = config.looks();
        let mut sample = Self {
            total: Moments::default(),
            layers: vec![Moments::default(); space.layout.entries().len()],
            clusters: Clusters::default(),
            probes: 0,
            elsewhere: 0,
            stop: Stop::Budget,
            t_level: config.t_level(),
        };
        let at = |done, within: &Progress, e: &Estimate| Progress {
            done,
            of: config.max_probes,
            value: (done > 0).then_some(e.value),
            error: e.std_error,
            ..*within
        };
        'budget: while sample.probes < config.max_probes {
            let so_far = sample.total.estimate(sample.t_level, 0)?;
            let mut last = Progress::within(0, 1);
            let first = sample.probes;
            let look = looks.iter().find(|look| **look > first).map_or(config.max_probes, |look| *look);
            let range = first..look.min(first + block * ranks.size() as u64);
            let count = range.end - range.start;
            let drawn = shared::drawn(ranks, range, block, |range| {
                draw(range, &mut |within: &Progress| {
                    last = *within;
                    observer.observe(&at(sample.probes, within, &so_far))
                })
            });
            let drawn = drawn.map(|(own, drawn)| {
                sample.elsewhere += count - own;
                drawn
            });
            let drawn = match drawn {
                Ok(drawn) => drawn,
                Err(Error::Interrupted) if sample.probes > 0 => {
                    sample.stop = Stop::Interrupted;
                    break;
                }
                Err(e) => return Err(e),
            };
            // told to stop, it takes what is drawn already, which is paid for
            let mut told = false;
            for draw in &drawn {
                sample.push(draw);
                let now = sample.total.estimate(sample.t_level, 0)?;
                let narrow = || matches!((config.rel_tol, now.relative_half_width()), (Some(tol), Some(w)) if w <= tol);
                if looks.contains(&sample.probes) && narrow() {
                    sample.stop = Stop::RelTol;
                    break 'budget;
                }
                let ended = at(sample.probes, &last.ended(), &now);
                told = told || observer.observe(&ended).is_break();
            }
            if told && sample.probes < config.max_probes {
                sample.stop = Stop::Interrupted;
                break;
            }
        }
        Ok(sample)
    }
}
