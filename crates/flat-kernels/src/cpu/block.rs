//! Matrix products from small blocks held in registers, for operands that their kernels lay out as they are read.

// registers are addressed by number: iterators' closures would be compiled without the kernel's instructions
#![allow(clippy::needless_range_loop)]

use super::buffer::Dst;
use super::lanes::Lanes;
use super::word::Word;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::marker::PhantomData;

/// Rows of a block: operands are padded to multiples of it.
pub(crate) const ROWS: usize = 8;
/// Columns of a panel: a cache line of f32.
pub(crate) const PANEL: usize = 16;

/// `C (8 x n) <- A (8 x k) B (k x n)`, or `<- C + ...`, for operands of words: where they lie.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub k: usize,
    /// A's element (i, l) is at `i * a_row + l * a_step`.
    pub a: Dst<f32>,
    pub a_row: usize,
    pub a_step: usize,
    /// B's element (l, 16 p + j) is at `l * b_step + p * b_panel + j`.
    pub b: Dst<f32>,
    pub b_step: usize,
    pub b_panel: usize,
    /// C's element (i, j) is at `i * c_row + j`.
    pub c: Dst<f32>,
    pub c_row: usize,
    pub accumulate: bool,
}

impl Block {
    /// The product for one or two panels of columns.
    ///
    /// # Safety
    /// All elements must lie in memory, those of C touched by nobody else.
    #[inline(always)]
    pub(crate) unsafe fn run<W: Word, S: Simd>(self, simd: S, panels: usize) {
        // sixteen sums in registers of a panel's width, eight where there are fewer and narrower ones
        // SAFETY: the caller's promise; the parts cover the block.
        unsafe {
            if Lanes::<S>::N == PANEL {
                if panels == 2 {
                    self.part::<W, S, ROWS, 2>(simd, 0, 0)
                } else {
                    self.part::<W, S, ROWS, 1>(simd, 0, 0)
                }
            } else if Lanes::<S>::N == PANEL / 2 {
                for p in 0..panels {
                    self.part::<W, S, { ROWS / 2 }, 2>(simd, 0, p * PANEL);
                    self.part::<W, S, { ROWS / 2 }, 2>(simd, ROWS / 2, p * PANEL);
                }
            } else {
                let n = Lanes::<S>::N;
                for j in 0..panels * PANEL / n {
                    self.part::<W, S, ROWS, 1>(simd, 0, j * n);
                }
            }
        }
    }

    /// `R` rows from `row`, `N` registers of columns from `column`.
    ///
    /// # Safety
    /// As in [`Self::run`].
    #[inline(always)]
    unsafe fn part<W: Word, S: Simd, const R: usize, const N: usize>(self, simd: S, row: usize, column: usize) {
        let n = Lanes::<S>::N;
        let c = self.c.at(row * self.c_row + column);
        let mut sums = [[Lanes::splat(simd, 0.0); N]; R];
        let mut a = self.a.at(row * self.a_row).cast_const();
        let mut b = [self.b.at(0).cast_const(); N];
        for j in 0..N {
            let at = column + j * n;
            b[j] = b[j].wrapping_add(at / PANEL * self.b_panel + at % PANEL);
        }
        // SAFETY: the caller's promise.
        unsafe {
            if self.accumulate {
                for i in 0..R {
                    for j in 0..N {
                        sums[i][j] = Lanes::load(simd, c.add(i * self.c_row + j * n));
                    }
                }
            }
            for _ in 0..self.k {
                let mut rhs = [Lanes::splat(simd, 0.0); N];
                for j in 0..N {
                    rhs[j] = Lanes::load(simd, b[j]);
                    b[j] = b[j].wrapping_add(self.b_step);
                }
                for i in 0..R {
                    let lhs = Lanes::splat(simd, *a.add(i * self.a_row));
                    for j in 0..N {
                        sums[i][j] = W::multiply(lhs, rhs[j], sums[i][j]);
                    }
                }
                a = a.wrapping_add(self.a_step);
            }
            for i in 0..R {
                for j in 0..N {
                    sums[i][j].store(c.add(i * self.c_row + j * n));
                }
            }
        }
    }
}

/// Many products of one shape.
#[derive(Clone, Copy)]
pub(crate) struct Products {
    /// The first block of the first product.
    pub block: Block,
    /// Products, and how far apart they have their operands.
    pub count: usize,
    pub a: usize,
    pub b: usize,
    pub c: usize,
    /// Blocks of rows, and how far apart A and C have them.
    pub rows: usize,
    pub a_rows: usize,
    pub c_rows: usize,
    /// Panels of columns.
    pub panels: usize,
}

/// Panels that one task multiplies at most.
const TASK_PANELS: usize = 8;

impl Products {
    /// All of them, in parallel.
    ///
    /// # Safety
    /// All elements must lie in memory, those of the results apart from each other and touched by nobody else.
    pub(crate) unsafe fn run<W: Word>(self, least: usize) {
        let groups = self.panels.div_ceil(TASK_PANELS);
        (0..self.count * groups).into_par_iter().with_min_len(least).for_each(|task| {
            let (product, first) = (task / groups, task % groups * TASK_PANELS);
            let block = self.block;
            let part = Self {
                block: Block {
                    a: Dst(block.a.at(product * self.a)),
                    b: Dst(block.b.at(product * self.b + first * block.b_panel)),
                    c: Dst(block.c.at(product * self.c + first * PANEL)),
                    ..block
                },
                panels: TASK_PANELS.min(self.panels - first),
                ..self
            };
            W::dispatch(One::<W>(part, PhantomData));
        });
    }
}

/// One product, by one thread.
struct One<W>(Products, PhantomData<W>);

impl<W: Word> WithSimd for One<W> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Products { block, rows, a_rows, c_rows, panels, .. } = self.0;
        let mut panel = 0;
        // a panel of B stays in the nearest cache while all rows pass
        while panel < panels {
            let width = 2.min(panels - panel);
            for row in 0..rows {
                let part = Block {
                    a: Dst(block.a.at(row * a_rows)),
                    b: Dst(block.b.at(panel * block.b_panel)),
                    c: Dst(block.c.at(row * c_rows + panel * PANEL)),
                    ..block
                };
                // SAFETY: who called `Products::run` answers for the operands.
                unsafe { part.run::<W, S>(simd, width) }
            }
            panel += width;
        }
    }
}
