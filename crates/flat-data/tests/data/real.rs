//! The real data: MNIST is part of the project; the others are read where they are.

use candle_core::{DType, Device};
use flat_core::Streams;
use flat_data::{Dataset, DatasetKind, Error, Loader, LoaderOptions, Normalisation, Split, locate};

use crate::support::data;

/// Loads a data set that need not be there; says so where it is not.
fn present(kind: DatasetKind) -> Option<Dataset> {
    match locate(kind, None) {
        Ok(files) => {
            println!("{kind}: {}", files.dir.display());
            Some(Dataset::read(kind, &files).expect("it reads"))
        }
        Err(Error::NotFound { .. }) => {
            println!("skipped: {kind} is not here; set FLAT_DATA_DIR to the folder that holds `{kind}/`");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

fn counts(split: &Split) -> Vec<usize> {
    let mut counts = vec![0; split.classes()];
    split.labels().iter().for_each(|&label| counts[usize::from(label)] += 1);
    counts
}

fn assert_normalised(split: &Split, expected: &Normalisation, tolerance: f64) {
    let found = Normalisation::of(split).expect("moments");
    let pairs = found.mean.iter().zip(&expected.mean).chain(found.std.iter().zip(&expected.std));
    for (found, expected) in pairs {
        assert!((found - expected).abs() <= tolerance, "{found} {expected}");
    }
}

#[test]
fn mnist_is_the_known_one() {
    let mnist = Dataset::load(DatasetKind::Mnist, Some(&data())).expect("data/mnist");
    assert_eq!((mnist.train.len(), mnist.test.len()), (60_000, 10_000));
    assert_eq!(mnist.train.labels()[..5], [5, 0, 4, 1, 9]);
    assert_eq!(mnist.test.labels()[..5], [7, 2, 1, 0, 4]);
    // the counts that LeCun's page and every tutorial give
    assert_eq!(counts(&mnist.train), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    assert_eq!(counts(&mnist.test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    // the constants have four digits
    assert_normalised(&mnist.train, &DatasetKind::Mnist.normalisation(), 1e-4);
}

#[test]
fn mnist_is_found_without_being_told_where() {
    let mnist = present(DatasetKind::Mnist).expect("it lies in the project's data folder");
    assert_eq!(mnist.train.len(), 60_000);
}

#[test]
fn a_normalised_mnist_has_mean_zero_and_deviation_one() {
    let mnist = Dataset::load(DatasetKind::Mnist, Some(&data())).expect("data/mnist");
    let test = std::sync::Arc::new(mnist.test);
    let own = Normalisation::of(&test).expect("moments");
    let loader = Loader::new(test, own, LoaderOptions::default(), Streams::new(0), DType::F32, Device::Cpu);
    let images = loader.and_then(|loader| loader.all()).expect("batch").images;
    let images = images.to_dtype(DType::F64).and_then(|t| t.flatten_all()).expect("images");
    let mean = images.mean_all().and_then(|t| t.to_scalar::<f64>()).expect("mean");
    let square = images.sqr().and_then(|t| t.mean_all()?.to_scalar::<f64>()).expect("square");
    // each value is rounded to f32 once, 1e-7 relative; the mean of 7.8 million such errors is far below
    assert!(mean.abs() < 1e-7 && (square - 1.0).abs() < 1e-6, "{mean} {square}");
}

#[test]
fn fashion_mnist_where_it_is_here_is_the_known_one() {
    let Some(fashion) = present(DatasetKind::FashionMnist) else { return };
    assert_eq!(fashion.train.labels()[..5], [9, 0, 0, 3, 0]);
    assert_eq!(counts(&fashion.train), [6000; 10]);
    assert_eq!(counts(&fashion.test), [1000; 10]);
    assert_normalised(&fashion.train, &DatasetKind::FashionMnist.normalisation(), 1e-4);
}

#[test]
fn cifar10_where_it_is_here_is_whole_and_upright() {
    let Some(cifar) = present(DatasetKind::Cifar10) else { return };
    assert_eq!(counts(&cifar.train), [5000; 10]);
    assert_eq!(counts(&cifar.test), [1000; 10]);
    // a JPEG copy differs from the original, for which the constants are, by some tenths of a grey level
    assert_normalised(&cifar.train, &DatasetKind::Cifar10.normalisation(), 2e-3);
    // The sky is above: the mean blue of the top rows is well above that of the bottom rows, while left and right are
    // alike. In transposed images it is the other way round.
    let [mut top, mut bottom, mut left, mut right] = [0.0; 4];
    for blue in cifar.train.images().chunks_exact(1024).skip(2).step_by(3) {
        for (i, &p) in blue.iter().enumerate() {
            let (y, x, p) = (i / 32, i % 32, f64::from(p) / (256.0 * 50_000.0));
            top += if y < 8 { p } else { 0.0 };
            bottom += if y >= 24 { p } else { 0.0 };
            left += if x < 8 { p } else { 0.0 };
            right += if x >= 24 { p } else { 0.0 };
        }
    }
    println!("mean blue: top {top:.1}, bottom {bottom:.1}, left {left:.1}, right {right:.1}");
    assert!(top - bottom > 15.0 && (left - right).abs() < 5.0, "{top} {bottom} {left} {right}");
}

#[test]
fn cifar100_where_it_is_here_is_whole() {
    let Some(cifar) = present(DatasetKind::Cifar100) else { return };
    assert_eq!(counts(&cifar.train), [500; 100]);
    assert_eq!(counts(&cifar.test), [100; 100]);
}
