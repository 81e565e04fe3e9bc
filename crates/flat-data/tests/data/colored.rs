//! Coloured MNIST on disk: made, found, read, verified.

use std::fs;
use std::path::Path;

use flat_data::{Coloring, Dataset, DatasetKind, Error, FileState, Made, locate, make_colored, verify};

use crate::support::data;

const KIND: DatasetKind = DatasetKind::ColoredMnist;

fn make(correlation: f64, seed: u64, out: &Path) -> Result<Made, Error> {
    make_colored(Coloring { correlation, seed }, Some(&data()), Some(out))
}

#[test]
fn a_set_that_was_made_reads_as_it_was_and_verifies_by_its_manifest() {
    let dir = tempfile::tempdir().expect("dir");
    let made = make(0.9, 1, dir.path()).expect("made");
    let read = Dataset::load(KIND, Some(dir.path())).expect("read");
    assert!(read == made.dataset);
    let mnist = Dataset::load(DatasetKind::Mnist, Some(&data())).expect("mnist");
    assert_eq!((read.train.labels(), read.test.labels()), (mnist.train.labels(), mnist.test.labels()));
    assert_eq!((read.train.shape(), read.train.len(), read.test.len()), ([3, 28, 28], 60_000, 10_000));
    let groups = read.train.groups().expect("groups");
    let aligned = groups.attributes().iter().zip(read.train.labels()).filter(|(a, y)| u16::from(**a) == **y).count();
    // binomial: 54,000 +- 73; five standard deviations
    assert!(aligned.abs_diff(54_000) < 367, "{aligned}");
    let report = verify(KIND, Some(dir.path())).expect("verify");
    assert!(report.is_ok(), "{report:?}");
    assert!(report.files.iter().all(|file| file.state == FileState::Recorded));

    // the same again, and another one, which must not take its place
    let sums: Vec<_> = made.files.iter().map(|file| file.sha256.clone()).collect();
    let again = make(0.9, 1, dir.path()).expect("the same");
    assert_eq!(again.files.iter().map(|file| file.sha256.clone()).collect::<Vec<_>>(), sums);
    let error = make(0.95, 1, dir.path()).expect_err("another").to_string();
    assert!(error.contains("--correlation 0.9 --seed 1") && error.contains("--out"), "{error}");
    assert!(Dataset::load(KIND, Some(dir.path())).expect("still there") == read);

    let path = dir.path().join("t10k-labels-idx2-ubyte.gz");
    let whole = fs::read(&path).expect("file");
    fs::write(&path, &whole[..whole.len() - 9]).expect("cut");
    assert!(!verify(KIND, Some(dir.path())).expect("verify").is_ok());
    assert!(matches!(Dataset::load(KIND, Some(dir.path())), Err(Error::Corrupt { .. })));
}

#[test]
fn grey_and_coloured_digits_are_not_taken_for_each_other() {
    let dir = tempfile::tempdir().expect("dir");
    for name in ["train-images-idx4", "train-labels-idx2", "t10k-images-idx4", "t10k-labels-idx2"] {
        fs::write(dir.path().join(format!("{name}-ubyte.gz")), b"").expect("file");
    }
    assert!(locate(KIND, Some(dir.path())).is_ok());
    assert!(matches!(locate(DatasetKind::Mnist, Some(dir.path())), Err(Error::NotFound { .. })));
    let error = locate(KIND, Some(&data().join("mnist"))).expect_err("grey").to_string();
    assert!(error.contains("flat-train data color"), "{error}");
}
