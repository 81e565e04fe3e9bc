//! A convolution as products of shifted rows (implicit im2col). The images of a chunk lie one behind the other on a grid
//! with zeros between their rows, and a window's element is a shift along it.
//!
//! With stride `s` the input is split into `s * s` phases, the pixels of equal remainder in both directions, so that a
//! shift suffices there too. A window over few channels is unfolded instead: each of its elements is a channel of its own.

use super::block::{DEPTH, SIDE};
use crate::Geometry;

/// Channels below which windows are unfolded.
const FEW: usize = 8;
/// Elements of a window over all channels up to which they are.
const UNFOLDED: usize = 256;

/// One operand's channel: pixel `(row, col)` of the grid is `(step row + y, step col + x)` of the plane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub plane: usize,
    pub y: isize,
    pub x: isize,
}

/// How the planes of an image lie on the grid.
#[derive(Debug, Clone)]
pub(super) struct Planes {
    pub lines: Vec<Line>,
    pub step: usize,
    /// Planes an image, and their size.
    pub count: usize,
    pub h: usize,
    pub w: usize,
    /// Rows and columns of the grid that they cover.
    pub rows: usize,
    pub cols: usize,
}

impl Planes {
    /// Elements of an image.
    pub(super) fn image(&self) -> usize {
        self.count * self.h * self.w
    }

    /// The columns of the grid, from .. to, where a line lies within its plane.
    #[inline(always)]
    pub(super) fn span(&self, line: Line) -> (usize, usize) {
        let from = usize::try_from(-line.x).unwrap_or(0).div_ceil(self.step).min(self.cols);
        let end = usize::try_from(self.w as isize - line.x).unwrap_or(0).div_ceil(self.step).min(self.cols);
        (from, end.max(from))
    }

    /// The row of its plane that a line has in a row of the grid; `None` beyond the plane.
    #[inline(always)]
    pub(super) fn inside(&self, line: Line, row: usize) -> Option<usize> {
        usize::try_from((row * self.step) as isize + line.y).ok().filter(|y| *y < self.h)
    }

    /// Where in an image the element of a line is, at a row of its plane and a column of the grid.
    #[inline(always)]
    pub(super) fn at(&self, line: Line, y: usize, col: usize) -> usize {
        let x = (col * self.step) as isize + line.x;
        (line.plane * self.h + y) * self.w + x as usize
    }
}

/// A window's element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tap {
    /// Its place in the window, row by row.
    pub element: usize,
    /// From an output's place to the input that it multiplies.
    pub shift: isize,
}

/// The pixels of equal remainder, and the elements of a window that meet them.
#[derive(Debug, Clone)]
pub(super) struct Phase {
    pub x: Planes,
    pub taps: Vec<Tap>,
}

/// A convolution on its grid.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    /// Places an image.
    pub places: usize,
    pub cols: usize,
    pub phases: Vec<Phase>,
    pub y: Planes,
    /// Elements of a window that are apart from each other; 1 where windows are unfolded.
    pub elements: usize,
    /// Places before the first image and behind the last that shifts reach.
    pub reach: usize,
}

impl Grid {
    /// By phases, or with unfolded windows where that is the better and `unfold` allows it.
    pub(super) fn new(g: &Geometry, unfold: bool) -> Self {
        let elements = g.kh * g.kw;
        if g.kh == 1 && g.kw == 1 && g.stride == 1 && g.padding == 0 {
            // rows are of no account
            return Self::phases(&Geometry { h: 1, w: g.h * g.w, oh: 1, ow: g.oh * g.ow, ..*g });
        }
        if unfold && g.channels < FEW && elements > 1 && g.channels * elements <= UNFOLDED {
            return Self::unfolded(g);
        }
        Self::phases(g)
    }

    fn outputs(g: &Geometry) -> Planes {
        let line = |plane| Line { plane, y: 0, x: 0 };
        Planes {
            lines: (0..g.out_channels).map(line).collect(),
            step: 1,
            count: g.out_channels,
            h: g.oh,
            w: g.ow,
            rows: g.oh,
            cols: g.ow,
        }
    }

    fn unfolded(g: &Geometry) -> Self {
        let p = g.padding as isize;
        let line =
            |k: usize| Line { plane: k / (g.kh * g.kw), y: (k / g.kw % g.kh) as isize - p, x: (k % g.kw) as isize - p };
        let lines = (0..g.channels * g.kh * g.kw).map(line).collect();
        let x = Planes { lines, step: g.stride, count: g.channels, h: g.h, w: g.w, rows: g.oh, cols: g.ow };
        let phases = vec![Phase { x, taps: vec![Tap { element: 0, shift: 0 }] }];
        Self { places: g.oh * g.ow, cols: g.ow, phases, y: Self::outputs(g), elements: 1, reach: 0 }
    }

    fn phases(g: &Geometry) -> Self {
        let s = g.stride as isize;
        // an element's distance from its output, as a remainder and whole steps
        let split = |k: usize| {
            let off = k as isize - g.padding as isize;
            (off.rem_euclid(s), off.div_euclid(s))
        };
        let extent = |kernel: usize, len: usize, out: usize| {
            let steps = || (0..kernel).map(|k| split(k).1);
            let before = steps().map(|r| -r).max().unwrap_or(0).max(0) as usize;
            let behind = steps().max().unwrap_or(0).max(0) as usize;
            let own = len.div_ceil(g.stride);
            (own, (own + before).max(out + behind))
        };
        let ((rows, grid_rows), (cols, grid_cols)) = (extent(g.kh, g.h, g.oh), extent(g.kw, g.w, g.ow));
        let mut phases: Vec<((isize, isize), Phase)> = Vec::new();
        let mut reach = 0;
        for element in 0..g.kh * g.kw {
            let ((a, r), (b, c)) = (split(element / g.kw), split(element % g.kw));
            let shift = r * grid_cols as isize + c;
            reach = reach.max(shift.unsigned_abs());
            let tap = Tap { element, shift };
            if let Some((_, phase)) = phases.iter_mut().find(|(of, _)| *of == (a, b)) {
                phase.taps.push(tap);
                continue;
            }
            let lines = (0..g.channels).map(|plane| Line { plane, y: a, x: b }).collect();
            let x = Planes { lines, step: g.stride, count: g.channels, h: g.h, w: g.w, rows, cols };
            phases.push(((a, b), Phase { x, taps: vec![tap] }));
        }
        let phases = phases.into_iter().map(|(_, phase)| phase).collect();
        let y = Self::outputs(g);
        Self { places: grid_rows * grid_cols, cols: grid_cols, phases, y, elements: g.kh * g.kw, reach }
    }

    /// Images that a task takes together: as many as keep `width` channels of bf16 within `bytes`, and at most an eighth of all.
    pub(super) fn chunk(&self, n: usize, width: usize, bytes: usize) -> usize {
        (bytes / (2 * width.next_multiple_of(DEPTH) * self.places).max(1)).min(n.div_ceil(8)).max(1)
    }

    /// Places before an image's first and behind its last that may be read.
    pub(super) fn guard(&self) -> usize {
        self.reach.next_multiple_of(SIDE)
    }

    /// Numbers a channel's row has for `images`, with guards at both ends: an odd number of cache lines that hold `line` each, so that
    /// neighbouring channels fall into different sets of the cache.
    pub(super) fn row(&self, images: usize, line: usize) -> usize {
        ((2 * self.guard() + (images * self.places).next_multiple_of(SIDE)).div_ceil(line) | 1) * line
    }
}
