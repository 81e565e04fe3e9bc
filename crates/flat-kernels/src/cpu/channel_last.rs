//! Images repacked from NCHW to channel-last panels: sixteen channels of a pixel next to each other.

use super::block::PANEL;

/// A channel-last image of one panel of channels, with a border.
#[derive(Clone, Copy)]
pub(crate) struct Strip {
    pub rows: usize,
    pub cols: usize,
    /// Where the image starts.
    pub border: usize,
}

impl Strip {
    pub(crate) fn len(&self) -> usize {
        self.rows * self.cols * PANEL
    }

    /// Rows and columns of the image that lie within the strip.
    fn inside(&self, h: usize, w: usize) -> (usize, usize) {
        (h.min(self.rows.saturating_sub(self.border)), w.min(self.cols.saturating_sub(self.border)))
    }

    /// Fills the strip from planes of `h x w`, at most a panel of them; zeros elsewhere.
    pub(crate) fn read(&self, planes: &[f32], (h, w): (usize, usize), strip: &mut [f32]) {
        let (rows, cols) = self.inside(h, w);
        let count = planes.len() / (h * w);
        let b = self.border;
        strip[..b * self.cols * PANEL].fill(0.0);
        strip[(b + rows) * self.cols * PANEL..].fill(0.0);
        for y in 0..rows {
            let row = &mut strip[(b + y) * self.cols * PANEL..][..self.cols * PANEL];
            row[..b * PANEL].fill(0.0);
            row[(b + cols) * PANEL..].fill(0.0);
            let row = &mut row[b * PANEL..][..cols * PANEL];
            if count == PANEL {
                pack(&planes[y * w..], h * w, row, PANEL, cols);
            } else {
                for (x, out) in row.chunks_exact_mut(PANEL).enumerate() {
                    out.fill(0.0);
                    (0..count).for_each(|c| out[c] = planes[c * h * w + y * w + x]);
                }
            }
        }
    }

    /// Writes the image in the strip to planes of `h x w`, adding `shift` of each channel.
    pub(crate) fn write(&self, strip: &[f32], planes: &mut [f32], (h, w): (usize, usize), shift: Option<&[f32]>) {
        let b = self.border;
        let count = planes.len() / (h * w);
        for y in 0..h {
            let row = &strip[((b + y) * self.cols + b) * PANEL..][..w * PANEL];
            if count == PANEL {
                unpack(row, &mut planes[y * w..], h * w, w);
            } else {
                for (x, from) in row.chunks_exact(PANEL).enumerate() {
                    (0..count).for_each(|c| planes[c * h * w + y * w + x] = from[c]);
                }
            }
        }
        if let Some(shift) = shift {
            for (plane, shift) in planes.chunks_exact_mut(h * w).zip(shift) {
                plane.iter_mut().for_each(|y| *y += shift);
            }
        }
    }
}

/// `to[j][i] = from[i][j]` for a square of four, whose rows are `stride` and `to_stride` apart.
///
/// # Safety
/// All sixteen numbers must lie in memory on both sides.
#[inline(always)]
unsafe fn turn(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise; these instructions are part of every x86-64.
    unsafe {
        use std::arch::x86_64::{
            _mm_loadu_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_storeu_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
        };
        let (a, b) = (_mm_loadu_ps(from), _mm_loadu_ps(from.add(stride)));
        let (c, d) = (_mm_loadu_ps(from.add(2 * stride)), _mm_loadu_ps(from.add(3 * stride)));
        let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
        _mm_storeu_ps(to, _mm_movelh_ps(ab, cd));
        _mm_storeu_ps(to.add(to_stride), _mm_movehl_ps(cd, ab));
        let (ab, cd) = (_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d));
        _mm_storeu_ps(to.add(2 * to_stride), _mm_movelh_ps(ab, cd));
        _mm_storeu_ps(to.add(3 * to_stride), _mm_movehl_ps(cd, ab));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for i in 0..4 {
        for j in 0..4 {
            // SAFETY: the caller's promise.
            unsafe { *to.add(j * to_stride + i) = *from.add(i * stride + j) };
        }
    }
}

/// `out[x][c] = planes[c][x]` for a panel of rows `stride` apart, `to` apart in `out`.
pub(crate) fn pack(planes: &[f32], stride: usize, out: &mut [f32], to: usize, len: usize) {
    if len == 0 {
        return;
    }
    assert!(planes.len() >= (PANEL - 1) * stride + len && out.len() >= (len - 1) * to + PANEL);
    let whole = len / 4 * 4;
    for x in (0..whole).step_by(4) {
        for c in (0..PANEL).step_by(4) {
            // SAFETY: rows c to c + 3 and columns x to x + 3 are within both, as was asserted.
            unsafe { turn(planes.as_ptr().add(c * stride + x), stride, out.as_mut_ptr().add(x * to + c), to) };
        }
    }
    for x in whole..len {
        (0..PANEL).for_each(|c| out[x * to + c] = planes[c * stride + x]);
    }
}

/// `planes[c][x] = from[x][c]`, the inverse of [`pack`].
fn unpack(from: &[f32], planes: &mut [f32], stride: usize, len: usize) {
    if len == 0 {
        return;
    }
    assert!(planes.len() >= (PANEL - 1) * stride + len && from.len() >= len * PANEL);
    let whole = len / 4 * 4;
    for c in (0..PANEL).step_by(4) {
        for x in (0..whole).step_by(4) {
            // SAFETY: as in `pack`.
            unsafe { turn(from.as_ptr().add(x * PANEL + c), PANEL, planes.as_mut_ptr().add(c * stride + x), stride) };
        }
        for x in whole..len {
            (0..4).for_each(|i| planes[(c + i) * stride + x] = from[x * PANEL + c + i]);
        }
    }
}
