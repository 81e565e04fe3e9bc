//! `verify` on good and on tampered data.

use std::fs;
use std::path::Path;

use flat_data::{DatasetKind, Error, FileState, Manifest, VerifyReport, sha256_file, verify};

use crate::support::{copy_mnist, data, write_cifar10};

fn states(report: &VerifyReport) -> Vec<FileState> {
    report.files.iter().map(|file| file.state).collect()
}

#[test]
fn the_projects_mnist_is_whole() {
    let report = verify(DatasetKind::Mnist, Some(&data())).expect("data/mnist");
    assert!(report.is_ok(), "{report:?}");
    assert_eq!((report.train, report.test), (Some(60_000), Some(10_000)));
    assert_eq!(states(&report), [FileState::Recorded; 4]);
}

#[test]
fn without_a_manifest_mnist_is_compared_with_the_original() {
    let dir = tempfile::tempdir().expect("dir");
    copy_mnist(dir.path());
    let report = verify(DatasetKind::Mnist, Some(dir.path())).expect("verify");
    assert!(report.is_ok(), "{report:?}");
    assert_eq!(states(&report), [FileState::Known; 4]);
    // other images of the right form
    let header = [0x0803u32, 10_000, 28, 28].into_iter().flat_map(u32::to_be_bytes);
    let bytes: Vec<u8> = header.chain(vec![0; 10_000 * 784]).collect();
    fs::remove_file(dir.path().join("t10k-images-idx3-ubyte.gz")).expect("remove");
    fs::write(dir.path().join("t10k-images-idx3-ubyte"), bytes).expect("write");
    let report = verify(DatasetKind::Mnist, Some(dir.path())).expect("verify");
    assert!(!report.is_ok());
    assert_eq!(states(&report)[2], FileState::Mismatch);
    assert!(report.files[2].problem.as_ref().is_some_and(|p| p.contains("original mnist")), "{report:?}");
}

#[test]
fn a_damaged_file_is_reported_with_its_problem_and_the_others_pass() {
    let dir = tempfile::tempdir().expect("dir");
    copy_mnist(dir.path());
    let path = dir.path().join("train-labels-idx1-ubyte.gz");
    let whole = fs::read(&path).expect("read");
    fs::write(&path, &whole[..whole.len() - 100]).expect("write");
    let report = verify(DatasetKind::Mnist, Some(dir.path())).expect("verify");
    assert!(!report.is_ok() && report.train.is_none() && report.problem.is_some());
    assert_eq!(states(&report), [FileState::Known, FileState::Corrupt, FileState::Known, FileState::Known]);
}

fn record(dir: &Path) {
    let name = "plain_text/train/0000.parquet".to_string();
    let sum = sha256_file(&dir.join(&name)).expect("sum");
    Manifest { sums: [(name, sum)].into() }.write(dir).expect("manifest");
}

#[test]
fn files_are_compared_with_the_manifest_and_the_rest_is_unchecked() {
    let dir = tempfile::tempdir().expect("dir");
    write_cifar10(dir.path());
    record(dir.path());
    let report = verify(DatasetKind::Cifar10, Some(dir.path())).expect("verify");
    assert!(report.is_ok(), "{report:?}");
    assert_eq!(states(&report), [FileState::Recorded, FileState::Unchecked]);
    assert_eq!((report.train, report.test), (Some(3), Some(2)));
    // a valid file, but not the recorded one
    fs::copy(dir.path().join("plain_text/test/0000.parquet"), dir.path().join("plain_text/train/0000.parquet"))
        .expect("copy");
    let report = verify(DatasetKind::Cifar10, Some(dir.path())).expect("verify");
    assert!(!report.is_ok());
    assert_eq!(states(&report), [FileState::Mismatch, FileState::Unchecked]);
}

#[test]
fn what_is_not_there_is_an_error_with_the_remedy() {
    let dir = tempfile::tempdir().expect("dir");
    match verify(DatasetKind::Cifar10, Some(dir.path())) {
        Err(Error::NotFound { remedy, .. }) => assert!(remedy.contains("data fetch cifar10"), "{remedy}"),
        other => panic!("{other:?}"),
    }
}
