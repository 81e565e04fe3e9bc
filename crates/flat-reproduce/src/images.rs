//! The images of a study: a small training set, a validation set held out of the training images, the test set.

use crate::flags::Flags;
use crate::recipe::Sizes;
use anyhow::{Result, bail};
use flat_core::{Purpose, Streams};
use flat_data::{Dataset, DatasetKind, Split};
use flat_run::store::sums;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The sums of the parts of a data set, by the names of the parts.
pub(super) type Sums = BTreeMap<String, String>;

/// The images of a study.
#[derive(Clone)]
pub(super) struct Images {
    /// The folder they were read from.
    pub dir: PathBuf,
    /// The first images of the training set.
    pub train: Arc<Split>,
    /// The training images right after those: settings are chosen on them.
    pub validation: Arc<Split>,
    /// The first images of the test set: what is reported.
    pub test: Arc<Split>,
    /// How many of the training images, the first ones, the Hessian is of.
    pub curvature: usize,
}

impl Images {
    /// Reads the data set of the flags and takes so many images of each kind. Beside them stand the sums of the whole data set.
    ///
    /// # Errors
    /// Missing or damaged files; a data set with fewer images.
    pub fn load(flags: &Flags, dir: Option<&Path>, [train, validation, test]: Sizes) -> Result<(Self, Sums)> {
        let kind: DatasetKind = flags.parsed("dataset")?;
        let files = flat_data::locate(kind, dir)?;
        let all = Dataset::read(kind, &files)?;
        if train + validation > all.train.len() {
            bail!("{kind} has {} training images, {} are needed", all.train.len(), train + validation);
        }
        let held_out: Vec<usize> = (train..train + validation).collect();
        let sums = sums(kind, &[("training", &all.train), ("test", &all.test)]);
        let images = Self {
            dir: files.dir,
            validation: Arc::new(all.train.select(&held_out)?),
            train: Arc::new(all.train.take(train)?),
            test: Arc::new(all.test.take(test)?),
            curvature: train,
        };
        Ok((images, sums))
    }

    /// The images on which a run is scored.
    pub fn held_out(&self, which: HeldOut) -> &Arc<Split> {
        match which {
            HeldOut::Validation => &self.validation,
            HeldOut::Test => &self.test,
        }
    }
}

/// The images on which a run is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeldOut {
    /// While settings are chosen.
    Validation,
    /// What is reported.
    Test,
}

/// `copies` copies of every image; in each copy a random tenth of the values is 0 and the label is drawn uniformly from
/// the classes, independently of the image.
///
/// S. Liu, D. Papailiopoulos, D. Achlioptas, "Bad Global Minima Exist and SGD Can Reach Them", NeurIPS 2020, arXiv
/// 1906.02613.
pub(super) fn zeroed_copies(split: &Split, copies: usize, seed: u64) -> Result<Arc<Split>> {
    let streams = Streams::new(seed);
    let mut images = Vec::with_capacity(copies * split.images().len());
    let mut labels = Vec::with_capacity(copies * split.len());
    for copy in 0..copies as u64 {
        let keep = streams.at2(Purpose::Subset, copy, 0).uniforms(split.images().len());
        images.extend(split.images().iter().zip(keep).map(|(&value, u)| if u < 0.1 { 0 } else { value }));
        let mut draw = streams.at2(Purpose::Subset, copy, 1);
        labels.extend((0..split.len()).map(|_| draw.below(split.classes()) as u16));
    }
    Ok(Arc::new(Split::new(images, labels, split.shape(), split.classes())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_lose_a_tenth_of_their_values_and_their_labels() -> Result<()> {
        let split = Split::new(vec![7; 20 * 500], vec![3; 500], [1, 4, 5], 10)?;
        let copies = zeroed_copies(&split, 3, 1)?;
        assert_eq!((copies.len(), copies.shape()), (1500, [1, 4, 5]));
        // 30,000 values: the share of zeros has a standard deviation of 0.0017
        let zeros = copies.images().iter().filter(|v| **v == 0).count() as f64 / 30_000.0;
        assert!((zeros - 0.1).abs() < 0.009, "{zeros}");
        assert!(copies.images().iter().all(|v| [0, 7].contains(v)));
        // 150 expected a class, standard deviation 12
        let counts = (0..10).map(|class| copies.labels().iter().filter(|l| **l == class).count());
        assert!(counts.clone().all(|n| (90..210).contains(&n)), "{:?}", counts.collect::<Vec<_>>());
        assert_ne!(copies.images()[..10_000], copies.images()[10_000..20_000], "each copy has zeros of its own");
        assert_eq!(zeroed_copies(&split, 3, 1)?, copies);
        assert_ne!(zeroed_copies(&split, 3, 2)?, copies);
        Ok(())
    }
}
