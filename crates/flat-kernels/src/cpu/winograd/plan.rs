//! How one convolution is cut into tiles, and the steps that all passes are made of.

use super::tiles::{FromPoints, ToPoints, WeightFromPoints, WeightPoints};
use super::transform::{POINTS, TILE};
use crate::cpu::block::{Block, PANEL, Products, ROWS};
use crate::cpu::buffer::Dst;
use crate::cpu::channel_last::Strip;
use crate::cpu::norm::Again;
use crate::cpu::word::Word;
use crate::{Float, Geometry};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Numbers that the transformed images of a chunk may take where all threads work on it: 12 MB, which a last-level cache holds.
const CHUNK: usize = 3 << 20;

/// The same where a thread has a chunk of its own: 768 KB, which a core's cache holds.
const OWN_CHUNK: usize = 3 << 16;

/// Chunks that are needed for each thread to have its own.
const OWN_CHUNKS: usize = 8;

/// Numbers of the transformed weights up to which threads have chunks of their own: they are read once a chunk.
const OWN_WEIGHTS: usize = 3 << 18;

/// How one convolution is cut.
#[derive(Clone, Copy)]
pub(super) struct Plan<'g> {
    g: &'g Geometry,
    /// Tiles of an image, down and across.
    down: usize,
    across: usize,
    /// Images of a chunk.
    images: usize,
    /// Whether a thread works on a chunk alone.
    own: bool,
    pub(super) inputs: Side,
    pub(super) outputs: Side,
}

/// One side of a convolution: its images, and the strips they are turned around in.
#[derive(Clone, Copy)]
pub(super) struct Side {
    h: usize,
    w: usize,
    channels: usize,
    /// Channels, padded to whole panels.
    pub(super) padded: usize,
    strip: Strip,
}

impl Side {
    pub(super) fn new((channels, h, w): (usize, usize, usize), rows: usize, cols: usize, border: usize) -> Self {
        Self { h, w, channels, padded: channels.next_multiple_of(PANEL), strip: Strip { rows, cols, border } }
    }

    /// Elements of an image.
    pub(super) fn image(&self) -> usize {
        self.channels * self.h * self.w
    }
}

impl<'g> Plan<'g> {
    pub(super) fn new<const M: usize>(g: &'g Geometry) -> Self {
        Self::of::<M>(g, OWN_WEIGHTS)
    }

    /// A plan for passes along several directions, each of which has weights and sums.
    pub(super) fn along<const M: usize>(g: &'g Geometry) -> Self {
        Self::of::<M>(g, OWN_WEIGHTS / 4)
    }

    /// A plan for passes that all threads make together.
    pub(super) fn together<const M: usize>(g: &'g Geometry) -> Self {
        Self::of::<M>(g, 0)
    }

    fn of<const M: usize>(g: &'g Geometry, own_weights: usize) -> Self {
        let (down, across) = (g.oh.div_ceil(M), g.ow.div_ceil(M));
        let (rows, cols) = ((down - 1) * M + TILE, (across - 1) * M + TILE);
        let inputs = Side::new((g.channels, g.h, g.w), rows, cols, g.padding);
        let outputs = Side::new((g.out_channels, g.oh, g.ow), down * M, across * M, 0);
        let chunks = |numbers: usize| {
            let most = (numbers / (POINTS * down * across * (inputs.padded + outputs.padded))).clamp(1, g.n);
            g.n.div_ceil(most)
        };
        let may_own = POINTS * inputs.padded * outputs.padded <= own_weights;
        let own = Some(chunks(OWN_CHUNK)).filter(|chunks| may_own && *chunks >= OWN_CHUNKS);
        let images = g.n.div_ceil(own.unwrap_or_else(|| chunks(CHUNK))); // chunks of nearly equal size
        Self { g, down, across, images, own: own.is_some(), inputs, outputs }
    }

    /// Tiles of an image.
    pub(super) fn tiles(&self) -> usize {
        self.down * self.across
    }

    /// Tiles of a chunk, padded.
    pub(super) fn rows(&self) -> usize {
        (self.images * self.tiles()).next_multiple_of(ROWS)
    }

