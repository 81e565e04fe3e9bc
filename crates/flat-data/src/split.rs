//! The images and labels of one split, as bytes.

use candle_core::{DType, Device, Tensor};

use crate::groups::Groups;
use crate::sums::sha256;
use crate::{Error, Result};
use std::io::Read;

/// Images one after the other, and their labels.
pub(crate) type Examples = (Vec<u8>, Vec<u16>);

/// Labels below 256, a byte each, as files hold them.
pub(crate) fn label_bytes(labels: &[u16]) -> Vec<u8> {
    labels.iter().map(|&label| label as u8).collect()
}

/// Labelled images of one size: bytes in NCHW order, row 0 at the top and column 0 at the left.
///
/// Every label is below `classes`, and there is at least one example; the constructor sees to both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    images: Vec<u8>,
    labels: Vec<u16>,
    shape: [usize; 3],
    classes: usize,
    groups: Option<Groups>,
}

impl Split {
    /// A split of `labels.len()` images of `shape` (channels, height, width).
    ///
    /// # Errors
    /// [`Error::BadSplit`] if there is no image, the number of bytes does not fit, or a label is `classes` or more.
    pub fn new(images: Vec<u8>, labels: Vec<u16>, shape: [usize; 3], classes: usize) -> Result<Self> {
        let per_image: usize = shape.iter().product();
        if per_image == 0 || labels.is_empty() {
            return Err(Error::BadSplit(format!("{} labels and images of {shape:?}: it would be empty", labels.len())));
        }
        if labels.len().checked_mul(per_image) != Some(images.len()) {
            let (bytes, n) = (images.len(), labels.len());
            return Err(Error::BadSplit(format!("{bytes} bytes are not {n} images of {per_image} bytes")));
        }
        if let Some(i) = labels.iter().position(|&label| usize::from(label) >= classes) {
            return Err(Error::BadSplit(format!("label {} of example {i}, but {classes} classes", labels[i])));
        }
        Ok(Self { images, labels, shape, classes, groups: None })
    }

    /// The same split whose examples have a spurious attribute too, one of `of` values.
    ///
    /// # Errors
    /// [`Error::BadSplit`] where their number is not that of the examples, or one is `of` or more.
    pub fn with_attributes(self, attributes: Vec<u8>, of: usize) -> Result<Self> {
        let groups = Some(Groups::new(&self.labels, self.classes, attributes, of)?);
        Ok(Self { groups, ..self })
    }

