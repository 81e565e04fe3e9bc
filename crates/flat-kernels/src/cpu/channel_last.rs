//! Images repacked from NCHW to channel-last panels: sixteen channels of a pixel next to each other.

use super::block::PANEL;
use super::transpose::transpose;
use std::mem::MaybeUninit;

/// A channel-last image of one panel of channels, with a border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// Fills the strip from planes of `h x w`, at most a panel of them, each row of pixels changed by `make`; zeros
    /// elsewhere.
    pub(crate) fn read(&self, planes: &[f32], (h, w): (usize, usize), strip: &mut [f32], make: impl Fn(&mut [f32])) {
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
            make(row);
        }
    }

    /// Writes the image in the strip to planes of `h x w`, all of them, adding `shift` of each channel.
    pub(crate) fn write(
        &self,
        strip: &[f32],
        planes: &mut [MaybeUninit<f32>],
        (h, w): (usize, usize),
        shift: Option<&[f32]>,
    ) {
        let b = self.border;
        let count = planes.len() / (h * w);
        for y in 0..h {
            let row = &strip[((b + y) * self.cols + b) * PANEL..][..w * PANEL];
            if count == PANEL {
                unpack(row, &mut planes[y * w..], h * w, w);
            } else {
                for (x, from) in row.chunks_exact(PANEL).enumerate() {
                    (0..count).for_each(|c| _ = planes[c * h * w + y * w + x].write(from[c]));
                }
            }
        }
        if let Some(shift) = shift {
            for (plane, shift) in planes.chunks_exact_mut(h * w).zip(shift) {
                // SAFETY: all have been written above.
                plane.iter_mut().for_each(|y| *unsafe { y.assume_init_mut() } += shift);
            }
        }
    }
}

/// `out[x][c] = planes[c][x]` for a panel of rows `stride` apart, `to` apart in `out`.
pub(crate) fn pack(planes: &[f32], stride: usize, out: &mut [f32], to: usize, len: usize) {
    if len == 0 {
        return;
    }
    assert!(planes.len() >= (PANEL - 1) * stride + len && out.len() >= (len - 1) * to + PANEL);
    // SAFETY: sixteen rows of `len` numbers are within both, as was asserted.
    unsafe { transpose(planes.as_ptr(), stride, (PANEL, len), out.as_mut_ptr(), to) }
}

/// `planes[c][x] = from[x][c]`, the inverse of [`pack`].
fn unpack(from: &[f32], planes: &mut [MaybeUninit<f32>], stride: usize, len: usize) {
    if len == 0 {
        return;
    }
    assert!(planes.len() >= (PANEL - 1) * stride + len && from.len() >= len * PANEL);
    // SAFETY: as in `pack`.
    unsafe { transpose(from.as_ptr(), PANEL, (len, PANEL), planes.as_mut_ptr().cast(), stride) }
}
