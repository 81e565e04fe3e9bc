//! Parquet files and whole data sets that are not what they should be.

use std::fs;
use std::path::Path;

use flat_data::{Dataset, DatasetKind, Error, Fault, Place};
use parquet::basic::{Compression, ZstdLevel};

use crate::support::{Image, Row, copy_mnist, pixels, png, row, write_cifar10, write_parquet};

/// A CIFAR-10 whose training rows are these.
fn with_rows(rows: &[Row]) -> Result<Dataset, Error> {
    let dir = tempfile::tempdir().expect("dir");
    write_cifar10(dir.path());
    let path = dir.path().join("plain_text/train/0000.parquet");
    write_parquet(&path, ["img", "label"], rows, 2, Compression::SNAPPY);
    Dataset::load(DatasetKind::Cifar10, Some(dir.path()))
}

fn fault(result: Result<Dataset, Error>) -> (Place, Fault) {
    match result {
        Err(Error::Corrupt { path, at, fault }) => {
            assert!(path.ends_with("train/0000.parquet"), "{}", path.display());
            (at, fault)
        }
        other => panic!("not a corrupt file: {other:?}"),
    }
}

#[test]
fn images_come_upright_and_in_order_from_any_number_of_row_groups_and_files() {
    let rows: Vec<Row> = (0..7).map(row).collect();
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3).expect("level"));
    for (group, compression) in [(1, Compression::SNAPPY), (3, Compression::UNCOMPRESSED), (7, zstd)] {
        let dir = tempfile::tempdir().expect("dir");
        let path = |split: &str, i: usize| dir.path().join(format!("plain_text/{split}/000{i}.parquet"));
        write_parquet(&path("train", 0), ["img", "label"], &rows[..4], group, compression);
        write_parquet(&path("train", 1), ["img", "label"], &rows[4..], group, compression);
        write_parquet(&path("test", 0), ["image", "label"], &rows[..1], group, compression);
        let cifar = Dataset::load(DatasetKind::Cifar10, Some(dir.path())).expect("it reads");
        assert_eq!(cifar.train.labels(), [0, 1, 2, 3, 4, 5, 6]);
        for i in 0..7 {
            assert_eq!(cifar.train.image(i).expect("image"), pixels(i as u8), "{i}");
        }
        assert_eq!(cifar.test.image(0).expect("image"), pixels(0));
    }
}

#[test]
fn fine_labels_are_read_for_cifar100_and_cifar10_is_not_taken_for_it() {
    let dir = tempfile::tempdir().expect("dir");
    let rows = [Row { label: Some(99), ..row(1) }, row(2)];
    for split in ["train", "test"] {
        let path = dir.path().join(format!("cifar100/{split}/0000.parquet"));
        write_parquet(&path, ["img", "fine_label"], &rows, 2, Compression::SNAPPY);
    }
    let cifar = Dataset::load(DatasetKind::Cifar100, Some(dir.path())).expect("it reads");
    assert_eq!(cifar.train.labels(), [99, 2]);
    let dir = tempfile::tempdir().expect("dir");
    write_cifar10(dir.path());
    let (_, found) = fault(Dataset::load(DatasetKind::Cifar100, Some(dir.path())));
    assert!(matches!(&found, Fault::Column { column, .. } if column == "fine_label"), "{found}");
    assert!(found.to_string().contains("img.bytes"), "{found}");
}

#[test]
fn labels_out_of_range_are_errors_at_their_row() {
    for label in [10, 266, -1, i64::MAX, i64::MIN] {
        let rows = [row(0), row(1), Row { label: Some(label), ..row(2) }];
        assert_eq!(fault(with_rows(&rows)), (Place::Row(2), Fault::Label { found: label, classes: 10 }));
    }
}

#[test]
fn null_cells_are_errors_at_their_row() {
    for (bad, name) in [
        (Row { label: None, ..row(2) }, "label"),
        (Row { image: Image::NullBytes, ..row(2) }, "img.bytes"),
        (Row { image: Image::NullGroup, ..row(2) }, "img.bytes"),
    ] {
        let expected = (Place::Row(2), Fault::Null { column: name.into() });
        assert_eq!(fault(with_rows(&[row(0), row(1), bad, row(3)])), expected);
    }
}

