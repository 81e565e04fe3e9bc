//! The launch that gathers a batch; see `source/gather.cu`.

use super::launch::{Launch, Real};

/// Addresses of a split on the device.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// `(examples, channels, height, width)`, u8.
    pub bytes: u64,
    /// `(examples)`, u32.
    pub labels: u64,
    /// 256 numbers a channel, then one for what is blanked.
    pub table: u64,
}

/// `images` and `labels` of the `n` examples whose indices, i64, `numbers` has. Where the batch is augmented, seven rows of `n`
/// follow there.
pub fn examples(
    real: Real,
    n: usize,
    [channels, height, width]: [usize; 3],
    from: Source,
    (numbers, augmented): (u64, bool),
    images: u64,
    labels: u64,
) -> Launch {
    let Source { bytes, labels: all, table } = from;
    let sizes = [n, channels, height, width, usize::from(augmented)].map(|n| n as u64);
    let args = [&[bytes, all, table, numbers, images, labels][..], &sizes].concat();
    Launch::over("examples", real, n * channels * height * width, &args)
}
