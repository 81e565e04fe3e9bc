//! Batches gathered from a split that lies on a CUDA device as bytes.

use super::device::{New, read, run, tensor};
use super::gather::{self, Source};
use super::launch::GATHER;
use super::layers::{cuda, device};
use crate::{Float, dispatch};
use candle_core::{Result, Tensor, bail};

/// Images `(n, channels, height, width)` and labels `(n)`, u32, of the examples with these indices; one launch. `bytes`, u8, and
/// `labels`, u32, are the whole split's, the table has 256 numbers a channel and one more. `plans` are seven rows of n numbers,
/// or nothing for images as they are.
///
/// # Errors
/// Tensors that do not fit; the driver's.
pub fn examples(
    [bytes, labels, table]: [&Tensor; 3],
    [channels, height, width]: [usize; 3],
    indices: &[i64],
    plans: &[i64],
) -> Result<(Tensor, Tensor)> {
    let (n, len, device) = (indices.len(), labels.elem_count(), device("a batch", table)?);
    if bytes.elem_count() != len * channels * height * width || table.elem_count() != 256 * channels + 1 {
        bail!("a batch: {:?} bytes for {len} images of {channels}x{height}x{width}", bytes.shape());
    }
    if ![0, 7 * n].contains(&plans.len()) || indices.iter().any(|i| usize::try_from(*i).map_or(true, |i| i >= len)) {
        bail!("a batch: {n} indices of {len} examples, and {} numbers to augment them by", plans.len());
    }
    let guards = [bytes, labels, table].map(Tensor::storage_and_layout);
    dispatch!("a batch", table.dtype(), T => {
        let at = |i: usize| cuda("a batch", &guards[i].0);
        let (b, l) = (read::<u8>("a batch", at(0)?, guards[0].1)?, read::<u32>("a batch", at(1)?, guards[1].1)?);
        let t = read::<T>("a batch", at(2)?, guards[2].1)?;
        let mut numbers = New::of(&device, &[indices, plans].concat())?;
        let mut images = New::<T>::new(&device, n * channels * height * width)?;
        let mut chosen = New::<u32>::new(&device, n)?;
        let from = Source { bytes: b.address, labels: l.address, table: t.address };
        let numbers = (numbers.address(), !plans.is_empty());
        let shape = [channels, height, width];
        let launch = gather::examples(T::REAL, n, shape, from, numbers, images.address(), chosen.address());
        // SAFETY: the sizes were compared, and the indices are examples'; memory is freed in the stream's order.
        unsafe { run(&device, &GATHER, &[launch]) }?;
        Ok((tensor(images, (n, channels, height, width)), tensor(chosen, n)))
    })
}
