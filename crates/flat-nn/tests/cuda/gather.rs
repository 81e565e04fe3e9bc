//! Batches out of a split that lies on the device.

use crate::host::{Element, at, at_mut, compiler, run};
use flat_kernels::cuda::gather::{Source, examples};
use flat_kernels::cuda::launch::GATHER;

/// A split of four images of 2 channels, 3 rows and 5 columns, whose byte is its place, and a table that tells channels apart.
const SHAPE: [usize; 3] = [2, 3, 5];
const IMAGE: usize = 30;

fn batch(indices: &[i64], plans: &[i64]) -> (Vec<f64>, Vec<u32>) {
    let n = indices.len();
    let bytes: Vec<u8> = (0..4 * IMAGE).map(|i| i as u8).collect();
    let labels = [7u32, 8, 9, 10];
    let table: Vec<f64> = (0..512).map(f64::from).chain([-1.0]).collect();
    let numbers = [indices, plans].concat();
    let (mut images, mut chosen) = (vec![f64::NAN; n * IMAGE], vec![0u32; n]);
    let from = Source { bytes: at(&bytes), labels: at(&labels), table: at(&table) };
    let to = (at(&numbers), !plans.is_empty());
    let launch = examples(f64::REAL, n, SHAPE, from, to, at_mut(&mut images), at_mut(&mut chosen));
    // SAFETY: a split of four, a table of two channels, seven numbers an image or none.
    unsafe { run(&GATHER, &[launch]) };
    (images, chosen)
}

#[test]
fn a_batch_is_looked_up_byte_by_byte() {
    if !compiler() {
        return;
    }
    let (images, labels) = batch(&[2, 0, 2], &[]);
    assert_eq!(labels, [9, 7, 9]);
    for (i, image) in images.chunks_exact(IMAGE).enumerate() {
        for (e, x) in image.iter().enumerate() {
            let (channel, index) = (e / 15, [2, 0, 2][i]);
            assert_eq!(*x, (256 * channel + index * IMAGE + e) as f64);
        }
    }
}

#[test]
fn a_batch_is_shifted_turned_and_blanked_as_planned() {
    if !compiler() {
        return;
    }
    // the first as it is; the second a row down, turned around, with a hole of one row and two columns
    let plans = [[0, 1], [1, -1], [0, 4], [0, 1], [0, 2], [0, 2], [0, 4]].concat();
    let (images, _) = batch(&[1, 3], &plans);
    for channel in 0..2 {
        for (row, column) in (0..3).flat_map(|r| (0..5).map(move |c| (r, c))) {
            let at = |i: usize| images[i * IMAGE + channel * 15 + row * 5 + column];
            let byte = |i: usize, row: usize, column: usize| i * IMAGE + channel * 15 + row * 5 + column;
            assert_eq!(at(0), (256 * channel + byte(1, row, column)) as f64);
            let hole = row == 1 && (2..4).contains(&column);
            let expected = match (hole, row + 1 < 3) {
                (true, _) => -1.0,
                (false, true) => (256 * channel + byte(3, row + 1, 4 - column)) as f64,
                (false, false) => (256 * channel) as f64,
            };
            assert_eq!(at(1), expected, "channel {channel}, row {row}, column {column}");
        }
    }
}
