//! Readers of data sets: the bytes are a training file, the test files are good.

use super::scratch::{constant, file};
use flat_data::{Dataset, DatasetKind, Files, Format};
use std::path::PathBuf;

fn read(kind: DatasetKind, format: Format, train: Vec<PathBuf>, test: Vec<PathBuf>) {
    let files = Files { format, dir: PathBuf::new(), train, test };
    if let Ok(dataset) = Dataset::read(kind, &files) {
        let (images, labels) = (dataset.train.images().len(), dataset.train.labels());
        assert_eq!(images, labels.len() * kind.shape().iter().product::<usize>());
        assert!(labels.iter().all(|label| usize::from(*label) < kind.classes), "{labels:?}");
    }
}

fn idx_file(dimensions: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dimensions.len() as u8];
    file.extend(dimensions.iter().flat_map(|n| n.to_be_bytes()));
    file.extend(bytes);
    file
}

/// IDX, plain or gzipped: as images and as labels.
pub(super) fn idx(bytes: &[u8]) {
    let images = constant("good-images", || idx_file(&[2, 28, 28], &[7; 2 * 784]));
    let labels = constant("good-labels", || idx_file(&[2], &[3, 9]));
    let input = file("idx", bytes);
    let good = vec![images.clone(), labels.clone()];
    read(DatasetKind::Mnist, Format::Idx, vec![input.clone(), labels], good.clone());
    read(DatasetKind::Mnist, Format::Idx, vec![images, input], good);
}

fn record() -> PathBuf {
    constant("good-batch", || [&[3][..], &[7; 3072]].concat())
}

/// CIFAR-10's and CIFAR-100's binary batches.
pub(super) fn cifar(bytes: &[u8]) {
    let input = file("batch", bytes);
    read(DatasetKind::Cifar10, Format::Binary, vec![input.clone()], vec![record()]);
    let fine = constant("good-fine", || [&[3, 3][..], &[7; 3072]].concat());
    read(DatasetKind::Cifar100, Format::Binary, vec![input], vec![fine]);
}

/// Archives of CIFAR's batches.
pub(super) fn archive(bytes: &[u8]) {
    let input = file("archive", bytes);
    read(DatasetKind::Cifar10, Format::Archive, vec![input.clone()], vec![input]);
}

/// CIFAR's Python batches.
pub(super) fn pickle(bytes: &[u8]) {
    let input = file("pickle", bytes);
    for kind in [DatasetKind::Cifar10, DatasetKind::Cifar100] {
        read(kind, Format::Python, vec![input.clone()], vec![input.clone()]);
    }
}

/// The hub's parquet files, with pictures in them.
pub(super) fn parquet(bytes: &[u8]) {
    let input = file("parquet", bytes);
    read(DatasetKind::Cifar10, Format::Parquet, vec![input.clone()], vec![input]);
}
