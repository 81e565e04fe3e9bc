//! The binary batch files of CIFAR-10 and CIFAR-100. A record is one label byte (CIFAR-100: two, coarse and fine) and
//! the red, green and blue plane of a 32x32 image, each row by row. A file may hold any number of records.

use std::path::Path;

use crate::error::Wrong;
use crate::idx::MAX_EXAMPLES;
use crate::source::whole;
use crate::split::Examples;
use crate::{DatasetKind, Fault, Place, Result};

/// Images and labels of one batch file.
pub(crate) fn read_batch(path: &Path, kind: DatasetKind) -> Result<Examples> {
    // four times the largest of the data sets' files, in whatever records
    let data = whole(path, MAX_EXAMPLES * (2 + kind.shape().iter().product::<usize>() as u64))?;
    parse_batch(&data, kind).map_err(|wrong| wrong.of(path))
}

/// Images and labels in the bytes of a batch file.
pub(crate) fn parse_batch(data: &[u8], kind: DatasetKind) -> Result<Examples, Wrong> {
    let pixels: usize = kind.shape().iter().product();
    let classes = kind.batches.labels;
    let record = classes.len() + pixels;

    let records = data.chunks_exact(record);
    let over = records.remainder().len();
    if over > 0 {
        let fault = Fault::Truncated { expected: (record - over) as u64 };
        return Err(Wrong(Place::Offset(data.len() as u64), fault));
    }
    if data.is_empty() {
        return Err(Wrong(Place::Offset(0), Fault::Empty));
    }
    let n = data.len() / record;
    let (mut images, mut labels) = (Vec::with_capacity(n * pixels), Vec::with_capacity(n));
    for (i, entry) in records.enumerate() {
        let (tags, image) = entry.split_at(classes.len());
        for (j, (&tag, &classes)) in tags.iter().zip(classes).enumerate() {
            if usize::from(tag) >= classes {
                let fault = Fault::Label { found: tag.into(), classes };
                return Err(Wrong(Place::Offset((i * record + j) as u64), fault));
            }
        }
        labels.push(tags[classes.len() - 1].into());
        images.extend_from_slice(image);
    }
    Ok((images, labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    fn read(kind: DatasetKind, bytes: &[u8]) -> Result<Examples> {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("batch.bin");
        std::fs::write(&path, bytes).expect("write");
        read_batch(&path, kind)
    }

    fn record(tags: &[u8], seed: u8) -> Vec<u8> {
        tags.iter().copied().chain((0..3072usize).map(|i| (i as u8).wrapping_mul(seed))).collect()
    }

    #[test]
    fn a_batch_of_any_number_of_records_is_read() {
        for n in [1u8, 3] {
            let bytes: Vec<u8> = (0..n).flat_map(|i| record(&[i], i + 1)).collect();
            let (images, labels) = read(DatasetKind::Cifar10, &bytes).expect("batch");
            assert_eq!(labels, (0..n.into()).collect::<Vec<_>>());
            assert_eq!(images[3072 * (usize::from(n) - 1)..], record(&[], n));
        }
    }

    #[test]
    fn the_fine_label_of_cifar100_is_taken_and_both_are_checked() {
        let (images, labels) = read(DatasetKind::Cifar100, &record(&[19, 99], 3)).expect("batch");
        assert_eq!((labels, images), (vec![99], record(&[], 3)));
        for (tags, offset) in [([20, 0], 0), ([0, 100], 1)] {
            match read(DatasetKind::Cifar100, &record(&tags, 1)) {
                Err(Error::Corrupt { at, fault: Fault::Label { .. }, .. }) => assert_eq!(at, Place::Offset(offset)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_label_past_the_classes_is_an_error_at_its_offset() {
        let bytes = [record(&[9], 1), record(&[10], 1)].concat();
        match read(DatasetKind::Cifar10, &bytes) {
            Err(Error::Corrupt { at: Place::Offset(3073), fault: Fault::Label { found: 10, classes: 10 }, .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_truncated_or_empty_batch_is_an_error() {
        let bytes = record(&[1], 1);
        for cut in [1, 1000, 3072] {
            match read(DatasetKind::Cifar10, &bytes[..cut]) {
                Err(Error::Corrupt { at, fault, .. }) => {
                    assert_eq!(at, Place::Offset(cut as u64));
                    assert_eq!(fault, Fault::Truncated { expected: 3073 - cut as u64 });
                }
                other => panic!("{other:?}"),
            }
        }
        let trailing = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(read(DatasetKind::Cifar10, &trailing), Err(Error::Corrupt { .. })));
        assert!(matches!(read(DatasetKind::Cifar10, &[]), Err(Error::Corrupt { fault: Fault::Empty, .. })));
    }
}
