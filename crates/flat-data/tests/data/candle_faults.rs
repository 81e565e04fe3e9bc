//! What candle_datasets 0.11.1 gets wrong, each pinned by a test that fails when an upgrade mends it: then the note in
//! the boundary's documentation and the test go. Beside each stands what this crate makes of the same file.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use candle_core::{DType, IndexOp};
use candle_datasets::vision::{cifar, mnist};
use flat_data::{Dataset, DatasetKind, Error, Fault, FetchOptions, Pinned, fetch};
use parquet::basic::Compression;

use crate::support::{
    COMMIT, Hub, Image, Row, Server, is_child, pinned, pixels, row, run_child, write_cifar10, write_parquet,
};

const KIND: DatasetKind = DatasetKind::Cifar10;

/// Runs `test` in a process of its own, whose hub serves a CIFAR-10 with these training rows.
fn with_rows(name: &str, rows: &[Row], mode: Hub, test: impl Fn(&Path)) {
    let Some(root) = std::env::var_os("FLAT_DATA_TEST_ROOT").filter(|_| is_child(name)) else {
        let (root, cache) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        write_cifar10(root.path());
        let path = root.path().join("plain_text/train/0000.parquet");
        write_parquet(&path, ["img", "label"], rows, 10, Compression::SNAPPY);
        let server = Server::start(root.path(), mode);
        let endpoint = Path::new(&server.endpoint);
        let root = ("FLAT_DATA_TEST_ROOT", root.path());
        return run_child(name, &[("HF_ENDPOINT", endpoint), ("HF_HUB_CACHE", cache.path()), root]);
    };
    test(Path::new(&root));
}

#[test]
fn cifar_from_the_hub_has_rows_and_columns_exchanged() {
    let name = "candle_faults::cifar_from_the_hub_has_rows_and_columns_exchanged";
    with_rows(name, &[row(1), row(2)], Hub::Honest, |root| {
        let theirs = cifar::load().expect("candle reads it");
        // red is the column: along a row of the image it must grow; candle's stands still
        let red = theirs.train_images.i((0, 0, 5)).and_then(|row| row.to_vec1::<f32>()).expect("row");
        assert_eq!(red, [5.0f32 * 8.0 / 255.0; 32]);
        let ours = Dataset::load(KIND, Some(root)).expect("we read it");
        assert_eq!(ours.train.image(0).expect("image"), pixels(1));
        // and transposing makes good for it
        let taken = Dataset::from_candle(KIND, &theirs).expect("taken over");
        assert_ne!(taken.train, ours.train);
        assert_eq!((taken.train.transpose(), taken.test.transpose()), (ours.train, ours.test));
    });
}

#[test]
fn a_bad_image_panics() {
    let bad = Row { image: Image::Bytes(b"no image".to_vec()), label: Some(0) };
    with_rows("candle_faults::a_bad_image_panics", &[row(1), bad], Hub::Honest, |root| {
        assert!(std::panic::catch_unwind(cifar::load).is_err());
        assert!(matches!(Dataset::load(KIND, Some(root)), Err(Error::Corrupt { fault: Fault::Decode(_), .. })));
    });
}

#[test]
fn a_label_of_the_hub_is_wrapped_into_a_byte_and_not_checked() {
    let rows = [Row { label: Some(300), ..row(1) }, Row { label: Some(10), ..row(2) }];
    let name = "candle_faults::a_label_of_the_hub_is_wrapped_into_a_byte_and_not_checked";
    with_rows(name, &rows, Hub::Honest, |root| {
        let theirs = cifar::load().expect("candle reads it");
        assert_eq!(theirs.train_labels.to_vec1::<u8>().expect("labels"), [44, 10]);
        assert!(matches!(Dataset::from_candle(KIND, &theirs), Err(Error::BadSplit(_))));
        let fault = Fault::Label { found: 300, classes: 10 };
        assert!(matches!(Dataset::load(KIND, Some(root)), Err(Error::Corrupt { fault: f, .. }) if f == fault));
    });
}

#[test]
fn no_checksum_is_compared() {
    let name = "candle_faults::no_checksum_is_compared";
    with_rows(name, &[row(1), row(2)], Hub::Lying, |root| {
        assert_eq!(cifar::load().expect("candle takes it").train_images.dims(), [2, 3, 32, 32]);
        let cache = tempfile::tempdir().expect("dir");
        let files = FetchOptions { pinned: Some(pinned(root)), ..Default::default() };
        let fetched = |options| fetch(KIND, Some(cache.path()), options, &mut |_| ControlFlow::Continue(()));
        // these are not the files of CIFAR-10 that are known, whatever the hub announces
        let known = Pinned { revision: COMMIT, ..KIND.hub.expect("a hub") };
        let known = FetchOptions { pinned: Some(known), ..files.clone() };
        let other = fetched(&known);
        assert!(matches!(other, Err(Error::Hub { .. })));
        assert!(fetched(&files).is_ok());
    });
}

#[test]
fn binary_batches_must_have_ten_thousand_records() {
    let dir = tempfile::tempdir().expect("dir");
    let batch: Vec<u8> = [3, 9].iter().flat_map(|&label| [vec![label], pixels(label)].concat()).collect();
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
        fs::write(dir.path().join(format!("{name}.bin")), &batch).expect("write");
    }
    assert!(cifar::load_dir(dir.path()).is_err());
    let ours = Dataset::load(KIND, Some(dir.path())).expect("we read it");
    assert_eq!((ours.train.len(), ours.test.labels()), (10, &[3, 9][..]));
    assert_eq!(ours.test.image(1).expect("image"), pixels(9));
}

fn write_mnist(dir: &Path, images: u32, labels: &[u8], trailing: &[u8]) {
    for split in ["train", "t10k"] {
        let header = [0x0803, images, 28, 28].into_iter().flat_map(u32::to_be_bytes);
        let bytes: Vec<u8> = header.chain(vec![0; images as usize * 784]).chain(trailing.iter().copied()).collect();
        fs::write(dir.join(format!("{split}-images-idx3-ubyte")), bytes).expect("images");
        let header = [0x0801, labels.len() as u32].into_iter().flat_map(u32::to_be_bytes);
        let bytes: Vec<u8> = header.chain(labels.iter().copied()).collect();
        fs::write(dir.join(format!("{split}-labels-idx1-ubyte")), bytes).expect("labels");
    }
}

#[test]
fn idx_labels_counts_and_ends_are_not_checked() {
    for (images, labels, trailing) in [(2, &[1, 200][..], &b""[..]), (2, &[1, 2, 3], b""), (2, &[1, 2], b"more")] {
        let dir = tempfile::tempdir().expect("dir");
        write_mnist(dir.path(), images, labels, trailing);
        let theirs = mnist::load_dir(dir.path()).expect("candle takes it");
        assert_eq!(theirs.train_images.dims(), [2, 784]);
        assert_eq!(theirs.train_labels.to_vec1::<u8>().expect("labels"), labels);
        assert!(matches!(Dataset::load(DatasetKind::Mnist, Some(dir.path())), Err(Error::Corrupt { .. })));
    }
    // what is right they read as we do
    let dir = tempfile::tempdir().expect("dir");
    write_mnist(dir.path(), 2, &[1, 2], b"");
    let theirs = mnist::load_dir(dir.path()).expect("candle reads it");
    assert_eq!(theirs.train_images.dtype(), DType::F32);
    let ours = Dataset::load(DatasetKind::Mnist, Some(dir.path())).expect("we read it");
    assert_eq!(Dataset::from_candle(DatasetKind::Mnist, &theirs).expect("taken over"), ours);
}
