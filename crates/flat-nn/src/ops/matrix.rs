//! Matrix products of one thread each, for kernels that split their work themselves.

use super::float::Float;

/// A matrix in memory: where it starts and how far apart its columns and rows are.
#[derive(Clone, Copy)]
pub(crate) struct View<P> {
    pub data: P,
    pub row_stride: usize,
    pub col_stride: usize,
}

/// A matrix stored row by row.
pub(crate) fn rows<T>(data: &[T], row_len: usize) -> View<&[T]> {
    View { data, row_stride: row_len, col_stride: 1 }
}

/// The transpose of a matrix stored row by row.
pub(crate) fn transposed<T>(data: &[T], row_len: usize) -> View<&[T]> {
    View { data, row_stride: 1, col_stride: row_len }
}

/// Where results go: shared by tasks that write disjoint parts.
#[derive(Clone, Copy)]
pub(crate) struct Dst<T>(pub *mut T);

// SAFETY: a plain address; whoever writes through it (see `product`) answers for disjointness.
unsafe impl<T: Send> Send for Dst<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Dst<T> {}

impl<T> Dst<T> {
    /// The address, `offset` elements on.
    pub(crate) fn at(self, offset: usize) -> *mut T {
        self.0.wrapping_add(offset)
    }
}

/// `dst (m x n, row by row, rows `dst_stride` apart) <- lhs (m x k) rhs (k x n)`, or `<- dst + ...` with `accumulate`.
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
