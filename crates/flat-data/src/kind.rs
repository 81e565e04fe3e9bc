//! The data sets by name, with their shapes and normalisation constants.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Split};

/// A data set of labelled images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DatasetKind {
    /// Handwritten digits, 60,000 + 10,000, 28x28 grey (LeCun, Cortes, Burges 1998).
    #[serde(rename = "mnist")]
    Mnist,
    /// Articles of clothing, 60,000 + 10,000, 28x28 grey (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747).
    #[serde(rename = "fashion-mnist")]
    FashionMnist,
    /// Ten classes of objects, 50,000 + 10,000, 32x32 colour (Krizhevsky 2009).
    #[serde(rename = "cifar10")]
    Cifar10,
    /// A hundred classes of objects, 50,000 + 10,000, 32x32 colour (Krizhevsky 2009); the fine labels.
    #[serde(rename = "cifar100")]
    Cifar100,
}

impl DatasetKind {
    /// Every data set.
    pub const ALL: [Self; 4] = [Self::Mnist, Self::FashionMnist, Self::Cifar10, Self::Cifar100];

    /// The name used on the command line, in configurations and for folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
        }
    }

    /// Number of channels: 1 (grey) or 3 (red, green, blue).
    pub fn channels(self) -> usize {
        match self {
            Self::Mnist | Self::FashionMnist => 1,
            Self::Cifar10 | Self::Cifar100 => 3,
        }
    }

    /// Side of an image in pixels; images are square.
    pub fn size(self) -> usize {
        match self {
            Self::Mnist | Self::FashionMnist => 28,
            Self::Cifar10 | Self::Cifar100 => 32,
        }
    }

    /// Shape of an image: channels, height, width.
    pub fn shape(self) -> [usize; 3] {
        [self.channels(), self.size(), self.size()]
    }

    /// Number of classes.
    pub fn classes(self) -> usize {
        match self {
            Self::Cifar100 => 100,
            _ => 10,
        }
    }

    /// Per-channel mean and standard deviation of the training images, scaled to [0, 1].
    pub fn normalisation(self) -> Normalisation {
        let (mean, std): (&[f64], &[f64]) = match self {
            Self::Mnist => (&[0.1307], &[0.3081]),
            Self::FashionMnist => (&[0.2860], &[0.3530]),
            Self::Cifar10 => (&[0.4914, 0.4822, 0.4465], &[0.2470, 0.2435, 0.2616]),
            Self::Cifar100 => (&[0.5071, 0.4865, 0.4409], &[0.2673, 0.2564, 0.2762]),
        };
        Normalisation { mean: mean.to_vec(), std: std.to_vec() }
    }

    /// Whether the files are IDX where they are not parquet (else CIFAR binary batches).
    pub(crate) fn is_idx(self) -> bool {
        self.channels() == 1
    }

    /// Owner and name on the Hugging Face hub.
    pub(crate) fn hub_id(self) -> (&'static str, &'static str) {
        match self {
            Self::Mnist => ("ylecun", "mnist"),
            Self::FashionMnist => ("zalando-datasets", "fashion_mnist"),
            Self::Cifar10 => ("uoft-cs", "cifar10"),
            Self::Cifar100 => ("uoft-cs", "cifar100"),
        }
    }

    /// The files that a search looks for, in words.
    pub(crate) fn looked_for(self) -> &'static str {
        match self {
            Self::Mnist | Self::FashionMnist => {
                "train-images-idx3-ubyte (or .gz) and its three companions, or train-00000-of-00001.parquet and the like"
            }
            Self::Cifar10 => {
                "data_batch_1 to 5 and test_batch (or .bin), cifar-10-python.tar.gz or cifar-10-binary.tar.gz, or \
                 train-00000-of-00001.parquet and the like"
            }
            Self::Cifar100 => {
                "train and test (or .bin), cifar-100-python.tar.gz or cifar-100-binary.tar.gz, or \
                 train-00000-of-00001.parquet and the like"
            }
        }
    }

    /// The folder that holds `train/` and `test/` in the hub's parquet revision.
    pub(crate) fn hub_config(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion_mnist",
            Self::Cifar10 => "plain_text",
            Self::Cifar100 => "cifar100",
        }
    }
}

impl fmt::Display for DatasetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DatasetKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| Error::UnknownDataset(name.to_string()))
    }
}

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
    fn every_name_parses_back_to_its_kind() {
        for kind in DatasetKind::ALL {
            assert_eq!(kind.to_string().parse::<DatasetKind>().expect("own name"), kind);
            assert_eq!(kind.normalisation().mean.len(), kind.channels());
            assert_eq!(kind.normalisation().std.len(), kind.channels());
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "MNIST".parse::<DatasetKind>().expect_err("case matters").to_string();
        assert!(error.contains("`MNIST`") && error.contains("fashion-mnist"), "{error}");
    }

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
