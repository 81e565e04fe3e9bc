//! The data sets: one item each, with everything that differs between them.

use crate::colored::COLORS;
use crate::{Normalisation, Pinned, pin};
use flat_core::named;

named! {
    /// A data set of labelled images.
    pub enum DatasetKind, "dataset" {
        /// Handwritten digits.
        Mnist = "mnist",
        /// Articles of clothing.
        FashionMnist = "fashion-mnist" | "fmnist" | "fashion",
        /// Ten classes of objects.
        Cifar10 = "cifar10",
        /// A hundred classes of objects; the fine labels.
        Cifar100 = "cifar100",
        /// MNIST in colours that go along with the class; made from MNIST.
        ColoredMnist = "colored-mnist" | "coloured-mnist" | "cmnist",
    }
}

/// The facts of a data set that are known before its files are read.
#[derive(Debug)]
pub struct DatasetSpec {
    /// What text calls it.
    pub title: &'static str,
    /// In a line.
    pub about: &'static str,
    /// Authors, year and, where there is one, the arXiv id.
    pub paper: &'static str,
    /// Training and test images.
    pub examples: [usize; 2],
    /// Channels: 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Side of an image in pixels; images are square.
    pub size: usize,
    /// Number of classes.
    pub classes: usize,
    /// Values of a spurious attribute that every image has beside its class; 0 where there is none.
    pub attributes: usize,
    /// Mean of the training images, scaled to [0, 1], one a channel.
    pub mean: &'static [f64],
    /// Their standard deviation, one a channel.
    pub std: &'static [f64],
    /// What its own folder is called: here, by torchvision, and on the hub.
    pub(crate) folders: &'static [&'static str],
    /// Its files on the Hugging Face hub; `None` for a set that is made here.
    pub hub: Option<Pinned>,
    /// CIFAR's batches; none for a set of IDX files.
    pub(crate) batches: Batches,
    /// The column of labels in a parquet file.
    pub(crate) label_column: &'static str,
    /// The files that a search looks for, in words.
    pub(crate) looked_for: &'static str,
    /// Where else it can be had from.
    pub(crate) elsewhere: &'static str,
}

/// Files of CIFAR's distribution.
#[derive(Debug)]
pub(crate) struct Batches {
    /// The archive's name up to its form.
    pub archive: &'static str,
    /// The training files.
    pub train: &'static [&'static str],
    /// The test file.
    pub test: &'static str,
    /// Classes of each label byte of a binary record; the last one is the label.
    pub labels: &'static [usize],
    /// The entry of labels in a Python batch.
    pub entry: &'static str,
}

const IDX: &str =
    "train-images-idx3-ubyte (or .gz) and its three companions, or train-00000-of-00001.parquet and the like";

const MNIST: DatasetSpec = DatasetSpec {
    title: "MNIST",
    about: "handwritten digits",
    paper: "LeCun, Cortes, Burges 1998",
    examples: [60_000, 10_000],
    channels: 1,
    size: 28,
    classes: 10,
    attributes: 0,
    mean: &[0.1307],
    std: &[0.3081],
    folders: &["mnist", "MNIST"],
    hub: Some(pin::MNIST),
    batches: Batches { archive: "", train: &[], test: "", labels: &[], entry: "" },
    label_column: "label",
    looked_for: IDX,
    elsewhere: "",
};

const FASHION_MNIST: DatasetSpec = DatasetSpec {
    title: "Fashion-MNIST",
    about: "articles of clothing",
    paper: "Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747",
    mean: &[0.2860],
    std: &[0.3530],
    folders: &["fashion-mnist", "FashionMNIST", "fashion_mnist"],
    hub: Some(pin::FASHION_MNIST),
    elsewhere: "install Debian's dataset-fashion-mnist, which puts it in /usr/share/datasets/fashion-mnist",
    ..MNIST
};

const CIFAR10: DatasetSpec = DatasetSpec {
    title: "CIFAR-10",
    about: "ten classes of objects",
    paper: "Krizhevsky 2009",
    examples: [50_000, 10_000],
    channels: 3,
    size: 32,
    classes: 10,
    attributes: 0,
    mean: &[0.4914, 0.4822, 0.4465],
    std: &[0.2470, 0.2435, 0.2616],
    folders: &["cifar10", "cifar-10-batches-py", "cifar-10-batches-bin"],
    hub: Some(pin::CIFAR10),
    batches: Batches {
        archive: "cifar-10",
        train: &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
        test: "test_batch",
        labels: &[10],
        entry: "labels",
    },
    label_column: "label",
    looked_for: "data_batch_1 to 5 and test_batch (or .bin), cifar-10-python.tar.gz or cifar-10-binary.tar.gz, or \
                 train-00000-of-00001.parquet and the like",
    elsewhere: "",
};

