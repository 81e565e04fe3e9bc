//! The products of a convolution's points, and the weights on either side of them.

use super::plan::{Plan, Side};
use super::tiles::{WeightFromPoints, WeightPoints};
use super::transform::POINTS;
use crate::Float;
use crate::cpu::block::{Block, PANEL, Products, ROWS};
use crate::cpu::buffer::Dst;
use crate::cpu::word::Word;
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

impl Plan<'_> {
    /// The weights' points, panel by panel of the columns of the product: output channels, or input channels.
    pub(super) fn weights<W: Word, const R: usize>(&self, w: &[f32], adjoint: bool, points: &mut [f32]) {
        self.weights_of::<W, R>(w, adjoint, self.all(if adjoint { &self.inputs } else { &self.outputs }), points);
    }

    /// The same of some panels.
    fn weights_of<W: Word, const R: usize>(&self, w: &[f32], adjoint: bool, of: Range<usize>, points: &mut [f32]) {
        let (taps, g) = (R * R, self.g);
        let (from, into) = ((g.channels, taps), (g.out_channels, g.channels * taps));
        let ((lanes, lane), (steps, step)) = if adjoint { (from, into) } else { (into, from) };
        let (panels, words, first) = (of.len(), steps.div_ceil(W::NUMBERS), of.start);
        let to = Dst(points.as_mut_ptr());
        of.into_par_iter().for_each(|panel| {
            W::dispatch(WeightPoints::<W, R> {
                w: &w[panel * PANEL * lane..],
                lanes: PANEL.min(lanes - panel * PANEL),
                lane,
                steps,
                step,
                to: to.at((panel - first) * words * PANEL),
                point: panels * words * PANEL,
                words: PhantomData,
            });
        });
    }

    /// [`Self::multiply`] by weights that are transformed a block at a time.
    pub(super) fn multiply_blocks<W: Word, const R: usize>(
        &self,
        (from, a): (&Side, &mut [f32]),
        (w, adjoint, points): (&[f32], bool, &mut [f32]),
        (to, c): (&Side, &mut [f32]),
    ) {
        for panels in self.blocks(to, from) {
            self.weights_of::<W, R>(w, adjoint, panels.clone(), points);
            self.multiply_panels::<W>((from, a), points, (to, c, panels), false);
        }
    }

    /// `from (tiles x channels) * weights (channels x channels of to)` at every point, added to what is there or not.
    pub(super) fn multiply<W: Word>(
        &self,
        (from, a): (&Side, &mut [f32]),
        weights: &[f32],
        (to, c): (&Side, &mut [f32]),
        accumulate: bool,
    ) {
        self.multiply_panels::<W>((from, a), weights, (to, c, self.all(to)), accumulate);
    }

    /// The same for some panels of the result, whose weights are at hand.
    fn multiply_panels<W: Word>(
        &self,
        (from, a): (&Side, &mut [f32]),
        weights: &[f32],
        (to, c, of): (&Side, &mut [f32], Range<usize>),
        accumulate: bool,
    ) {
        let (k, panels, row) = (from.channels.div_ceil(W::NUMBERS), of.len(), from.padded / W::NUMBERS);
        let products = Products {
            block: Block {
                k,
                a: Dst(a.as_mut_ptr()),
                a_row: row,
                a_step: 1,
                b: Dst(weights.as_ptr().cast_mut()),
                b_step: PANEL,
                b_panel: k * PANEL,
                c: Dst(c[of.start * PANEL..].as_mut_ptr()),
                c_row: to.padded,
                accumulate,
            },
            count: POINTS,
            a: self.point(from),
            b: panels * k * PANEL,
            c: self.point(to),
            rows: self.rows() / ROWS,
            a_rows: ROWS * row,
            c_rows: ROWS * to.padded,
            panels,
        };
        // SAFETY: the buffers have the lengths of `len` and of the weights' points; the results are apart.
        unsafe { products.run::<W>(self.least()) }
    }

    /// The sum over a chunk's tiles of the products of output gradients and inputs at every point, added to `c`
    /// (out channels x channels) but for the first chunk.
    pub(super) fn correlate<W: Word>(&self, gy: &mut [f32], x: &mut [f32], c: &mut [f32], first: bool) {
        let (gy, x) = (self.words_of_tiles::<W>(&self.outputs, gy), self.words_of_tiles::<W>(&self.inputs, x));
        self.correlate_panels::<W>((gy, self.all(&self.outputs)), x, c, first);
    }

    /// The gradient for the weights from one chunk, a block of output channels at a time.
    pub(super) fn correlate_blocks<W: Word, const R: usize>(&self, [gy, x, c]: [&mut [f32]; 3], dw: &mut [f32]) {
        let (gy, x) = (self.words_of_tiles::<W>(&self.outputs, gy), self.words_of_tiles::<W>(&self.inputs, x));
        for panels in self.blocks(&self.outputs, &self.inputs) {
            self.correlate_panels::<W>((gy, panels.clone()), x, c, true);
            self.collect_of::<W, R>([&*c].into_iter(), panels, dw);
        }
    }

    /// The sums for some panels of output channels.
    fn correlate_panels<W: Word>(
        &self,
        (gy, of): (&mut [f32], Range<usize>),
        x: &mut [f32],
        c: &mut [f32],
        first: bool,
    ) {
        let (inputs, outputs, begin) = (&self.inputs, &self.outputs, of.start * PANEL);
        let products = Products {
            block: Block {
                k: self.rows() / W::NUMBERS,
                a: Dst(gy[begin..].as_mut_ptr()),
                a_row: 1,
                a_step: outputs.padded,
                b: Dst(x.as_mut_ptr()),
                b_step: inputs.padded,
                b_panel: PANEL,
                c: Dst(c.as_mut_ptr()),
                c_row: inputs.padded,
                accumulate: !first,
            },
            count: POINTS,
            a: self.point(outputs),
            b: self.point(inputs),
            c: of.len() * PANEL * inputs.padded,
            rows: (outputs.channels.min(of.end * PANEL) - begin).div_ceil(ROWS),
            a_rows: ROWS,
            c_rows: ROWS * inputs.padded,
            panels: inputs.padded / PANEL,
        };
        // SAFETY: as in `multiply`; `c` holds a padded matrix a point.
        unsafe { products.run::<W>(self.least()) }
    }

    /// The points of a chunk in words that hold the numbers of neighbouring tiles, not of neighbouring channels.
    fn words_of_tiles<'p, W: Word>(&self, side: &Side, points: &'p mut [f32]) -> &'p mut [f32] {
        let (rows, numbers) = (self.rows(), side.padded);
        // SAFETY: a point has room for a word a number, of which its words take the first part.
        points
            .par_chunks_mut(self.point(side))
            .with_min_len(self.least())
            .for_each(|point| unsafe { W::of_rows(point.as_mut_ptr(), rows, numbers) });
        &mut points[rows * (numbers - numbers / W::NUMBERS)..]
    }

    /// The gradient for the weights from the sums of [`Self::correlate`] over parts of the chunks.
    pub(super) fn collect<'s, W: Word, const R: usize>(&self, parts: impl Iterator<Item = &'s [f32]>, dw: &mut [f32]) {
        self.collect_of::<W, R>(parts, self.all(&self.outputs), dw);
    }

    /// The same for some panels of output channels.
    fn collect_of<'s, W: Word, const R: usize>(
        &self,
        parts: impl Iterator<Item = &'s [f32]>,
        of: Range<usize>,
        dw: &mut [f32],
    ) {
        let (row, point) = (self.inputs.padded, of.len() * PANEL * self.inputs.padded);
        let len = self.g.channels * R * R;
        let dw = &mut dw[of.start * PANEL * len..len * self.g.out_channels.min(of.end * PANEL)];
        let parts: Vec<&[f32]> = parts.collect();
        let mut put = |from: &[f32]| {
            dw.par_chunks_mut(len).enumerate().for_each(|(o, dw)| {
                W::dispatch(WeightFromPoints::<W, R> { dw, from: from[o * row..].as_ptr(), point, words: PhantomData });
            });
        };
        let [first, rest @ ..] = &parts[..] else { return };
        if rest.is_empty() {
            return put(first);
        }
        f32::with_scratch(POINTS * point, |sums| {
            sums.par_chunks_mut(point).enumerate().for_each(|(i, sums)| {
                let of = i * point..(i + 1) * point;
                sums.copy_from_slice(&first[of.clone()]);
                for part in rest {
                    sums.iter_mut().zip(&part[of.clone()]).for_each(|(sum, x)| *sum += x);
                }
            });
            put(sums);
        });
    }
}