    /// Distance of the matrices of neighbouring points: a cache line more than they take, so that the points of a tile
    /// do not compete for one place in the cache.
    pub(super) fn point(&self, side: &Side) -> usize {
        self.rows() * side.padded + PANEL
    }

    /// Length of the transformed images of a chunk.
    pub(super) fn len(&self, side: &Side) -> usize {
        POINTS * self.point(side)
    }

    /// Least number of items that a thread takes of the work on a chunk. Where there are more threads than chunks for sure, they
    /// share chunks.
    fn least(&self) -> usize {
        if self.own && rayon::current_num_threads() <= OWN_CHUNKS { usize::MAX } else { 1 }
    }

    /// Runs `f` over chunks: each on a thread of its own, or one after the other.
    pub(super) fn each<I: IndexedParallelIterator>(&self, chunks: I, f: impl Fn(I::Item) + Sync + Send) {
        chunks.with_min_len(if self.own { 1 } else { usize::MAX }).for_each(f);
    }

    /// Chunks whose sums are added up before those of others: an eighth of them, or all.
    pub(super) fn summed(&self) -> usize {
        let chunks = self.g.n.div_ceil(self.images);
        if self.own { chunks.div_ceil(OWN_CHUNKS) } else { chunks }
    }

    /// Sums over how many parts of the chunks there are.
    pub(super) fn parts(&self) -> usize {
        self.g.n.div_ceil(self.images).div_ceil(self.summed())
    }

    /// Images of a side, a chunk at a time.
    pub(super) fn chunk(&self, side: &Side) -> usize {
        self.images * side.image()
    }

    /// Transforms the images of a chunk: inputs with `B^T`, or output gradients with `A`.
    pub(super) fn transform<W: Word, const M: usize>(
        &self,
        side: &Side,
        adjoint: bool,
        images: &[f32],
        points: &mut [f32],
    ) {
        self.transform_made::<W, M>(side, adjoint, (images, None), points);
    }

    /// The same with images made again from those at hand, where it is said how.
    pub(super) fn transform_made<W: Word, const M: usize>(
        &self,
        side: &Side,
        adjoint: bool,
        (images, again): (&[f32], Option<&Again>),
        points: &mut [f32],
    ) {
        let (plane, point, row) = (side.h * side.w, self.point(side), side.padded / W::NUMBERS);
        let to = Dst(points.as_mut_ptr());
        images.par_chunks(side.image()).enumerate().with_min_len(self.least()).for_each(|(image, planes)| {
            f32::with_scratch(side.strip.len(), |strip| {
                for (panel, planes) in planes.chunks(PANEL * plane).enumerate() {
                    side.strip.read(planes, (side.h, side.w), strip, |row| {
                        if let Some(again) = again {
                            again.apply(panel, row);
                        }
                    });
                    W::dispatch(ToPoints::<W, M> {
                        strip,
                        cols: side.strip.cols,
                        grid: (self.down, self.across),
                        adjoint,
                        to: to.at(image * self.tiles() * row + panel * (PANEL / W::NUMBERS)),
                        tile: row,
                        point,
                        words: PhantomData,
                    });
                }
            });
        });
        // the rows that pad the matrices must hold numbers
        let used = images.len() / side.image() * self.tiles();
        points.chunks_mut(point).for_each(|matrix| matrix[used * row..self.rows() * row].fill(0.0));
    }

    /// Transforms the points of a chunk back to images, all of them: outputs with `A^T`, or input gradients with `B`.
    pub(super) fn restore<W: Word, const M: usize>(
        &self,
        side: &Side,
        adjoint: bool,
        points: &[f32],
        images: &mut [MaybeUninit<f32>],
        shift: Option<&[f32]>,
    ) {
        let plane = side.h * side.w;
        images.par_chunks_mut(side.image()).enumerate().with_min_len(self.least()).for_each(|(image, planes)| {
            f32::with_scratch(side.strip.len(), |strip| {
                for (panel, planes) in planes.chunks_mut(PANEL * plane).enumerate() {
                    if adjoint {
                        strip.fill(0.0);
                    }
                    W::dispatch(FromPoints::<W, M> {
                        strip,
                        cols: side.strip.cols,
                        grid: (self.down, self.across),
                        adjoint,
                        from: points[image * self.tiles() * side.padded + panel * PANEL..].as_ptr(),
                        tile: side.padded,
                        point: self.point(side),
                        words: PhantomData,
                    });
                    side.strip.write(strip, planes, (side.h, side.w), shift.map(|s| &s[panel * PANEL..]));
                }
            });
        });
    }

