//! The first and second Taylor coefficients of a normalisation layer along a line of all its operands.

use super::{Layer, Mask, Stats};
use crate::Float;
use crate::cpu::buffer::{Buffer, Runs, kernel, vectorized, write};
use crate::cpu::pointwise::masked;
use crate::cpu::reduce::{each_channel, sums};

/// Coefficients of a layer's operands beside their values. Gain and bias move along straight lines.
#[derive(Clone, Copy)]
pub struct Coefficients<'a, T> {
    /// The first of `x`.
    pub first: &'a [T],
    /// The second of `x`; `None` for zero.
    pub second: Option<&'a [T]>,
    /// The gain's first, one a channel.
    pub gain: &'a [T],
    /// The bias's first, one a channel.
    pub bias: &'a [T],
    /// First and second of the residual, where the layer has one.
    pub skip: Option<[&'a [T]; 2]>,
}

/// What a channel's results are made with: with `u = x - mean`, the first is `a u_1 + b u + bias_1`, the second
/// `a u_2 + b u_1 + c u`, where `(a, b, c)` are the coefficients of `gain r`.
struct Channel {
    factors: [f64; 3],
    /// Means of the first and the second of `x`.
    means: [f64; 2],
}

kernel! {
    Jet<'a, T> {
        layer: Layer<'a, T>,
        mask: Mask<'a, T>,
        along: Coefficients<'a, T>,
        stats: Stats,
        channel: usize,
        first: Runs<'a, T>,
        second: Runs<'a, T>,
    } -> (), |k| {
        let (mean, factor, bias) = k.layer.affine(k.channel, &k.stats);
        match k.mask {
            Mask::All => k.run(k.layer.x, |_, t, _| t),
            Mask::Again => k.run(k.layer.x, |x, t, _| masked(t, (x - mean) * factor + bias)),
            Mask::Output(y) => k.run(y, |_, t, y| masked(t, y)),
        }
    }
}

impl<T: Float> Jet<'_, T> {
    /// `r = (var + eps)^(-1/2)` along the line, by the coefficients `2 m_01` and `m_11 + 2 m_02` of the variance: `m_ij` are the
    /// mean products of `u_i` and `u_j`.
    #[inline(always)]
    fn channel(&self) -> Channel {
        let Layer { split, x, batch, .. } = self.layer;
        let (c, r, count) = (self.channel, self.stats.inv_std, split.count() as f64);
        let mean = T::from_f64(self.stats.mean);
        let (mut means, mut roots) = ([0.0; 2], [r, 0.0, 0.0]);
        if batch {
            // about one of its values rather than zero, so that a large mean costs no digits
            let near = split.starts(c).next().map_or(T::default(), |at| self.along.first[at]);
            let [s1, s01, s11] = sums(split, c, [x, self.along.first], |[x, f]| {
                let f = f - near;
                [f, f * (x - mean), f * f]
            });
            let [s2, s02] = match self.along.second {
                None => [0.0; 2],
                Some(second) => sums(split, c, [x, second], |[x, s]| [s, s * (x - mean)]),
            };
            let (shift, m01, m02) = (s1 / count, s01 / count, s02 / count);
            let m11 = s11 / count - shift * shift;
            means = [near.to_f64() + shift, s2 / count];
            roots = [r, -r.powi(3) * m01, -r.powi(3) * (0.5 * m11 + m02) + 1.5 * r.powi(5) * m01 * m01];
        }
        let (gain, dot) = (self.layer.gain[c].to_f64(), self.along.gain[c].to_f64());
        let factors = [gain * roots[0], gain * roots[1] + dot * roots[0], gain * roots[2] + dot * roots[1]];
        Channel { factors, means }
    }

    /// The pass with `h(x, t, y)`, a coefficient behind relu.
    #[inline(always)]
    fn run(&self, y: &[T], h: impl Fn(T, T, T) -> T + Copy) {
        let Layer { split, x, .. } = self.layer;
        let Channel { factors, means } = self.channel();
        let ([a, b, c], [m1, m2]) = (factors.map(T::from_f64), means.map(T::from_f64));
        let (mean, bias) = (T::from_f64(self.stats.mean), self.along.bias[self.channel]);
        let first = |x: T, f: T| (f - m1) * a + (x - mean) * b + bias;
        let bent = |x: T, f: T| (f - m1) * b + (x - mean) * c;
        for at in split.starts(self.channel) {
            // SAFETY: runs of different channels and images are disjoint.
            let (out, out2) = unsafe { (self.first.run(at, split.inner), self.second.run(at, split.inner)) };
            let (x, f, y) = (&x[at..], &self.along.first[at..], &y[at..]);
            match self.along.skip {
                None => write(out, [x, f, y], |[x, f, y]| h(x, first(x, f), y)),
                Some([s, _]) => write(out, [x, f, y, &s[at..]], |[x, f, y, s]| h(x, first(x, f) + s, y)),
            }
            match (self.along.second, self.along.skip) {
                (None, None) => write(out2, [x, f, y], |[x, f, y]| h(x, bent(x, f), y)),
                (None, Some([_, s])) => {
                    write(out2, [x, f, y, &s[at..]], |[x, f, y, s]| h(x, bent(x, f) + s, y));
                }
                (Some(q), None) => {
                    write(out2, [x, f, y, &q[at..]], |[x, f, y, q]| h(x, (q - m2) * a + bent(x, f), y));
                }
                (Some(q), Some([_, s])) => {
                    let from = [x, f, y, &q[at..], &s[at..]];
                    write(out2, from, |[x, f, y, q, s]| h(x, (q - m2) * a + bent(x, f) + s, y));
                }
            }
        }
    }
}

/// The first and second coefficients of [`super::forward`] along the line.
pub fn jet<T: Float>(
    layer: Layer<'_, T>,
    mask: Mask<'_, T>,
    along: Coefficients<'_, T>,
    stats: &[Stats],
) -> [Vec<T>; 2] {
    let [mut one, mut two] = [(); 2].map(|()| Buffer::new(layer.x.len()));
    let (first, second) = (one.runs(), two.runs());
    each_channel(layer.split, |channel| {
        vectorized(Jet { layer, mask, along, stats: stats[channel], channel, first, second });
    });
    // SAFETY: every run of every channel was written.
    unsafe { [one.finish(), two.finish()] }
}
