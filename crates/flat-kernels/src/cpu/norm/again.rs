//! A normalisation's output, made again where it is read: who needs it on the way back need not have kept it.

use super::{Stats, affine};
use crate::cpu::block::PANEL;
use crate::cpu::lanes::Lanes;
use pulp::{Arch, Simd, WithSimd};

/// What makes the output of a layer without residual from its input, to the bit, sixteen channels at a time.
#[derive(Debug, Clone)]
pub struct Again {
    /// Mean, factor and bias of the channels; zeros for those that fill the last sixteen.
    panels: Vec<[[f32; PANEL]; 3]>,
    relu: bool,
}

/// One pass over pixels of sixteen channels.
struct Pixels<'a> {
    by: &'a [[f32; PANEL]; 3],
    relu: bool,
    pixels: &'a mut [f32],
}

impl WithSimd for Pixels<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let zero = simd.splat_f32s(0.0);
        for lane in (0..PANEL).step_by(Lanes::<S>::N) {
            // SAFETY: whole registers divide the sixteen numbers.
            let [mean, factor, bias] =
                self.by.each_ref().map(|by| unsafe { Lanes::load(simd, by.as_ptr().add(lane)).raw() });
            for at in (lane..self.pixels.len()).step_by(PANEL) {
                // SAFETY: a pixel is sixteen numbers, and all are whole.
                unsafe {
                    let place = self.pixels.as_mut_ptr().add(at);
                    let x = Lanes::load(simd, place);
                    // each step rounded as the layer rounds it
                    let y = simd.add_f32s(simd.mul_f32s(simd.sub_f32s(x.raw(), mean), factor), bias);
                    // as `clip`: NaN stays NaN
                    let clipped = simd.select_f32s(simd.less_than_f32s(y, zero), zero, y);
                    x.with(if self.relu { clipped } else { y }).store(place);
                }
            }
        }
    }
}

impl Again {
    /// Of the layer that found these statistics, with a gain and a bias a channel.
    pub fn new(stats: &[Stats], gain: &[f32], bias: &[f32], relu: bool) -> Self {
        let mut panels = vec![[[0.0; PANEL]; 3]; stats.len().div_ceil(PANEL)];
        for (c, stats) in stats.iter().enumerate() {
            let (mean, factor, bias) = affine(stats, gain[c], bias[c]);
            for (to, value) in panels[c / PANEL].iter_mut().zip([mean, factor, bias]) {
                to[c % PANEL] = value;
            }
        }
        Self { panels, relu }
    }

    /// Makes the output of pixels, the channels of a panel next to each other.
    pub(crate) fn apply(&self, panel: usize, pixels: &mut [f32]) {
        assert!(pixels.len().is_multiple_of(PANEL), "pixels of sixteen channels");
        Arch::new().dispatch(Pixels { by: &self.panels[panel], relu: self.relu, pixels });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Split;
    use crate::cpu::norm::{Layer, Source, forward};

    #[test]
    fn what_is_made_again_has_the_bits_of_the_layer() {
        let (outer, channels, inner) = (2, 19, 5);
        let number = |i: usize| ((i * 7919) % 1000) as f32 / 137.0 - 3.0;
        let x: Vec<f32> = (0..outer * channels * inner).map(number).collect();
        let [gain, bias]: [Vec<f32>; 2] = [3, 11].map(|k| (0..channels).map(|c| number(c * k + 1)).collect());
        for relu in [false, true] {
            let layer = Layer { split: Split { outer, channels, inner }, x: &x, gain: &gain, bias: &bias, batch: true };
            let (y, stats) = forward(layer, &Source::Batch(1e-5), None, relu);
            let again = Again::new(&stats, &gain, &bias, relu);
            for (n, c, i) in
                (0..outer * channels * inner).map(|k| (k / (channels * inner), k / inner % channels, k % inner))
            {
                let mut pixel = [0.0; PANEL];
                pixel[c % PANEL] = x[(n * channels + c) * inner + i];
                again.apply(c / PANEL, &mut pixel);
                assert_eq!(pixel[c % PANEL].to_bits(), y[(n * channels + c) * inner + i].to_bits());
            }
            // the channels that are not there stay zero
            let mut pixel = [0.0; PANEL];
            again.apply(1, &mut pixel);
            assert!(pixel[channels - PANEL..].iter().all(|y| *y == 0.0));
        }
    }
}