const CIFAR100: DatasetSpec = DatasetSpec {
    title: "CIFAR-100",
    about: "a hundred classes of objects, by their fine labels",
    classes: 100,
    mean: &[0.5071, 0.4865, 0.4409],
    std: &[0.2673, 0.2564, 0.2762],
    folders: &["cifar100", "cifar-100-python", "cifar-100-binary"],
    hub: Some(pin::CIFAR100),
    batches: Batches {
        archive: "cifar-100",
        train: &["train"],
        test: "test",
        labels: &[20, 100],
        entry: "fine_labels",
    },
    // there is no column `label`, so that CIFAR-10 is not taken for it
    label_column: "fine_label",
    looked_for: "train and test (or .bin), cifar-100-python.tar.gz or cifar-100-binary.tar.gz, or \
                 train-00000-of-00001.parquet and the like",
    ..CIFAR10
};

const COLORED_MNIST: DatasetSpec = DatasetSpec {
    title: "Coloured MNIST",
    about: "handwritten digits in ten colours, most in the colour of their class",
    paper: "ten classes and ten colours as Nam et al. 2020, arXiv 2007.02561",
    channels: 3,
    attributes: COLORS.len(),
    // of colours that do not depend on the digit: MNIST's moments times those of the ten colours
    mean: &[0.0719, 0.0719, 0.0719],
    std: &[0.2316, 0.2316, 0.2316],
    folders: &["colored-mnist"],
    hub: None,
    looked_for: "train-images-idx4-ubyte (or .gz) and its three companions",
    ..MNIST
};

impl std::ops::Deref for DatasetKind {
    type Target = DatasetSpec;
    fn deref(&self) -> &DatasetSpec {
        match self {
            Self::Mnist => &MNIST,
            Self::FashionMnist => &FASHION_MNIST,
            Self::Cifar10 => &CIFAR10,
            Self::Cifar100 => &CIFAR100,
            Self::ColoredMnist => &COLORED_MNIST,
        }
    }
}

impl DatasetSpec {
    /// Shape of an image: channels, height, width.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.size, self.size]
    }

    /// Mean and standard deviation of the training images, scaled to [0, 1].
    pub fn normalisation(&self) -> Normalisation {
        Normalisation { mean: self.mean.to_vec(), std: self.std.to_vec() }
    }

    /// Whether the files are IDX where they are not parquet (else CIFAR's batches).
    pub(crate) fn is_idx(&self) -> bool {
        self.batches.train.is_empty()
    }

    /// The names of a split's IDX files, images first: their part before and their dimensions after the joint.
    pub(crate) fn idx_files(&self, split: &str) -> [(String, u8); 2] {
        let images = if self.channels == 1 { 3 } else { 4 };
        let labels = if self.attributes == 0 { 1 } else { 2 };
        [(format!("{split}-images"), images), (format!("{split}-labels"), labels)]
    }
}

impl DatasetKind {
    /// The command of `flat-train` that gets it.
    pub fn get(self) -> String {
        if self.hub.is_some() { format!("data fetch {self}") } else { "data color".into() }
    }
}

/// By its name.
impl serde::Serialize for DatasetKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for DatasetKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back_to_its_kind() {
        for kind in DatasetKind::ALL.iter().copied() {
            assert_eq!(kind.to_string().parse::<DatasetKind>().expect("own name"), kind);
            assert_eq!(kind.normalisation().mean.len(), kind.channels);
            assert_eq!(kind.normalisation().std.len(), kind.channels);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        assert_eq!("Fashion-MNIST".parse::<DatasetKind>(), Ok(DatasetKind::FashionMnist));
        let error = "MNISTT".parse::<DatasetKind>().expect_err("unknown").to_string();
        assert!(error.contains("MNISTT") && error.contains("did you mean mnist?"), "{error}");
        assert!(error.contains("fashion-mnist"), "{error}");
    }
}
