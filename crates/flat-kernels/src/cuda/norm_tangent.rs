//! Launches of normalisation's tangent and of its gradients; see `source/norm_tangent.cu`. Either is at most two.

use super::launch::{Launch, Real};
use super::norm::{Layer, Mask, runs, sizes};
use crate::Split;

/// Doubles that the partial sums take; none where there are none.
pub fn partial(s: Split) -> usize {
    3 * runs(s) * s.channels
}

/// A layer that has run, with the directions of its operands, by their addresses.
#[derive(Debug, Clone, Copy)]
pub struct Tangent {
    /// Its operands and statistics.
    pub layer: Layer,
    /// Where relu let `x` through.
    pub mask: Mask,
    /// Whether the statistics are those of `x`.
    pub batch: bool,
    /// Like `x`.
    pub x: u64,
    /// `(channels)`.
    pub gain: u64,
    /// `(channels)`.
    pub bias: u64,
    /// Like `x`, or 0 for none.
    pub skip: u64,
}

/// Addresses that the gradients are written to.
#[derive(Debug, Clone, Copy)]
pub struct Gradients {
    /// For `x`.
    pub x: u64,
    /// For the gain.
    pub gain: u64,
    /// For the direction of `x`.
    pub x_dot: u64,
    /// For the residual's direction, or 0 for none.
    pub skip_dot: u64,
}

impl Tangent {
    /// The arguments that all kernels begin and end with.
    fn arguments(&self, s: Split) -> ([u64; 7], [u64; 4]) {
        let (flags, y) = self.mask.flags(self.batch);
        let Layer { x, gain, bias, stats } = self.layer;
        let [count, channels, inner] = sizes(s);
        ([x, y, gain, bias, stats, self.x, self.gain], [count, channels, inner, flags])
    }

    /// The tangent at `out`, and at `along` two rows of doubles that its gradients need. `partial` is room for [`partial`]
    /// doubles. For a tensor that is not empty.
    pub fn forward(&self, real: Real, s: Split, partial: u64, along: u64, out: u64) -> Vec<Launch> {
        let rest = [self.bias, self.skip, along, out];
        self.launches("norm_tangent", real, s, partial, &[], &rest)
    }

    /// The gradients of the tangent for a gradient `g`, after [`Self::forward`] has left `along`.
    pub fn gradient(&self, real: Real, s: Split, partial: u64, along: u64, g: u64, to: Gradients) -> Vec<Launch> {
        let rest = [along, to.x, to.gain, to.x_dot, to.skip_dot];
        self.launches("norm_tangent_gradient", real, s, partial, &[g], &rest)
    }

    /// One launch for short channels; else one that sums `summed` and one that adds up and uses it.
    fn launches(&self, name: &str, real: Real, s: Split, partial: u64, summed: &[u64], rest: &[u64]) -> Vec<Launch> {
        let (layer, sizes) = self.arguments(s);
        let (channels, runs) = (s.channels as u32, runs(s) as u32);
        let launch = |part: &str, grid, middle: &[&[u64]]| {
            Launch::new(&format!("{name}_{part}"), real, grid, &[&layer[..], &middle.concat(), &sizes].concat())
        };
        match runs {
            0 => vec![launch("whole", [channels, 1], &[summed, rest])],
            runs => vec![
                launch("sums", [channels, runs], &[summed, &[partial]]),
                launch("runs", [channels, runs], &[&[partial], summed, rest]),
            ],
        }
    }
}
