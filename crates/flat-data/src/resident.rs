//! A split stored on a device, and batches gathered from it there.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))] // a step waits for no device: clippy.toml

use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};

use crate::augment::Plan;
use crate::{Result, Split};

/// The bytes and labels of a split on a device, sent there with the first batch, and the table that normalises them.
///
/// A batch is made by looking up: indices give the bytes, bytes the normalised numbers, from the very table that the CPU
/// uses. So no arithmetic can differ, and the batch has the CPU's bits.
#[derive(Debug)]
pub(crate) struct Resident {
    device: Device,
    /// 256 numbers a channel, then the number of a hole, 0.
    table: Tensor,
    sent: OnceLock<Sent>,
}

/// What is sent once.
#[derive(Debug)]
struct Sent {
    /// All bytes, u8.
    bytes: Tensor,
    /// u32, one an example.
    labels: Tensor,
    /// Where in the table each channel begins: u32, (1, channels, 1, 1).
    tables: Tensor,
    /// Where in an image each channel begins: i64, (1, channels, 1, 1).
    planes: Tensor,
    /// 0, 1, ...: i64, (1, 1, height, 1) and (1, 1, 1, width).
    rows: Tensor,
    columns: Tensor,
}

impl Resident {
    /// For a split that is normalised by these tables, one a channel.
    pub(crate) fn new(tables: &[[f64; 256]], dtype: DType, device: &Device) -> Result<Self> {
        let mut table: Vec<f64> = tables.iter().flatten().copied().collect();
        table.push(0.0);
        // half precision could not tell neighbouring byte values apart: it is rounded to at the end
        let dtype = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let len = table.len();
        let table = Tensor::from_vec(table, len, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?;
        Ok(Self { device: device.clone(), table, sent: OnceLock::new() })
    }

    fn sent(&self, split: &Split) -> Result<&Sent> {
        if let Some(sent) = self.sent.get() {
            return Ok(sent);
        }
        let [channels, height, width] = split.shape();
        let (device, count) = (&self.device, |n: usize, by: usize| (0..n).map(|i| (i * by) as i64).collect::<Vec<_>>());
        let sent = Sent {
            bytes: Tensor::from_slice(split.images(), split.images().len(), device)?,
            labels: Tensor::from_vec(split.labels().iter().map(|&l| u32::from(l)).collect(), split.len(), device)?,
            tables: Tensor::from_vec((0..channels as u32).map(|c| 256 * c).collect(), (1, channels, 1, 1), device)?,
            planes: Tensor::from_vec(count(channels, height * width), (1, channels, 1, 1), device)?,
            rows: Tensor::from_vec(count(height, 1), (1, 1, height, 1), device)?,
            columns: Tensor::from_vec(count(width, 1), (1, 1, 1, width), device)?,
        };
        Ok(self.sent.get_or_init(|| sent))
    }

    /// (n, channels, height, width): the images with these indices, each with its plan.
    pub(crate) fn images(&self, split: &Split, indices: &[usize], plans: &[Plan]) -> Result<Tensor> {
        let sent = self.sent(split)?;
        let (n, [channels, height, width]) = (indices.len(), split.shape());
        let shape = (n, channels, height, width);
        let look_up = |entries: Tensor| Ok(self.table.index_select(&entries.flatten_all()?, 0)?.reshape(shape)?);
        if plans.iter().all(|plan| *plan == Plan::default()) {
            let images =
                sent.bytes.reshape((split.len(), split.image_bytes()))?.index_select(&self.places(indices)?, 0)?;
            return look_up(images.reshape(shape)?.to_dtype(DType::U32)?.broadcast_add(&sent.tables)?);
        }
        let begin = indices.iter().map(|&i| (i * split.image_bytes()) as i64).collect();
        let begin = Tensor::from_vec(begin, (n, 1, 1, 1), &self.device)?;
        let drawn: Vec<[i64; 7]> = plans.iter().map(|plan| plan.numbers(width)).collect();
        let drawn: Vec<i64> = (0..7).flat_map(|k| drawn.iter().map(move |d| d[k])).collect();
        let drawn = Tensor::from_vec(drawn, (7, n, 1, 1, 1), &self.device)?;
        let [down, step, start, top, bottom, left, right] = [0, 1, 2, 3, 4, 5, 6].map(|k| drawn.get(k));

        let row = sent.rows.broadcast_add(&down?)?;
        let column = sent.columns.broadcast_mul(&step?)?.broadcast_add(&start?)?;
        let inside = |x: &Tensor, size: usize| x.ge(0i64)?.mul(&x.lt(size as i64)?);
        let (row_is, column_is) = (inside(&row, height)?, inside(&column, width)?);
        // what lies outside reads row or column 0 and is blanked after
        let row = (row * row_is.to_dtype(DType::I64)?)?;
        let column = (column * column_is.to_dtype(DType::I64)?)?;
        let side = Tensor::new(width as i64, &self.device)?;
        let source = row.broadcast_mul(&side)?.broadcast_add(&column)?.broadcast_add(&begin)?;
        let source = source.broadcast_add(&sent.planes)?;
        let bytes = sent.bytes.index_select(&source.flatten_all()?, 0)?.reshape(shape)?.to_dtype(DType::U32)?;
        // the padding is byte 0
        let is_padding = row_is.broadcast_mul(&column_is)?.eq(0u8)?;
        let byte = is_padding.broadcast_as(shape)?.where_cond(&bytes.zeros_like()?, &bytes)?;
        let entries = byte.broadcast_add(&sent.tables)?;

        let between = |x: &Tensor, from: candle_core::Result<Tensor>, to: candle_core::Result<Tensor>| {
            x.broadcast_ge(&from?)?.mul(&x.broadcast_lt(&to?)?)
        };
        let (rows, columns) = (between(&sent.rows, top, bottom)?, between(&sent.columns, left, right)?);
        let hole = rows.broadcast_mul(&columns)?.broadcast_as(shape)?;
        let blank = Tensor::new(256 * channels as u32, &self.device)?.broadcast_as(shape)?;
        look_up(hole.where_cond(&blank, &entries)?)
    }

    /// Images and labels of the examples with these indices, on CUDA by one launch.
    #[cfg(feature = "cuda")]
    pub(crate) fn both(&self, split: &Split, indices: &[usize], plans: &[Plan]) -> Result<(Tensor, Tensor)> {
        let (sent, shape) = (self.sent(split)?, split.shape());
        let indices: Vec<i64> = indices.iter().map(|&i| i as i64).collect();
        let drawn: Vec<[i64; 7]> = match plans.iter().all(|plan| *plan == Plan::default()) {
            true => Vec::new(),
            false => plans.iter().map(|plan| plan.numbers(shape[2])).collect(),
        };
        let drawn: Vec<i64> =
            if drawn.is_empty() { Vec::new() } else { (0..7).flat_map(|k| drawn.iter().map(move |d| d[k])).collect() };
        let of = [&sent.bytes, &sent.labels, &self.table];
        Ok(flat_kernels::cuda::examples::examples(of, shape, &indices, &drawn)?)
    }

    /// (n), u32: the labels of the examples with these indices.
    pub(crate) fn labels(&self, split: &Split, indices: &[usize]) -> Result<Tensor> {
        Ok(self.sent(split)?.labels.index_select(&self.places(indices)?, 0)?)
    }

    fn places(&self, indices: &[usize]) -> Result<Tensor> {
        Ok(Tensor::from_vec(indices.iter().map(|&i| i as i64).collect(), indices.len(), &self.device)?)
    }
}
