//! What [`crate::HutchPlusPlus`] and [`crate::XTrace`] share.

use crate::clusters::Clusters;
use crate::estimate::Moments;
use crate::report::{Found, OnProgress, Progress, StoppedBy, TraceReport};
use crate::sampling::Draw;
use crate::{Error, LinearOperator, ProbeDistribution, Product, Result, Tick, TraceConfig, Watch};
use flat_core::{ParamVec, Space, Streams};
use std::time::Instant;

/// Quadratic forms of the probes that a sketch starts with: Hutchinson's estimate, which is what there is where a signal
/// ends the sketch.
pub(crate) struct Forms {
    total: Moments,
    layers: Vec<Moments>,
    clusters: Clusters,
}

impl Forms {
    pub(crate) fn new(space: &Space) -> Self {
        let layers = vec![Moments::default(); space.layout.entries().len()];
        Self { total: Moments::default(), layers, clusters: Clusters::default() }
    }

    /// Takes in `<z, A z>` of probe k.
    pub(crate) fn push(&mut self, z: &ParamVec, Product { product, batches }: &Product, k: u64) -> Result<()> {
        let draw = Draw::quadratic(z, product, 1.0, batches.clone(), k)?;
        self.total.push(draw.total);
        self.layers.iter_mut().zip(draw.layers).for_each(|(m, x)| m.push(x));
        self.clusters.push(&draw.batches, 1.0);
        Ok(())
    }

    /// The estimate in place of one that was interrupted.
    ///
    /// # Errors
    /// [`Error::Interrupted`] without a probe.
    pub(crate) fn found(self, estimator: &'static str, matvecs: u64) -> Result<Found> {
        if self.total.count() == 0 {
            return Err(Error::Interrupted);
        }
        Ok(Found {
            estimator,
            trace: self.total.estimate(0.95, matvecs)?,
            layers: self.layers.iter().map(|m| m.estimate(0.95, matvecs)).collect::<Result<_>>()?,
            clusters: self.clusters,
            leave_one_out: None,
            radius: None,
            stopped_by: StoppedBy::Interrupted,
        })
    }
}

/// Runs a sketch of `of` products; where a signal ends it, what is left is Hutchinson's estimate from its probes, which goes
/// by the name `interrupted`.
pub(crate) fn run_watched(
    operator: &mut dyn LinearOperator,
    (config, of, interrupted): (&TraceConfig, u64, &'static str),
    streams: &Streams,
    progress: &mut OnProgress<'_>,
    sketch: impl FnOnce(&mut dyn LinearOperator, &mut Steps<'_, '_>, &mut Forms) -> Result<Found>,
) -> Result<TraceReport> {
    let (start, before) = (Instant::now(), operator.matvecs());
    let space = operator.space().clone();
    let mut forms = Forms::new(&space);
    let mut steps = Steps::new(of, start, progress);
    let found = match sketch(operator, &mut steps, &mut forms) {
        Err(Error::Interrupted) => forms.found(interrupted, operator.matvecs() - before)?,
        found => found?,
    };
    Ok(found.report(config, &space, operator.origin(), streams, start))
}

/// Products counted for the progress callback.
pub(crate) struct Steps<'s, 'p> {
    done: u64,
    of: u64,
    start: Instant,
    /// The callback said after a product not to go on.
    stopped: bool,
    progress: &'s mut OnProgress<'p>,
}

impl<'s, 'p> Steps<'s, 'p> {
    pub(crate) fn new(of: u64, start: Instant, progress: &'s mut OnProgress<'p>) -> Self {
        Self { done: 0, of, start, stopped: false, progress }
    }

    /// One product; where the callback says after it not to go on, the last.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the callback said so; those of `product`.
    pub(crate) fn step<T>(&mut self, product: impl FnOnce(&mut Watch<'_>) -> Result<T>) -> Result<T> {
        if self.stopped {
            return Err(Error::Interrupted);
        }
        let (of, start) = (self.of, self.start);
        let at = |probes, tick| Progress {
            probes,
            max_probes: of,
            tick,
            value: None,
            std_error: None,
            wall_s: start.elapsed().as_secs_f64(),
        };
        let (done, mut last) = (self.done, Tick { done: 0, of: 1 });
        let out = product(&mut |tick| {
            last = tick;
            (self.progress)(&at(done, tick))
        })?;
        self.done += 1;
        self.stopped =
            (self.progress)(&at(self.done, Tick { done: last.of, of: last.of })).is_break() && self.done < of;
        Ok(out)
    }

    /// Asks whether to go on, between products or after them.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the callback says not to.
    pub(crate) fn ask(&mut self, done: usize, of: usize) -> Result<()> {
        let (probes, wall_s) = (self.done, self.start.elapsed().as_secs_f64());
        let tick = Tick { done, of };
        let at = Progress { probes, max_probes: self.of, tick, value: None, std_error: None, wall_s };
        if (self.progress)(&at).is_break() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// What makes `g^T A g` unbiased for a probe g projected to a subspace of `dim` dimensions, with `squared` its squared norm
/// there: 1, since `E g g^T` is the projector. Where the direction of g is uniform its length is noise, and
/// `dim / ||g||^2` takes that out.
pub(crate) fn scale_of_projected(probe: ProbeDistribution, squared: f64, dim: usize) -> f64 {
    if !probe.is_rotation_invariant() {
        return 1.0;
    }
    // nothing is left of it: the form is zero whatever the scale
    if dim == 0 || squared <= 0.0 { 0.0 } else { dim as f64 / squared }
}
