//! One batch of examples.

use candle_core::Tensor;

use crate::{Error, Result};

/// Normalised images and their labels.
#[derive(Debug, Clone)]
pub struct Batch {
    /// (n, channels, height, width), normalised, of the loader's dtype and on its device.
    pub images: Tensor,
    /// u32, (n).
    pub labels: Tensor,
    /// Which example of the split each row is.
    pub indices: Vec<usize>,
}

impl Batch {
    /// Number of examples.
    #[allow(clippy::len_without_is_empty)] // a batch is never empty
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Example `i` alone, as a batch of one.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past the end.
    pub fn row(&self, i: usize) -> Result<Self> {
        if i >= self.len() {
            return Err(Error::OutOfRange { what: "row", index: i, len: self.len() });
        }
        self.rows(i, 1)
    }

    /// The `index`-th of `of` consecutive parts, whose sizes differ by at most one (the larger ones come first).
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `index` is not below `of`, [`Error::BadOption`] if there are more parts than examples.
    pub fn shard(&self, index: usize, of: usize) -> Result<Self> {
        if index >= of {
            return Err(Error::OutOfRange { what: "shard", index, len: of });
        }
        if of > self.len() {
            let problem = format!("{of} parts of a batch of {} would leave some empty", self.len());
            return Err(Error::BadOption { option: "shards", problem });
        }
        let (size, larger) = (self.len() / of, self.len() % of);
        self.rows(index * size + index.min(larger), size + usize::from(index < larger))
    }

    fn rows(&self, start: usize, n: usize) -> Result<Self> {
        Ok(Self {
            images: self.images.narrow(0, start, n)?,
            labels: self.labels.narrow(0, start, n)?,
            indices: self.indices[start..start + n].to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn batch(n: usize) -> Batch {
        let images = Tensor::arange(0f32, 4.0 * n as f32, &Device::Cpu).and_then(|t| t.reshape((n, 1, 2, 2)));
        Batch {
            images: images.expect("images"),
            labels: Tensor::arange(0u32, n as u32, &Device::Cpu).expect("labels"),
            indices: (100..100 + n).collect(),
        }
    }

    #[test]
    fn a_row_is_a_batch_of_one_with_its_label() {
        let row = batch(5).row(3).expect("row");
        assert_eq!(row.images.dims(), [1, 1, 2, 2]);
        assert_eq!(
            row.images.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("values"),
            [12.0, 13.0, 14.0, 15.0]
        );
        assert_eq!((row.labels.to_vec1::<u32>().expect("label"), row.indices), (vec![3], vec![103]));
        assert!(matches!(batch(5).row(5), Err(Error::OutOfRange { index: 5, len: 5, .. })));
    }

    #[test]
    fn shards_cover_the_batch_in_order_and_differ_by_at_most_one() {
        for n in 1..20 {
            for of in 1..=n {
                let shards: Vec<_> = (0..of).map(|i| batch(n).shard(i, of).expect("shard")).collect();
                let sizes: Vec<_> = shards.iter().map(Batch::len).collect();
                assert!(sizes.iter().max().expect("one") - sizes.iter().min().expect("one") <= 1, "{sizes:?}");
                let all: Vec<usize> = shards.iter().flat_map(|s| s.indices.clone()).collect();
                assert_eq!(all, (100..100 + n).collect::<Vec<_>>());
                let labels: Vec<u32> = shards.iter().flat_map(|s| s.labels.to_vec1::<u32>().expect("labels")).collect();
                assert_eq!(labels, (0..n as u32).collect::<Vec<_>>());
            }
        }
        assert!(matches!(batch(3).shard(0, 4), Err(Error::BadOption { .. })));
        assert!(matches!(batch(3).shard(3, 3), Err(Error::OutOfRange { .. })));
        assert!(matches!(batch(3).shard(0, 0), Err(Error::OutOfRange { .. })));
    }
}
