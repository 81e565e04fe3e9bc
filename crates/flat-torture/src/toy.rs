//! A data set small enough that a run takes some hundredths of a second.

use crate::random::Random;
use anyhow::Result;
use std::path::Path;

/// Training images.
pub(crate) const TRAIN: usize = 256;
/// Test images.
const TEST: usize = 64;

/// Writes an MNIST whose digits are blobs with noise.
///
/// # Errors
/// A full disk.
pub(crate) fn write(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut random = Random::new(1);
    for (name, n) in [("train", TRAIN), ("t10k", TEST)] {
        let labels: Vec<u8> = (0..n).map(|_| random.below(10) as u8).collect();
        let mut pixels = Vec::with_capacity(n * 784);
        for label in &labels {
            let (x, y) = (usize::from(label % 5) * 5 + 2, usize::from(label / 5) * 12 + 4);
            pixels.extend((0..784usize).map(|i| {
                let inside = (i % 28).abs_diff(x) < 4 && (i / 28).abs_diff(y) < 5;
                (random.below(100) + if inside { 120 } else { 0 }) as u8
            }));
        }
        let idx = |dimensions: &[usize], bytes: &[u8]| -> Vec<u8> {
            let mut file = vec![0, 0, 8, dimensions.len() as u8];
            file.extend(dimensions.iter().flat_map(|n| (*n as u32).to_be_bytes()));
            file.extend(bytes);
            file
        };
        std::fs::write(dir.join(format!("{name}-images-idx3-ubyte")), idx(&[n, 28, 28], &pixels))?;
        std::fs::write(dir.join(format!("{name}-labels-idx1-ubyte")), idx(&[n], &labels))?;
    }
    Ok(())
}
