//! How one convolution is cut into tiles, and the steps that all passes are made of.

use super::tiles::{FromPoints, ToPoints};
use super::transform::{POINTS, TILE};
use crate::cpu::block::{PANEL, ROWS};
use crate::cpu::buffer::Dst;
use crate::cpu::channel_last::Strip;
use crate::cpu::norm::Again;
use crate::cpu::word::Word;
use crate::{Float, Geometry};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Numbers that the transformed images of a chunk may take where all threads work on it: 12 MB, which a last-level cache holds.
const CHUNK: usize = 3 << 20;

/// The same where a thread has a chunk of its own: 768 KB, which a core's cache holds.
const OWN_CHUNK: usize = 3 << 16;

/// Chunks that are needed for each thread to have its own.
const OWN_CHUNKS: usize = 8;

/// Numbers of the transformed weights up to which threads have chunks of their own: they are read once a chunk.
const OWN_WEIGHTS: usize = 3 << 18;

/// Numbers that transformed weights may take at a time where one chunk has all images: 16 MB.
const WEIGHTS: usize = 4 << 20;

/// How one convolution is cut.
#[derive(Clone, Copy)]
pub(super) struct Plan<'g> {
    pub(super) g: &'g Geometry,
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
    pub(super) channels: usize,
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
    pub(super) fn least(&self) -> usize {
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

    /// Whether one chunk has all images: then the weights are many, and a block of channels is worked on at a time.
    pub(super) fn is_one_chunk(&self) -> bool {
        self.images == self.g.n
    }

    /// All panels of a side.
    pub(super) fn all(&self, side: &Side) -> Range<usize> {
        0..side.padded / PANEL
    }

    /// The panels of a side, as many at a time as leave their weights within bounds.
    pub(super) fn blocks(&self, side: &Side, other: &Side) -> impl Iterator<Item = Range<usize>> + use<> {
        let all = side.padded / PANEL;
        let most = (WEIGHTS / (POINTS * PANEL * other.padded)).clamp(1, all);
        let panels = all.div_ceil(all.div_ceil(most)); // blocks of nearly equal size
        (0..all).step_by(panels).map(move |first| first..all.min(first + panels))
    }

    /// Length of the transformed weights of the longest of [`Self::blocks`].
    pub(super) fn block(&self, side: &Side, other: &Side) -> usize {
        self.blocks(side, other).next().map_or(0, |panels| POINTS * PANEL * panels.len() * other.padded)
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
