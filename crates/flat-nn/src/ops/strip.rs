//! Images turned around: a panel of channels next to each other, pixel by pixel.

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
                turn_in(&planes[y * w..], h * w, row, PANEL, cols);
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
                turn_out(row, &mut planes[y * w..], h * w, w);
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

type Four = [f32; 4];

#[inline(always)]
fn four(from: &[f32]) -> Four {
    [from[0], from[1], from[2], from[3]]
}

#[inline(always)]
fn transpose([a, b, c, d]: [Four; 4]) -> [Four; 4] {
    [[a[0], b[0], c[0], d[0]], [a[1], b[1], c[1], d[1]], [a[2], b[2], c[2], d[2]], [a[3], b[3], c[3], d[3]]]
}

/// `out[x][c] = planes[c][x]` for a panel of rows `stride` apart, `to` apart in `out`.
pub(crate) fn turn_in(planes: &[f32], stride: usize, out: &mut [f32], to: usize, len: usize) {
    let whole = len / 4 * 4;
    for x in (0..whole).step_by(4) {
        let out = &mut out[x * to..][..3 * to + PANEL];
        for c in (0..PANEL).step_by(4) {
            let row = &planes[c * stride + x..];
            let block = transpose([
                four(row),
                four(&row[stride..]),
                four(&row[2 * stride..]),
                four(&row[3 * stride..]),
            ]);
            for (i, column) in block.iter().enumerate() {
                out[i * to + c..][..4].copy_from_slice(column);
            }
        }
    }
    for x in whole..len {
        (0..PANEL).for_each(|c| out[x * to + c] = planes[c * stride + x]);
    }
}

/// `planes[c][x] = from[x][c]`, the inverse of [`turn_in`].
fn turn_out(from: &[f32], planes: &mut [f32], stride: usize, len: usize) {
    let whole = len / 4 * 4;
    for c in (0..PANEL).step_by(4) {
        for x in (0..whole).step_by(4) {
            let row = &from[x * PANEL + c..];
            let block = transpose([
                four(row),
                four(&row[PANEL..]),
                four(&row[2 * PANEL..]),
                four(&row[3 * PANEL..]),
            ]);
            for (i, row) in block.iter().enumerate() {
                planes[(c + i) * stride + x..][..4].copy_from_slice(row);
            }
        }
        for x in whole..len {
            (0..4).for_each(|i| planes[(c + i) * stride + x] = from[x * PANEL + c + i]);
        }
    }
}
