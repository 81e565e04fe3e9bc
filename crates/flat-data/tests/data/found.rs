//! The folders and names that other tools leave data under, with the same images and labels in them.

use std::fs;
use std::path::{Path, PathBuf};

use flat_data::{Dataset, DatasetKind, Error, Fault, FileState, Format, locate, verify};
use parquet::basic::Compression;

use crate::support::{Row, copy_mnist, pixels, row, write_parquet};

fn write(path: PathBuf, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("parent")).expect("folder");
    fs::write(path, bytes).expect("write");
}

fn idx_file(magic: u32, sides: &[u32], values: &[u8]) -> Vec<u8> {
    [&[magic], sides].concat().into_iter().flat_map(u32::to_be_bytes).chain(values.iter().copied()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).expect("write");
    encoder.finish().expect("finish")
}

/// A set of three training and two test images; `name(part, sides)` is each file's path.
fn write_idx(root: &Path, name: impl Fn(&str, usize) -> String, pack: impl Fn(&[u8]) -> Vec<u8>) {
    for (split, n) in [("train", 3u32), ("t10k", 2)] {
        let images: Vec<u8> = (0..n * 784).map(|i| (i * 7 % 256) as u8).collect();
        let labels: Vec<u8> = (0..n as u8).collect();
        let images = idx_file(0x0803, &[n, 28, 28], &images);
        write(root.join(name(&format!("{split}-images"), 3)), &pack(&images));
        write(root.join(name(&format!("{split}-labels"), 1)), &pack(&idx_file(0x0801, &[n], &labels)));
    }
}

