//! The transforms of whole images and weights, sixteen channels at a time.

// registers are addressed by number: iterators' closures would be compiled without the kernel's instructions
#![allow(clippy::needless_range_loop)]

use super::transform::{Collect, Evaluate, Input, InputAdjoint, TILE, Weight, WeightAdjoint, square, window};
use crate::cpu::block::PANEL;
use crate::cpu::lanes::Lanes;
use crate::cpu::word::Word;
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;

/// From a strip to the points of its tiles, in words: inputs with `B^T`, or output gradients with `A`.
pub(super) struct ToPoints<'a, W, const M: usize> {
    pub strip: &'a [f32],
    pub cols: usize,
    pub grid: (usize, usize),
    pub adjoint: bool,
    /// First tile's place at the first point, the distance of tiles, and of points, in words.
    pub to: *mut f32,
    pub tile: usize,
    pub point: usize,
    pub words: PhantomData<W>,
}

impl<W: Word, const M: usize> WithSimd for ToPoints<'_, W, M> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for ty in 0..self.grid.0 {
            for tx in 0..self.grid.1 {
                let from = self.strip[(ty * M * self.cols + tx * M) * PANEL..].as_ptr();
                let to = self.to.wrapping_add((ty * self.grid.1 + tx) * self.tile);
                for lane in (0..PANEL).step_by(Lanes::<S>::N) {
                    // SAFETY: the strip holds whole tiles, the destination a row a tile and point.
                    unsafe {
                        let (from, row) = (from.add(lane), self.cols * PANEL);
                        let t = if self.adjoint {
                            square::<S, W, Evaluate, M, TILE>(window(simd, from, row, PANEL))
                        } else {
                            square::<S, W, Input, TILE, TILE>(window(simd, from, row, PANEL))
                        };
                        for i in 0..TILE {
                            for j in 0..TILE {
                                W::put(t[i][j], to.add((i * TILE + j) * self.point + lane / W::NUMBERS));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// From points to a strip: outputs with `A^T`, or input gradients with `B`, which overlap and are added.
pub(super) struct FromPoints<'a, W, const M: usize> {
    pub strip: &'a mut [f32],
    pub cols: usize,
    pub grid: (usize, usize),
    pub adjoint: bool,
    pub from: *const f32,
    pub tile: usize,
    pub point: usize,
    pub words: PhantomData<W>,
}

impl<W: Word, const M: usize> WithSimd for FromPoints<'_, W, M> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for ty in 0..self.grid.0 {
            for tx in 0..self.grid.1 {
                let to = self.strip[(ty * M * self.cols + tx * M) * PANEL..].as_mut_ptr();
                let from = self.from.wrapping_add((ty * self.grid.1 + tx) * self.tile);
                for lane in (0..PANEL).step_by(Lanes::<S>::N) {
                    // SAFETY: as in `ToPoints`.
                    unsafe {
                        let t = window::<S, TILE>(simd, from.add(lane), TILE * self.point, self.point);
                        if self.adjoint {
                            let x = square::<S, W, InputAdjoint, TILE, TILE>(t);
                            for i in 0..TILE {
                                for j in 0..TILE {
                                    let place = to.add((i * self.cols + j) * PANEL + lane);
                                    (x[i][j] + Lanes::load(simd, place)).store(place);
                                }
                            }
                        } else {
                            let y = square::<S, W, Collect, TILE, M>(t);
                            for i in 0..M {
                                for j in 0..M {
                                    y[i][j].store(to.add((i * self.cols + j) * PANEL + lane));
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The weights' points in words, `(point, panel, step, 16)`: lanes are output channels and steps input channels, or the reverse.
/// A word holds the numbers of neighbouring steps.
pub(super) struct WeightPoints<'a, W, const R: usize> {
    pub w: &'a [f32],
    /// Lanes of the panel that exist, their distance and that of steps.
    pub lanes: usize,
    pub lane: usize,
    pub steps: usize,
    pub step: usize,
    pub to: *mut f32,
    pub point: usize,
    pub words: PhantomData<W>,
}

impl<W: Word, const R: usize> WithSimd for WeightPoints<'_, W, R> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut taps = [[[[0f32; PANEL]; R]; R]; 2];
        for word in 0..self.steps.div_ceil(W::NUMBERS) {
            for n in 0..W::NUMBERS {
                self.read(word * W::NUMBERS + n, &mut taps[n]);
            }
            let to = self.to.wrapping_add(word * PANEL);
            for lane in (0..PANEL).step_by(Lanes::<S>::N) {
                // SAFETY: `to` is this task's panel, a word has a place at each point.
                unsafe {
                    let from = taps.as_ptr().cast::<f32>().add(lane);
                    let first = square::<S, W, Weight, R, TILE>(window(simd, from, R * PANEL, PANEL));
                    let mut last = first;
                    if W::NUMBERS == 2 {
                        let from = from.add(R * R * PANEL);
                        last = square::<S, W, Weight, R, TILE>(window(simd, from, R * PANEL, PANEL));
                    }
                    for i in 0..TILE {
                        for j in 0..TILE {
                            W::join([first[i][j], last[i][j]], to.add((i * TILE + j) * self.point + lane));
                        }
                    }
                }
            }
        }
    }
}

impl<W, const R: usize> WeightPoints<'_, W, R> {
    /// The taps of a step, zeros beyond the last.
    #[inline(always)]
    fn read(&self, step: usize, taps: &mut [[[f32; PANEL]; R]; R]) {
        if step >= self.steps {
            return *taps = [[[0.0; PANEL]; R]; R];
        }
        for l in 0..self.lanes {
            let w = &self.w[l * self.lane + step * self.step..][..R * R];
            for i in 0..R {
                for j in 0..R {
                    taps[i][j][l] = w[i * R + j];
                }
            }
        }
    }
}

/// The gradient for the weights of one output channel from its points `(point, o, channels)`.
pub(super) struct WeightFromPoints<'a, W, const R: usize> {
    pub dw: &'a mut [f32],
    pub from: *const f32,
    pub point: usize,
    pub words: PhantomData<W>,
}

impl<W: Word, const R: usize> WithSimd for WeightFromPoints<'_, W, R> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut taps = [[[0f32; PANEL]; R]; R];
        for (panel, dw) in self.dw.chunks_mut(PANEL * R * R).enumerate() {
            for lane in (0..PANEL).step_by(Lanes::<S>::N) {
                // SAFETY: the points hold whole panels.
                unsafe {
                    let from = self.from.add(panel * PANEL + lane);
                    let w = square::<S, W, WeightAdjoint, TILE, R>(window(simd, from, TILE * self.point, self.point));
                    for i in 0..R {
                        for j in 0..R {
                            w[i][j].store(taps[i][j][lane..].as_mut_ptr());
                        }
                    }
                }
            }
            for (l, dw) in dw.chunks_exact_mut(R * R).enumerate() {
                for i in 0..R {
                    for j in 0..R {
                        dw[i * R + j] = taps[i][j][l];
                    }
                }
            }
        }
    }
}