    /// The weights' points, panel by panel of the columns of the product: output channels, or input channels.
    pub(super) fn weights<W: Word, const R: usize>(&self, w: &[f32], adjoint: bool, points: &mut [f32]) {
        let (taps, g) = (R * R, self.g);
        let (from, into) = ((g.channels, taps), (g.out_channels, g.channels * taps));
        let ((lanes, lane), (steps, step)) = if adjoint { (from, into) } else { (into, from) };
        let (panels, words) = (lanes.div_ceil(PANEL), steps.div_ceil(W::NUMBERS));
        let to = Dst(points.as_mut_ptr());
        (0..panels).into_par_iter().for_each(|panel| {
            W::dispatch(WeightPoints::<W, R> {
                w: &w[panel * PANEL * lane..],
                lanes: PANEL.min(lanes - panel * PANEL),
                lane,
                steps,
                step,
                to: to.at(panel * words * PANEL),
                point: panels * words * PANEL,
                words: PhantomData,
            });
        });
    }

    /// `from (tiles x channels) * weights (channels x channels of to)` at every point, added to what is there or not.
    pub(super) fn multiply<W: Word>(
        &self,
        (from, a): (&Side, &mut [f32]),
        weights: &[f32],
        (to, c): (&Side, &mut [f32]),
        accumulate: bool,
    ) {
        let (k, panels, row) = (from.channels.div_ceil(W::NUMBERS), to.padded / PANEL, from.padded / W::NUMBERS);
        let products = Products {
            block: Block {
                k,
                a: Dst(a.as_mut_ptr()),
                a_row: row,
                a_step: 1,
                b: Dst(weights.as_ptr().cast_mut()),
                b_step: PANEL,
                b_panel: k * PANEL,
                c: Dst(c.as_mut_ptr()),
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
        let (inputs, outputs) = (&self.inputs, &self.outputs);
        let (gy, x) = (self.words_of_tiles::<W>(outputs, gy), self.words_of_tiles::<W>(inputs, x));
        let products = Products {
            block: Block {
                k: self.rows() / W::NUMBERS,
                a: Dst(gy.as_mut_ptr()),
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
            c: outputs.padded * inputs.padded,
            rows: outputs.channels.div_ceil(ROWS),
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
        let (row, point) = (self.inputs.padded, self.outputs.padded * self.inputs.padded);
        let parts: Vec<&[f32]> = parts.collect();
        f32::with_scratch(POINTS * point, |sums| {
            sums.par_chunks_mut(point).enumerate().for_each(|(i, sums)| {
                for (k, part) in parts.iter().enumerate() {
                    let part = &part[i * point..(i + 1) * point];
                    if k == 0 {
                        sums.copy_from_slice(part);
                    } else {
                        sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
                    }
                }
            });
            let from = &*sums;
            dw.par_chunks_mut(self.g.channels * R * R).enumerate().for_each(|(o, dw)| {
                W::dispatch(WeightFromPoints::<W, R> { dw, from: from[o * row..].as_ptr(), point, words: PhantomData });
            });
        });
    }

    /// Scratch for the points of a chunk's inputs, its outputs, and `rest` numbers.
    pub(super) fn with_points<O>(&self, rest: usize, f: impl FnOnce(&mut [f32], &mut [f32], &mut [f32]) -> O) -> O {
        let (x, y) = (self.len(&self.inputs), self.len(&self.outputs));
        f32::with_scratch(x + y + rest, |scratch| {
            let (x, scratch) = scratch.split_at_mut(x);
            let (y, rest) = scratch.split_at_mut(y);
            f(x, y, rest)
        })
    }
}
