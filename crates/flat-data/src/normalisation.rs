//! Mean and standard deviation of pixels, channel by channel.

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Split};

/// Per-channel mean and standard deviation of images scaled to [0, 1]; a value x becomes `(x / 255 - mean) / std`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// Mean, one a channel.
    pub mean: Vec<f64>,
    /// Standard deviation (population), one a channel; positive.
    pub std: Vec<f64>,
}

impl Normalisation {
    /// The one that leaves images in [0, 1].
    pub fn none(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], std: vec![1.0; channels] }
    }

    /// Measures the mean and standard deviation of a split, each channel over all its pixels.
    ///
    /// # Errors
    /// [`Error::BadSplit`] where a channel is constant.
    pub fn of(split: &Split) -> Result<Self> {
        let plane = split.height() * split.width();
        let mut counts = vec![[0u64; 256]; split.channels()];
        for (i, pixels) in split.images().chunks_exact(plane).enumerate() {
            let count = &mut counts[i % split.channels()];
            pixels.iter().for_each(|&p| count[usize::from(p)] += 1);
        }
        let moments = counts.iter().map(|count| {
            let n = count.iter().sum::<u64>() as f64;
            let of = |f: &dyn Fn(f64) -> f64| {
                count.iter().enumerate().map(|(p, &c)| c as f64 * f(p as f64 / 255.0)).sum::<f64>() / n
            };
            let mean = of(&|x| x);
            (mean, of(&|x| (x - mean).powi(2)).sqrt())
        });
        let (mean, std): (Vec<_>, Vec<_>) = moments.unzip();
        if std.iter().any(|&s| s.is_nan() || s <= 0.0) {
            return Err(Error::BadSplit("a channel is constant, it cannot be normalised".into()));
        }
        Ok(Self { mean, std })
    }

    /// What each byte value of each channel becomes.
    pub(crate) fn table(&self) -> Vec<[f64; 256]> {
        let channel = |(mean, std): (&f64, &f64)| std::array::from_fn(|p| (p as f64 / 255.0 - mean) / std);
        self.mean.iter().zip(&self.std).map(channel).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normalisation_of_a_known_split_is_its_mean_and_deviation() {
        // two images of two pixels: 0, 255 / 255, 255: mean 3/4, deviation sqrt(3)/4
        let split = Split::new(vec![0, 255, 255, 255], vec![0, 1], [1, 1, 2], 2).expect("split");
        let found = Normalisation::of(&split).expect("normalisation");
        assert!((found.mean[0] - 0.75).abs() < 1e-15 && (found.std[0] - 3f64.sqrt() / 4.0).abs() < 1e-15, "{found:?}");
    }

    #[test]
    fn a_constant_split_cannot_be_normalised() {
        let split = Split::new(vec![7; 4], vec![0, 1], [1, 1, 2], 2).expect("split");
        assert!(matches!(Normalisation::of(&split), Err(Error::BadSplit(_))));
    }
}