#[test]
fn damaged_images_and_images_of_another_size_are_errors_at_their_row() {
    let with = |image: Vec<u8>| {
        let bad = Row { image: Image::Bytes(image), label: Some(0) };
        fault(with_rows(&[row(0), row(1), row(2), bad]))
    };
    let small = png(&image::RgbImage::new(28, 28));
    let size = Fault::ImageSize { found_width: 28, found_height: 28, width: 32, height: 32 };
    assert_eq!(with(small), (Place::Row(3), size));
    let good = png(&crate::support::picture(3));
    for bad in [b"not an image".to_vec(), Vec::new(), good[..good.len() / 2].to_vec()] {
        let (at, fault) = with(bad);
        assert!(at == Place::Row(3) && matches!(fault, Fault::Decode(_)), "{at} {fault}");
    }
}

#[test]
fn a_missing_column_is_an_error_that_names_the_ones_there_are() {
    let dir = tempfile::tempdir().expect("dir");
    write_cifar10(dir.path());
    let path = dir.path().join("plain_text/train/0000.parquet");
    write_parquet(&path, ["picture", "label"], &[row(0)], 1, Compression::SNAPPY);
    let (_, found) = fault(Dataset::load(DatasetKind::Cifar10, Some(dir.path())));
    assert!(
        found.to_string().contains("img.bytes or image.bytes") && found.to_string().contains("picture.bytes"),
        "{found}"
    );
}

#[test]
fn a_file_that_is_no_parquet_is_an_error() {
    let with = |bytes: &[u8]| {
        let dir = tempfile::tempdir().expect("dir");
        write_cifar10(dir.path());
        fs::write(dir.path().join("plain_text/train/0000.parquet"), bytes).expect("write");
        fault(Dataset::load(DatasetKind::Cifar10, Some(dir.path()))).1
    };
    assert!(matches!(with(b""), Fault::Truncated { .. }));
    assert!(matches!(with(b"<html>404 not found</html>"), Fault::Magic { .. }));
    assert!(matches!(with(b"PAR1\xff\xff\xff\xffPAR1"), Fault::TooLarge { .. }));
    assert!(matches!(with(b"PAR1\x04\0\0\0\x04\0\0\0PAR1"), Fault::Decode(_)));
    // no rows
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("empty.parquet");
    write_parquet(&path, ["img", "label"], &[], 1, Compression::SNAPPY);
    assert_eq!(with(&fs::read(&path).expect("read")), Fault::Empty);
}

fn write_idx(dir: &Path, images: u32, labels: u32) {
    fs::create_dir_all(dir).expect("folder");
    for (split, images) in [("train", images), ("t10k", 2)] {
        let header = [0x0803, images, 28, 28].into_iter().flat_map(u32::to_be_bytes);
        let bytes: Vec<u8> = header.chain(vec![0; images as usize * 784]).collect();
        fs::write(dir.join(format!("{split}-images-idx3-ubyte")), bytes).expect("images");
        let labels = if split == "train" { labels } else { 2 };
        let header = [0x0801, labels].into_iter().flat_map(u32::to_be_bytes);
        let bytes: Vec<u8> = header.chain(vec![0; labels as usize]).collect();
        fs::write(dir.join(format!("{split}-labels-idx1-ubyte")), bytes).expect("labels");
    }
}

#[test]
fn more_images_than_labels_or_labels_than_images_is_an_error() {
    for (images, labels) in [(3, 2), (2, 3)] {
        let dir = tempfile::tempdir().expect("dir");
        write_idx(dir.path(), images, labels);
        match Dataset::load(DatasetKind::Mnist, Some(dir.path())) {
            Err(Error::Corrupt { fault, .. }) => {
                assert_eq!(fault, Fault::Count { images: images as usize, labels: labels as usize });
            }
            other => panic!("{other:?}"),
        }
    }
    let dir = tempfile::tempdir().expect("dir");
    write_idx(dir.path(), 3, 3);
    assert!(Dataset::load(DatasetKind::Mnist, Some(dir.path())).is_ok());
}

#[test]
fn mnist_in_a_folder_named_fashion_mnist_is_recognised() {
    let root = tempfile::tempdir().expect("dir");
    copy_mnist(&root.path().join("fashion-mnist"));
    match Dataset::load(DatasetKind::FashionMnist, Some(root.path())) {
        Err(Error::Corrupt { fault, .. }) => assert_eq!(fault, Fault::OtherDataset(DatasetKind::Mnist)),
        other => panic!("{other:?}"),
    }
}
