//! Conversion from and to `candle_datasets::vision::Dataset`: f32 images in [0, 1], those of MNIST flat (n, 784), u8
//! labels.
//!
//! What candle's own loaders get wrong stays on their side of it: nothing there checks a label, a checksum or an image,
//! and the CIFAR-10 that `cifar::load` reads from the hub has rows and columns exchanged ([`Split::transpose`] undoes
//! that). [`Dataset::from_candle`] checks what can be checked.

use candle_core::{DType, Device, Tensor};
use candle_datasets::vision::Dataset as Vision;

use crate::split::label_bytes;
use crate::{Dataset, DatasetKind, Error, Result, Split};

/// How far from a byte value (in units of one) an image value may lie: f32 rounding of p / 255 is below 2e-5.
const TOLERANCE: f32 = 1e-3;

impl Dataset {
    /// Takes over what a loader of candle's read. Images may be flat or (n, c, h, w).
    ///
    /// # Errors
    /// [`Error::BadSplit`] if an image value is no p / 255 of a byte p, a label is not below the number of classes, or
    /// the sizes do not fit `kind`; [`Error::Candle`] if candle fails.
    pub fn from_candle(kind: DatasetKind, dataset: &Vision) -> Result<Self> {
        if dataset.labels != kind.classes {
            let (found, classes) = (dataset.labels, kind.classes);
            return Err(Error::BadSplit(format!("{found} classes where {kind} has {classes}")));
        }
        Ok(Self {
            kind,
            train: from_tensors(kind, &dataset.train_images, &dataset.train_labels)?,
            test: from_tensors(kind, &dataset.test_images, &dataset.test_labels)?,
        })
    }
}

impl TryFrom<&Dataset> for Vision {
    type Error = Error;

    /// The form candle's own training examples take: MNIST-like images flat, the others (n, c, h, w).
    fn try_from(dataset: &Dataset) -> Result<Self> {
        let (train_images, train_labels) = to_tensors(dataset.kind, &dataset.train)?;
        let (test_images, test_labels) = to_tensors(dataset.kind, &dataset.test)?;
        Ok(Self { train_images, train_labels, test_images, test_labels, labels: dataset.kind.classes })
    }
}

fn to_tensors(kind: DatasetKind, split: &Split) -> Result<(Tensor, Tensor)> {
    let (n, [c, h, w]) = (split.len(), split.shape());
    let images = Tensor::from_slice(split.images(), (n, c, h, w), &Device::Cpu)?;
    let images = (images.to_dtype(DType::F32)? / 255.0)?;
    let images = if kind.is_idx() { images.flatten_from(1)? } else { images };
    Ok((images, Tensor::from_vec(label_bytes(split.labels()), n, &Device::Cpu)?))
}

fn from_tensors(kind: DatasetKind, images: &Tensor, labels: &Tensor) -> Result<Split> {
    let byte = |x: f32| {
        let scaled = x * 255.0;
        let rounded = scaled.round();
        let fits = (0.0..=255.0).contains(&rounded) && (scaled - rounded).abs() <= TOLERANCE;
        fits.then_some(rounded as u8).ok_or(x)
    };
    let values = images.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let bytes = values.into_iter().map(byte).collect::<Result<Vec<u8>, f32>>();
    let bytes = bytes.map_err(|x| Error::BadSplit(format!("the image value {x} is no p / 255 of a byte p")))?;
    // i64, so that a label is not wrapped into range
    let labels = labels.to_device(&Device::Cpu)?.to_dtype(DType::I64)?.to_vec1::<i64>()?;
    let labels = labels.into_iter().map(|label| u16::try_from(label).map_err(|_| label)).collect::<Result<_, i64>>();
    let labels = labels.map_err(|label| Error::BadSplit(format!("label {label}, but {} classes", kind.classes)))?;
    Split::new(bytes, labels, kind.shape(), kind.classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(kind: DatasetKind) -> Dataset {
        let per_image: usize = kind.shape().iter().product();
        let split = |n: usize| {
            let images = (0..n * per_image).map(|i| (i * 31 % 256) as u8).collect();
            Split::new(images, (0..n).map(|i| (i % kind.classes) as u16).collect(), kind.shape(), kind.classes)
        };
        Dataset { kind, train: split(12).expect("train"), test: split(5).expect("test") }
    }

    #[test]
    fn going_to_candle_and_back_changes_nothing() {
        for kind in DatasetKind::ALL.iter().copied() {
            let ours = dataset(kind);
            let theirs = Vision::try_from(&ours).expect("to candle");
            assert_eq!(theirs.labels, kind.classes);
            assert_eq!(Dataset::from_candle(kind, &theirs).expect("from candle"), ours);
        }
    }

    #[test]
    fn the_tensors_have_the_form_of_candles_loaders() {
        let theirs = Vision::try_from(&dataset(DatasetKind::Mnist)).expect("to candle");
        assert_eq!((theirs.train_images.dims(), theirs.train_images.dtype()), (&[12, 784][..], DType::F32));
        assert_eq!((theirs.test_labels.dims(), theirs.test_labels.dtype()), (&[5][..], DType::U8));
        let theirs = Vision::try_from(&dataset(DatasetKind::Cifar10)).expect("to candle");
        assert_eq!(theirs.train_images.dims(), [12, 3, 32, 32]);
    }

    #[test]
    fn a_bad_label_or_value_from_candle_is_refused() {
        let with = |change: &dyn Fn(&mut Vision)| {
            let mut theirs = Vision::try_from(&dataset(DatasetKind::Mnist)).expect("to candle");
            change(&mut theirs);
            Dataset::from_candle(DatasetKind::Mnist, &theirs)
        };
        assert!(with(&|_| ()).is_ok());
        let label = Tensor::new(&[0u8, 1, 2, 3, 10], &Device::Cpu).expect("labels");
        assert!(matches!(with(&|t| t.test_labels = label.clone()), Err(Error::BadSplit(_))));
        let huge = Tensor::new(&[0u32, 1, 2, 3, 256], &Device::Cpu).expect("labels");
        assert!(matches!(with(&|t| t.test_labels = huge.clone()), Err(Error::BadSplit(_))));
        for value in [0.5f32, 1.1, -0.1, f32::NAN] {
            let images = Tensor::full(value, (5, 784), &Device::Cpu).expect("images");
            assert!(matches!(with(&|t| t.test_images = images.clone()), Err(Error::BadSplit(_))), "{value}");
        }
        assert!(matches!(with(&|t| t.labels = 100), Err(Error::BadSplit(_))));
    }
}