    /// The groups of class and spurious attribute; `None` where the examples have no attribute.
    pub fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref()
    }

    /// All pixels, `len() * channels * height * width` bytes.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// The label of each example.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// Number of examples.
    #[allow(clippy::len_without_is_empty)] // a split is never empty
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Channels, height, width.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.shape[0]
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.shape[1]
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.shape[2]
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Bytes an image takes.
    pub fn image_bytes(&self) -> usize {
        self.shape.iter().product()
    }

    /// The pixels of example `i`, channels first; `None` past the end.
    pub fn image(&self, i: usize) -> Option<&[u8]> {
        self.images.chunks_exact(self.image_bytes()).nth(i)
    }

    /// The sha256 of shape, number of classes, images, labels and attributes, in lower-case hex. The same examples in
    /// the same order have the same sum, whatever files they were read from.
    pub fn sha256(&self) -> String {
        let numbers = self.shape.into_iter().chain([self.classes, self.len()]);
        let head: Vec<u8> = numbers.flat_map(|n| (n as u64).to_le_bytes()).collect();
        // reading memory does not fail
        let attributes = self.groups.as_ref().map_or(&[][..], Groups::attributes);
        // labels of more than a byte came later, and sums of before hold
        let labels = match self.classes {
            ..=256 => label_bytes(&self.labels),
            _ => self.labels.iter().flat_map(|label| label.to_le_bytes()).collect(),
        };
        sha256(head.as_slice().chain(&self.images[..]).chain(&labels[..]).chain(attributes)).unwrap_or_default()
    }

    /// The first `limit` examples, or all where there are fewer.
    ///
    /// # Errors
    /// [`Error::BadSplit`] for a limit of 0.
    pub fn take(&self, limit: usize) -> Result<Self> {
        let n = limit.min(self.len());
        let images = self.images[..n * self.image_bytes()].to_vec();
        let split = Self::new(images, self.labels[..n].to_vec(), self.shape, self.classes)?;
        self.carry(split, |attributes| attributes[..n].to_vec())
    }

    /// The examples with these indices, in this order; an index may occur more than once.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for an index past the end, [`Error::BadSplit`] for none at all.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        let mut images = Vec::with_capacity(indices.len() * self.image_bytes());
        let mut labels = Vec::with_capacity(indices.len());
        for &index in indices {
            let image = self.image(index).ok_or(Error::OutOfRange { what: "example", index, len: self.len() })?;
            images.extend_from_slice(image);
            labels.push(self.labels[index]);
        }
        let split = Self::new(images, labels, self.shape, self.classes)?;
        self.carry(split, |attributes| indices.iter().map(|&index| attributes[index]).collect())
    }

    /// A split of some of these examples, with these of their attributes where they have any.
    fn carry(&self, split: Self, pick: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<Self> {
        match &self.groups {
            None => Ok(split),
            Some(groups) => split.with_attributes(pick(groups.attributes()), groups.per_class()),
        }
    }

    /// Every image with rows and columns exchanged: undoes what `candle_datasets::vision::cifar::load` does to CIFAR-10.
    pub fn transpose(&self) -> Self {
        let [channels, height, width] = self.shape;
        let mut images = Vec::with_capacity(self.images.len());
        for plane in self.images.chunks_exact(height * width) {
            images.extend((0..width).flat_map(|x| (0..height).map(move |y| plane[y * width + x])));
        }
        Self {
            images,
            shape: [channels, width, height],
            labels: self.labels.clone(),
            groups: self.groups.clone(),
            classes: self.classes,
        }
    }

    /// The examples one by one, in the form `candle_datasets::Batcher::new_r2` takes. An image is f32 in [0, 1] of
    /// (channels, height, width), its label a u32 scalar. A [`crate::Loader`] is faster, shuffles and normalises.
    pub fn examples<'a>(
        &'a self,
        device: &'a Device,
    ) -> impl ExactSizeIterator<Item = candle_core::Result<(Tensor, Tensor)>> + 'a {
        self.images.chunks_exact(self.image_bytes()).zip(&self.labels).map(move |(image, &label)| {
            let image = Tensor::from_slice(image, &self.shape, device)?.to_dtype(DType::F32)?;
            Ok(((image / 255.0)?, Tensor::new(u32::from(label), device)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(n: u8) -> Split {
        let images = (0..n).flat_map(|i| (0..6).map(move |p| 10 * i + p)).collect();
        Split::new(images, (0..n.into()).collect(), [1, 2, 3], 10).expect("split")
    }

    #[test]
    fn a_split_refuses_bytes_labels_and_shapes_that_do_not_fit() {
        for (bytes, labels, shape) in [
            (5, vec![0], [1, 2, 3]),
            (6, vec![10], [1, 2, 3]),
            (0, vec![], [1, 2, 3]),
            (0, vec![0], [1, 0, 3]),
            (12, vec![0], [1, 2, 3]),
        ] {
            let result = Split::new(vec![0; bytes], labels, shape, 10);
            assert!(matches!(result, Err(Error::BadSplit(_))), "{bytes} {shape:?}");
        }
    }

    #[test]
    fn take_keeps_the_first_examples_and_all_where_there_are_fewer() {
        let split = counting(4);
        assert_eq!(split.take(2).expect("two").labels(), [0, 1]);
        assert_eq!(split.take(9).expect("all"), split);
        assert!(split.take(0).is_err());
    }

    #[test]
    fn select_takes_examples_in_the_order_asked_for_and_refuses_what_is_not_there() {
        let picked = counting(4).select(&[3, 0, 3]).expect("picked");
        assert_eq!(picked.labels(), [3, 0, 3]);
        assert_eq!(picked.image(1).expect("image"), [0, 1, 2, 3, 4, 5]);
        assert!(matches!(counting(4).select(&[4]), Err(Error::OutOfRange { index: 4, len: 4, .. })));
    }

    #[test]
    fn transposing_exchanges_rows_and_columns_and_twice_changes_nothing() {
        let split = counting(2);
        let other = split.transpose();
        assert_eq!(other.shape(), [1, 3, 2]);
        assert_eq!(other.image(0).expect("image"), [0, 3, 1, 4, 2, 5]);
        assert_eq!(other.transpose(), split);
    }

    #[test]
    fn examples_are_scaled_to_one_and_carry_their_labels() {
        let split = Split::new(vec![0, 51, 255, 102], vec![1, 0], [1, 1, 2], 2).expect("split");
        let examples: Vec<_> = split.examples(&Device::Cpu).collect::<candle_core::Result<_>>().expect("tensors");
        let found = examples[1].0.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("values");
        // candle multiplies by 1 / 255: two roundings to f32
        assert!((found[0] - 1.0).abs() <= 1.2e-7 && (found[1] - 0.4).abs() <= 6e-8, "{found:?}");
        assert_eq!(examples[0].1.to_scalar::<u32>().expect("label"), 1);
    }
}
