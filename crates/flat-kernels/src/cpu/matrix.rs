//! Matrix products: [`multiply`] runs on all threads, `product` on one for kernels that split their work themselves.

use super::block::{Block, PANEL, ROWS};
use super::buffer::{Dst, single};
use super::channel_last::pack;
use super::word::Single;
use crate::Float;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// A matrix in memory: where it starts and how far apart its columns and rows are.
#[derive(Clone, Copy)]
pub struct View<P> {
    /// From the first element on.
    pub data: P,
    /// Distance of neighbouring rows.
    pub row_stride: usize,
    /// Distance of neighbouring columns.
    pub col_stride: usize,
}

impl<P> View<P> {
    /// The same places of other data.
    pub(crate) fn of<Q>(self, data: Q) -> View<Q> {
        View { data, row_stride: self.row_stride, col_stride: self.col_stride }
    }
}

/// A matrix stored row by row.
pub fn rows<T>(data: &[T], row_len: usize) -> View<&[T]> {
    View { data, row_stride: row_len, col_stride: 1 }
}

/// The transpose of a matrix stored row by row.
pub fn transposed<T>(data: &[T], row_len: usize) -> View<&[T]> {
    View { data, row_stride: 1, col_stride: row_len }
}

/// Multiplications a task should at least do.
const TASK: usize = 1 << 20;

/// `a (n, k) b (k, m)`, added to `bias (m)` where given; split into blocks whose size depends on the shape alone.
pub fn multiply<T: Float>(
    (n, m, k): (usize, usize, usize),
    a: View<&[T]>,
    b: View<&[T]>,
    bias: Option<&[T]>,
) -> Vec<T> {
    let mut out = match bias {
        Some(bias) => bias.iter().copied().cycle().take(n * m).collect(),
        None => vec![T::default(); n * m],
    };
    if k == 0 {
        return out;
    }
    let by_rows = n >= m;
    let (long, short) = if by_rows { (n, m) } else { (m, n) };
    // at most 16 blocks of a multiple of 64 rows or columns
    let block = (TASK / (short * k).max(1)).max(long.div_ceil(16)).next_multiple_of(64).min(long.max(1));
    let dst = Dst(out.as_mut_ptr());
    (0..long.div_ceil(block)).into_par_iter().for_each(|i| {
        let (start, len) = (i * block, block.min(long - i * block));
        // SAFETY: each task writes its own block of rows or columns of `out`.
        unsafe {
            if by_rows {
                let a = View { data: &a.data[start * a.row_stride..], ..a };
                product((len, m, k), dst.at(start * m), m, bias.is_some(), a, b);
            } else {
                let b = View { data: &b.data[start * b.col_stride..], ..b };
                product((n, len, k), dst.at(start), m, bias.is_some(), a, b);
            }
        }
    });
    out
}

