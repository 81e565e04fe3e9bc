//! What [`crate::HutchPlusPlus`] and [`crate::XTrace`] share.

use crate::report::{OnProgress, Progress};
use crate::{Error, ProbeDistribution, Result, Tick, Watch};
use std::time::Instant;

/// Products counted for the progress callback.
pub(crate) struct Steps<'s, 'p> {
    done: u64,
    of: u64,
    start: Instant,
    progress: &'s mut OnProgress<'p>,
}

impl<'s, 'p> Steps<'s, 'p> {
    pub(crate) fn new(of: u64, start: Instant, progress: &'s mut OnProgress<'p>) -> Self {
        Self { done: 0, of, start, progress }
    }

    /// One product.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the callback says so; those of `product`.
    pub(crate) fn step<T>(&mut self, product: impl FnOnce(&mut Watch<'_>) -> Result<T>) -> Result<T> {
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
        if (self.progress)(&at(self.done, Tick { done: last.of, of: last.of })).is_break() && self.done < of {
            return Err(Error::Interrupted);
        }
        Ok(out)
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
