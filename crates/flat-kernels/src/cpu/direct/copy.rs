//! Windows of a channel-last image, to the rows of a matrix and back.

use crate::Geometry;
use crate::cpu::block::PANEL;
use crate::cpu::lanes::Lanes;
use pulp::{Simd, WithSimd};

/// Copies the windows of one panel of channels.
pub(super) struct Gather<'a> {
    pub g: &'a Geometry,
    /// Pixels of a row of the strip.
    pub cols: usize,
    pub strip: &'a [f32],
    /// A row a pixel of the output, `row` apart, and which part of a row the panel has.
    pub windows: &'a mut [f32],
    pub row: usize,
    pub panel: usize,
}

/// Adds the windows of one panel of channels to the image.
pub(super) struct Scatter<'a> {
    pub g: &'a Geometry,
    pub cols: usize,
    pub strip: &'a mut [f32],
    pub windows: &'a [f32],
    pub row: usize,
    pub panel: usize,
}

/// Calls `f(place in the strip, place in the windows)` for every run of a row of a window, `kw` panels long.
#[inline(always)]
fn each(g: &Geometry, cols: usize, row: usize, panel: usize, mut f: impl FnMut(usize, usize)) {
    for oy in 0..g.oh {
        for ox in 0..g.ow {
            let to = (oy * g.ow + ox) * row + panel * g.kh * g.kw * PANEL;
            let from = (oy * g.stride * cols + ox * g.stride) * PANEL;
            for dy in 0..g.kh {
                f(from + dy * cols * PANEL, to + dy * g.kw * PANEL);
            }
        }
    }
}

/// The last places that [`each`] comes by are within slices of these lengths.
fn check(g: &Geometry, (cols, row, panel): (usize, usize, usize), strip: usize, windows: usize) {
    let last = ((g.oh - 1) * g.stride + g.kh - 1) * cols + (g.ow - 1) * g.stride + g.kw;
    let taps = g.kh * g.kw;
    let end = (g.oh * g.ow - 1) * row + (panel + 1) * taps * PANEL;
    assert!(last * PANEL <= strip && end <= windows, "windows beyond their image or their matrix");
}

impl WithSimd for Gather<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { g, cols, strip, windows, row, panel } = self;
        check(g, (cols, row, panel), strip.len(), windows.len());
        let (from, to, len) = (strip.as_ptr(), windows.as_mut_ptr(), g.kw * PANEL);
        each(g, cols, row, panel, |a, b| {
            for lane in (0..len).step_by(Lanes::<S>::N) {
                // SAFETY: within both, as was checked.
                unsafe { Lanes::load(simd, from.add(a + lane)).store(to.add(b + lane)) }
            }
        });
    }
}

impl WithSimd for Scatter<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { g, cols, strip, windows, row, panel } = self;
        check(g, (cols, row, panel), strip.len(), windows.len());
        let (to, from, len) = (strip.as_mut_ptr(), windows.as_ptr(), g.kw * PANEL);
        each(g, cols, row, panel, |a, b| {
            for lane in (0..len).step_by(Lanes::<S>::N) {
                // SAFETY: within both, as was checked.
                unsafe {
                    let place = to.add(a + lane);
                    (Lanes::load(simd, from.add(b + lane)) + Lanes::load(simd, place)).store(place);
                }
            }
        });
    }
}