/// Reads the small set from this folder and from the one it was found in.
fn assert_found(kind: DatasetKind, dir: &Path, expected: [usize; 2], what: &str) {
    let files = locate(kind, Some(dir)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(locate(kind, Some(&files.dir)).unwrap_or_else(|e| panic!("{what}, again: {e}")), files, "{what}");
    let found = Dataset::read(kind, &files).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!([found.train.len(), found.test.len()], expected, "{what}");
    for split in [&found.train, &found.test] {
        assert!(split.labels().iter().enumerate().all(|(i, &label)| usize::from(label) == i), "{what}");
        let right = match kind {
            DatasetKind::Mnist | DatasetKind::FashionMnist => {
                split.images().iter().enumerate().all(|(i, &p)| usize::from(p) == i * 7 % 256)
            }
            _ => (0..split.len()).all(|i| split.image(i).expect("image") == pixels(i as u8)),
        };
        assert!(right, "{what}");
    }
}

#[test]
fn idx_files_are_found_under_the_names_of_torchvision_kaggle_and_older_copies() {
    let plain = |bytes: &[u8]| bytes.to_vec();
    for (folder, kind) in [
        ("", DatasetKind::Mnist),
        ("raw", DatasetKind::Mnist),
        ("MNIST/raw", DatasetKind::Mnist),
        ("mnist/MNIST/raw", DatasetKind::Mnist),
        ("FashionMNIST/raw", DatasetKind::FashionMnist),
        ("fashion-mnist/FashionMNIST/raw", DatasetKind::FashionMnist),
    ] {
        for (joint, end) in [("-", ""), ("-", ".gz"), (".", ""), (".", ".gz")] {
            let root = tempfile::tempdir().expect("dir");
            let name = |part: &str, sides: usize| format!("{part}{joint}idx{sides}-ubyte{end}");
            write_idx(&root.path().join(folder), name, |bytes| if end.is_empty() { plain(bytes) } else { gzip(bytes) });
            let what = format!("{folder} {joint} {end}");
            assert_found(kind, root.path(), [3, 2], &what);
            // the folder itself
            assert_found(kind, &root.path().join(folder), [3, 2], &what);
        }
    }
    let root = tempfile::tempdir().expect("dir");
    write_idx(root.path(), |part, sides| format!("{part}-idx{sides}-ubyte/{part}-idx{sides}-ubyte"), plain);
    assert_found(DatasetKind::Mnist, root.path(), [3, 2], "a folder of each file's name");
    // the files of one set are not taken for the other's
    let root = tempfile::tempdir().expect("dir");
    write_idx(&root.path().join("MNIST/raw"), |part, sides| format!("{part}-idx{sides}-ubyte"), plain);
    for dir in [root.path().to_path_buf(), root.path().join("MNIST"), root.path().join("MNIST/raw")] {
        let error = locate(DatasetKind::FashionMnist, Some(&dir)).expect_err("no Fashion-MNIST");
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
}

#[test]
fn the_real_mnist_reads_the_same_with_dots_in_its_names_and_padded_with_zeros() {
    let (own, other) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    copy_mnist(own.path());
    for entry in fs::read_dir(own.path()).expect("files") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("name").to_string_lossy().replace("-idx", ".idx");
        let padded = [fs::read(&path).expect("read"), vec![0; 1234]].concat();
        write(other.path().join("MNIST/raw").join(name), &padded);
    }
    let read = |dir: &Path| Dataset::load(DatasetKind::Mnist, Some(dir)).expect("MNIST");
    assert!(read(own.path()) == read(other.path()));
    let report = verify(DatasetKind::Mnist, Some(other.path())).expect("verify");
    assert!(report.is_ok() && report.files.iter().all(|file| file.state == FileState::Known), "{report:?}");
}

#[test]
fn parquet_shards_are_found_under_the_hubs_names() {
    let rows: Vec<Row> = (0..5).map(row).collect();
    let one = |hash: &str| {
        (
            vec![(format!("train-00000-of-00001{hash}.parquet"), 0..5)],
            vec![(format!("test-00000-of-00001{hash}.parquet"), 0..2)],
        )
    };
    let shards = vec![
        ("train-00000-of-00003.parquet".to_string(), 0..2),
        ("train-00001-of-00003.parquet".to_string(), 2..3),
        ("train-00002-of-00003.parquet".to_string(), 3..5),
    ];
    let layouts = [
        one(""),
        one("-0a1b2c3d4e5f6789"),
        (shards, vec![("test-00000-of-00001.parquet".to_string(), 0..2)]),
        (
            vec![("train/0000.parquet".into(), 0..3), ("train/0001.parquet".into(), 3..5)],
            vec![("test/0000.parquet".into(), 0..2)],
        ),
        (vec![("train.parquet".into(), 0..5)], vec![("test.parquet".into(), 0..2)]),
    ];
    let snapshot = "datasets--uoft-cs--cifar10/snapshots/0b2714987fa478483af9968de7c934580d0bb9a2/plain_text";
    for folder in ["", "data", "plain_text", "cifar10", "cifar10/plain_text", "cifar10/data", snapshot] {
        for (i, (train, test)) in layouts.iter().enumerate() {
            let root = tempfile::tempdir().expect("dir");
            for (name, part) in train.iter().chain(test) {
                let path = root.path().join(folder).join(name);
                write_parquet(&path, ["img", "label"], &rows[part.clone()], 2, Compression::SNAPPY);
            }
            assert_found(DatasetKind::Cifar10, root.path(), [5, 2], &format!("{folder}, layout {i}"));
        }
    }
}

#[test]
fn a_missing_shard_is_named_and_two_versions_are_not_read_as_one() {
    let write_all = |names: &[&str]| {
        let root = tempfile::tempdir().expect("dir");
        for name in names {
            write_parquet(&root.path().join(name), ["img", "label"], &[row(0)], 1, Compression::SNAPPY);
        }
        let error = locate(DatasetKind::Cifar10, Some(root.path())).expect_err("not whole");
        (error.to_string(), matches!(error, Error::Ambiguous { .. }))
    };
    let test = "test-00000-of-00001.parquet";
    let (text, _) = write_all(&["train-00000-of-00003.parquet", "train-00002-of-00003.parquet", test]);
    assert!(text.contains("shard 1 of 3"), "{text}");
    let (text, _) = write_all(&["train-00000-of-00002.parquet", test]);
    assert!(text.contains("shard 1 of 2"), "{text}");
    let (text, _) = write_all(&["train/0000.parquet", "train/0002.parquet", "test/0000.parquet"]);
    assert!(text.contains("0000.parquet"), "{text}");
    let (text, ambiguous) =
        write_all(&["train-00000-of-00001-aaaa.parquet", "train-00000-of-00001-bbbb.parquet", test]);
    assert!(ambiguous && text.contains("aaaa") && text.contains("bbbb"), "{text}");
    assert!(write_all(&["train-00000-of-00001.parquet", "train-00001-of-00002.parquet", test]).1);
}

#[test]
fn a_whole_set_is_preferred_to_a_part_and_an_archive_serves_where_the_folder_is_a_part() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    let root = tempfile::tempdir().expect("dir");
    // an interrupted unpacking beside its archive
    write(root.path().join("cifar-10-batches-py/data_batch_1"), b"");
    let error = locate(DatasetKind::Cifar10, Some(root.path())).expect_err("a part");
    assert!(matches!(&error, Error::Incomplete { missing, .. } if missing == "test_batch"), "{error}");
    fs::copy(reference.join("cifar10-gnu.tar.gz"), root.path().join("cifar-10-python.tar.gz")).expect("copy");
    let files = locate(DatasetKind::Cifar10, Some(root.path())).expect("the archive");
    assert_eq!(files.format, Format::Archive);
}