/// `dst (m x n, row by row, rows `dst_stride` apart) <- lhs (m x k) rhs (k x n)`, or `<- dst + ...` with `accumulate`.
///
/// In f32 by the blocks of [`super::block`], in f64 by the gemm crate.
///
/// # Safety
/// `dst` must point at `m` rows of `n` elements, `dst_stride` apart, that nothing else touches during the call.
pub(crate) unsafe fn product<T: Float>(
    (m, n, k): (usize, usize, usize),
    dst: *mut T,
    dst_stride: usize,
    accumulate: bool,
    lhs: View<&[T]>,
    rhs: View<&[T]>,
) {
    if m == 0 || n == 0 {
        return;
    }
    let last = |v: &View<&[T]>, r: usize, c: usize| (r - 1) * v.row_stride + (c - 1) * v.col_stride;
    assert!(
        k > 0 && last(&lhs, m, k) < lhs.data.len() && last(&rhs, k, n) < rhs.data.len(),
        "matrix product out of bounds"
    );
    if let (Some(left), Some(right)) = (single(lhs.data), single(rhs.data)) {
        // SAFETY: as the caller promised; T is f32.
        unsafe { panels((m, n, k), dst.cast(), dst_stride, accumulate, lhs.of(left), rhs.of(right)) };
        return;
    }
    // SAFETY: both operands were checked to lie within their slices, the caller answers for `dst`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst,
            1,
            dst_stride as isize,
            accumulate,
            lhs.data.as_ptr(),
            lhs.col_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.col_stride as isize,
            rhs.row_stride as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Depth of the products that are summed in registers before they go to memory.
const DEPTH: usize = 512;
/// Columns multiplied together.
const COLS: usize = 2 * PANEL;

/// [`product`] in f32: two panels of `rhs` are laid out and meet all rows of `lhs`, before the next two are.
///
/// # Safety
/// As [`product`], and the operands must be in bounds.
unsafe fn panels(
    (m, n, k): (usize, usize, usize),
    dst: *mut f32,
    dst_stride: usize,
    accumulate: bool,
    lhs: View<&[f32]>,
    rhs: View<&[f32]>,
) {
    let depth = k.min(DEPTH);
    f32::with_scratch((COLS + ROWS) * depth + ROWS * COLS, |scratch| {
        let (packed, scratch) = scratch.split_at_mut(COLS * depth);
        let (rest, edge) = scratch.split_at_mut(ROWS * depth);
        for (col, from) in (0..n).step_by(COLS).flat_map(|col| (0..k).step_by(DEPTH).map(move |from| (col, from))) {
            let (cols, depth) = (COLS.min(n - col), DEPTH.min(k - from));
            lay_out(rhs, (from, depth), (col, cols), packed);
            let whole = m / ROWS * ROWS;
            if whole < m {
                // the last rows, with zeros below
                for i in 0..ROWS {
                    for l in 0..depth {
                        let at = (whole + i) * lhs.row_stride + (from + l) * lhs.col_stride;
                        rest[i * depth + l] = if whole + i < m { lhs.data[at] } else { 0.0 };
                    }
                }
            }
            let block = Block {
                k: depth,
                a: Dst(lhs.data[from * lhs.col_stride..].as_ptr().cast_mut()),
                a_row: lhs.row_stride,
                a_step: lhs.col_stride,
                b: Dst(packed.as_mut_ptr()),
                b_step: COLS,
                b_panel: PANEL,
                c: Dst(dst.wrapping_add(col)),
                c_row: dst_stride,
                accumulate: accumulate || from > 0,
            };
            let rest = Block { a: Dst(rest.as_mut_ptr()), a_row: depth, a_step: 1, ..block };
            Arch::new().dispatch(Rows { block, rest, rows: m, cols, edge });
        }
    });
}

/// `depth` rows and `cols` columns of a matrix as rows of [`COLS`], zeros behind.
fn lay_out(v: View<&[f32]>, (from, depth): (usize, usize), (col, cols): (usize, usize), packed: &mut [f32]) {
    let data = &v.data[from * v.row_stride + col * v.col_stride..];
    if v.col_stride == 1 {
        for (l, row) in packed.chunks_exact_mut(COLS).take(depth).enumerate() {
            row[..cols].copy_from_slice(&data[l * v.row_stride..][..cols]);
            row[cols..].fill(0.0);
        }
        return;
    }
    if v.row_stride == 1 && cols == COLS {
        pack(data, v.col_stride, packed, COLS, depth);
        pack(&data[PANEL * v.col_stride..], v.col_stride, &mut packed[PANEL..], COLS, depth);
        return;
    }
    for (l, row) in packed.chunks_exact_mut(COLS).take(depth).enumerate() {
        row[cols..].fill(0.0);
        row[..cols].iter_mut().enumerate().for_each(|(j, x)| *x = data[l * v.row_stride + j * v.col_stride]);
    }
}

/// All rows of the left operand times one layout of the right.
struct Rows<'a> {
    /// The first rows.
    block: Block,
    /// The last rows, where they do not fill a block.
    rest: Block,
    rows: usize,
    cols: usize,
    /// Room for a block that does not fit its destination.
    edge: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, rest, rows, cols, edge } = self;
        for row in (0..rows).step_by(ROWS) {
            let c = Dst(block.c.at(row * block.c_row));
            let full = row + ROWS <= rows;
            let part =
                if full { Block { a: Dst(block.a.at(row * block.a_row)), c, ..block } } else { Block { c, ..rest } };
            // SAFETY: `product` checked the operands; what does not fit the destination goes by the edge.
            unsafe {
                if full && cols.is_multiple_of(PANEL) {
                    part.run::<Single, S>(simd, cols / PANEL);
                } else {
                    let place = Block { c: Dst(edge.as_mut_ptr()), c_row: COLS, accumulate: false, ..part };
                    place.run::<Single, S>(simd, cols.div_ceil(PANEL));
                    for i in 0..ROWS.min(rows - row) {
                        for j in 0..cols {
                            let (to, x) = (c.at(i * block.c_row + j), edge[i * COLS + j]);
                            *to = if block.accumulate { *to + x } else { x };
                        }
                    }
                }
            }
        }
    }
}
