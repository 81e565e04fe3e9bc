//! The products and orthonormal bases that [`crate::HutchPlusPlus`] and [`crate::XTrace`] share.

use super::config::TraceConfig;
use super::sampling::Draw;
use super::trace::{Parts, Trace};
use crate::measured::{Measured, Stop};
use crate::observer::{Observer, Progress, ask};
use crate::operator::{LinearOperator, Meter, Product};
use crate::statistics::{Clusters, Moments, ProbeDistribution};
use crate::{Error, Result};
use flat_core::{ParamVec, Space, Streams};

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
    fn parts(self, estimator: &'static str, matvecs: u64) -> Result<Parts> {
        if self.total.count() == 0 {
            return Err(Error::Interrupted);
        }
        Ok(Parts {
            estimator,
            trace: self.total.estimate(0.95, matvecs)?,
            layers: self.layers.iter().map(|m| m.estimate(0.95, matvecs)).collect::<Result<_>>()?,
            clusters: self.clusters,
            leave_one_out: None,
            radius: None,
        })
    }
}

/// Runs a sketch of `of` products; where a signal ends it, what is left is Hutchinson's estimate from its probes, which goes
/// by the name `interrupted`.
pub(super) fn run(
    operator: &mut dyn LinearOperator,
    (config, of, interrupted): (&TraceConfig, u64, &'static str),
    streams: &Streams,
    observer: &mut dyn Observer,
    sketch: impl FnOnce(&mut dyn LinearOperator, &mut Steps<'_>, &mut Forms) -> Result<(Parts, Stop)>,
) -> Result<Measured<Trace>> {
    let (meter, space) = (Meter::start(operator), operator.space().clone());
    let mut forms = Forms::new(&space);
    let mut steps = Steps { done: 0, of, stopped: false, observer };
    let (parts, stop) = match sketch(operator, &mut steps, &mut forms) {
        Err(Error::Interrupted) => (forms.parts(interrupted, meter.matvecs(operator))?, Stop::Interrupted),
        found => found?,
    };
    Ok(meter.measured(operator, Some(streams), stop, parts.trace(config, &space)))
}

/// Products counted for the observer.
pub(super) struct Steps<'s> {
    done: u64,
    of: u64,
    /// The observer said after a product not to go on.
    stopped: bool,
    observer: &'s mut dyn Observer,
}

impl Steps<'_> {
    /// Products of the operator with these directions, by all ranks here; where the observer says after them not to go on, the last.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the observer said so; the operator's own.
    pub(super) fn products(
        &mut self,
        operator: &mut dyn LinearOperator,
        directions: &[ParamVec],
    ) -> Result<Vec<Product>> {
        if self.stopped {
            return Err(Error::Interrupted);
        }
        let (done, of, mut last) = (self.done, self.of, Progress::within(0, 1));
        let watch = &mut |within: &Progress| {
            last = *within;
            self.observer.observe(&Progress { done, of, ..*within })
        };
        let out = operator.products(&flat_comm::here(), &directions.iter().collect::<Vec<_>>(), watch)?;
        self.done += directions.len() as u64;
        let ended = Progress { done: self.done, of, ..last.ended() };
        self.stopped = self.observer.observe(&ended).is_break() && self.done < of;
        Ok(out)
    }

    /// Asks whether to go on, between products or after them.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the observer says not to.
    pub(super) fn ask(&mut self, batch: usize, batches: usize) -> Result<()> {
        ask(self.observer, &Progress { done: self.done, of: self.of, ..Progress::within(batch, batches) })
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