#[test]
fn what_is_not_found_is_answered_with_what_was_seen_what_was_looked_for_and_the_remedy() {
    let root = tempfile::tempdir().expect("dir");
    let said = |kind: DatasetKind, dir: &Path| locate(kind, Some(dir)).expect_err("nothing").to_string();
    let text = said(DatasetKind::Mnist, root.path());
    assert!(text.contains("(empty)") && text.contains("(no such folder)"), "{text}");
    assert!(text.contains("train-images-idx3-ubyte") && text.contains("data fetch mnist"), "{text}");
    for name in ["mnist.npz", "a.txt", "b.txt", "c.txt", "d.txt", "e.txt", "f.txt", "images/0.png"] {
        write(root.path().join(name), b"");
    }
    let text = said(DatasetKind::Mnist, root.path());
    assert!(text.contains("a.txt, b.txt, c.txt, d.txt, e.txt, f.txt and 2 more"), "{text}");
    let text = said(DatasetKind::Cifar10, &root.path().join("mnist.npz"));
    assert!(text.contains("a file: give the folder"), "{text}");
    assert!(text.contains("cifar-10-python.tar.gz") && text.contains("train-00000-of-00001.parquet"), "{text}");
    write(root.path().join("cifar10/images/0.png"), b"");
    let text = said(DatasetKind::Cifar10, root.path());
    assert!(text.contains("cifar10 (it holds images/)"), "{text}");
}

#[test]
fn the_labels_of_mnist_are_known_in_parquet_too() {
    // the real labels with one grey image for all
    let mnist = Dataset::load(DatasetKind::Mnist, Some(&crate::support::data())).expect("data/mnist");
    let mut png = std::io::Cursor::new(Vec::new());
    image::GrayImage::new(28, 28).write_to(&mut png, image::ImageFormat::Png).expect("png");
    let root = tempfile::tempdir().expect("dir");
    for (split, labels) in [("train", mnist.train.labels()), ("test", mnist.test.labels())] {
        let row = |label: &u16| Row {
            image: crate::support::Image::Bytes(png.get_ref().clone()),
            label: Some((*label).into()),
        };
        let rows: Vec<Row> = labels.iter().map(row).collect();
        let path = root.path().join(format!("{split}-00000-of-00001.parquet"));
        write_parquet(&path, ["image", "label"], &rows, 10_000, Compression::SNAPPY);
    }
    assert_eq!(Dataset::load(DatasetKind::Mnist, Some(root.path())).expect("MNIST").train.len(), 60_000);
    match Dataset::load(DatasetKind::FashionMnist, Some(root.path())) {
        Err(Error::Corrupt { fault, .. }) => assert_eq!(fault, Fault::OtherDataset(DatasetKind::Mnist)),
        other => panic!("{:?}", other.map(|d| d.kind)),
    }
}
