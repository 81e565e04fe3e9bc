//! Coloured MNIST: digits in colours that go along with the class in training and not in the test set.

use flat_core::{Purpose, Streams};

use crate::split::Examples;
use crate::{Dataset, DatasetKind, Error, Result, Split};

/// Red, green and blue of the colours; class y has colour y.
pub const COLORS: [[u8; 3]; 10] = [
    [255, 0, 0],
    [0, 255, 0],
    [0, 0, 255],
    [255, 255, 0],
    [255, 0, 255],
    [0, 255, 255],
    [255, 128, 0],
    [128, 0, 255],
    [0, 255, 128],
    [255, 255, 255],
];

/// How the digits are coloured. Nam et al. 2020 (arXiv 2007.02561) train at correlations of 0.95, 0.98, 0.99 and 0.995; they blur
/// the colours with noise, which is left out here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coloring {
    /// The share of training images in the colour of their class; the others have one of the other colours, all alike.
    pub correlation: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Coloring {
    /// Colours MNIST. The colour of a training image depends on the seed and its place alone. In the test set every ten images
    /// of a class have the ten colours, so that its groups, and those of its first images, are of one size.
    ///
    /// # Errors
    /// [`Error::BadOption`] for a correlation outside of [0, 1], [`Error::BadSplit`] for images that are not grey or of other
    /// than ten classes.
    pub fn apply(&self, mnist: &Dataset) -> Result<Dataset> {
        if !(0.0..=1.0).contains(&self.correlation) {
            let problem = format!("{} is no share of the images; give a number in [0, 1]", self.correlation);
            return Err(Error::BadOption { option: "correlation", problem });
        }
        let train = colored(&mnist.train, self.biased(mnist.train.labels()))?;
        let test = colored(&mnist.test, self.balanced(mnist.test.labels()))?;
        Ok(Dataset { kind: DatasetKind::ColoredMnist, train, test })
    }

    fn biased(&self, labels: &[u16]) -> Vec<u8> {
        let streams = Streams::new(self.seed);
        let draw = |(i, &class): (usize, &u16)| {
            let mut stream = streams.at(Purpose::Attribute, i as u64);
            if stream.uniform() < self.correlation {
                return class as u8;
            }
            // one of the others
            let other = stream.below(COLORS.len() - 1) as u16;
            (if other < class { other } else { other + 1 }) as u8
        };
        labels.iter().enumerate().map(draw).collect()
    }

    fn balanced(&self, labels: &[u16]) -> Vec<u8> {
        let streams = Streams::new(self.seed);
        let mut rounds = vec![(0, Vec::new()); 256];
        let draw = |&class: &u16| {
            let (round, left): &mut (u64, Vec<usize>) = &mut rounds[usize::from(class)];
            if left.is_empty() {
                *left = streams.at2(Purpose::Attribute, u64::from(class), *round).permutation(COLORS.len());
                *round += 1;
            }
            left.pop().unwrap_or_default() as u8
        };
        labels.iter().map(draw).collect()
    }
}

/// Grey images in these colours, whose numbers become the attributes.
fn colored(grey: &Split, colors: Vec<u8>) -> Result<Split> {
    let [channels, height, width] = grey.shape();
    if (channels, grey.classes()) != (1, COLORS.len()) {
        let problem = format!("{channels} channels and {} classes, where 1 and 10 are coloured", grey.classes());
        return Err(Error::BadSplit(problem));
    }
    let mut images = Vec::with_capacity(3 * grey.images().len());
    for (image, &color) in grey.images().chunks_exact(height * width).zip(&colors) {
        for part in COLORS[usize::from(color)] {
            images.extend(image.iter().map(|&pixel| ((u32::from(pixel) * u32::from(part) + 127) / 255) as u8));
        }
    }
    let (images, labels): Examples = (images, grey.labels().to_vec());
    Split::new(images, labels, [3, height, width], COLORS.len())?.with_attributes(colors, COLORS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(n: usize) -> Split {
        let images = (0..n * 4).map(|i| (i * 37 % 256) as u8).collect();
        Split::new(images, (0..n).map(|i| (i * i % 10) as u16).collect(), [1, 2, 2], 10).expect("split")
    }

    fn made(correlation: f64, seed: u64, n: usize) -> Dataset {
        let mnist = Dataset { kind: DatasetKind::Mnist, train: grey(n), test: grey(n) };
        Coloring { correlation, seed }.apply(&mnist).expect("coloured")
    }

    fn attributes(split: &Split) -> &[u8] {
        split.groups().expect("groups").attributes()
    }

    #[test]
    fn the_share_in_the_colour_of_the_class_is_the_correlation_and_the_others_are_alike() {
        let train = made(0.9, 3, 20_000).train;
        let mut counts = [[0u32; 10]; 2];
        for (&class, &color) in train.labels().iter().zip(attributes(&train)) {
            let place = (u16::from(color) + 10 - class) % 10;
            counts[usize::from(place == 0)][usize::from(place)] += 1;
        }
        // binomial of 20,000: 18,000 +- 42, and 222 +- 15 for each of nine others; five standard deviations
        assert!(counts[1][0].abs_diff(18_000) < 212, "{counts:?}");
        assert!(counts[0][1..].iter().all(|c| c.abs_diff(222) < 75), "{counts:?}");
    }

    #[test]
    fn every_beginning_of_the_test_set_has_groups_of_one_size() {
        let test = made(0.9, 0, 1000).test;
        for n in [100, 357, 1000] {
            let part = test.take(n).expect("part");
            let groups = part.groups().expect("groups");
            for class in 0..10 {
                let sizes: Vec<usize> =
                    (0..10).map(|attribute| groups.members(crate::Group { class, attribute }).len()).collect();
                assert!(sizes.iter().max() <= sizes.iter().min().map(|n| n + 1).as_ref(), "{sizes:?}");
            }
        }
    }

    #[test]
    fn a_pixel_is_its_grey_value_in_each_channel_of_the_colour() {
        let (grey, made) = (grey(50), made(0.5, 1, 50));
        for (i, &color) in attributes(&made.train).iter().enumerate() {
            let (from, to) = (grey.image(i).expect("grey"), made.train.image(i).expect("coloured"));
            for (channel, part) in COLORS[usize::from(color)].into_iter().enumerate() {
                for (pixel, &found) in from.iter().zip(&to[channel * 4..]) {
                    let exact = f64::from(*pixel) * f64::from(part) / 255.0;
                    assert!((f64::from(found) - exact).abs() <= 0.5, "{i} {channel}: {found} for {exact}");
                }
            }
        }
    }

    #[test]
    fn the_seed_decides_and_a_longer_set_begins_like_a_shorter_one() {
        assert_eq!(made(0.9, 5, 300), made(0.9, 5, 300));
        assert_ne!(attributes(&made(0.9, 5, 300).train), attributes(&made(0.9, 6, 300).train));
        assert_eq!(made(0.9, 5, 300).train.take(100).expect("part"), made(0.9, 5, 100).train);
    }

    #[test]
    fn correlations_of_0_and_1_never_and_always_take_the_colour_of_the_class() {
        let same =
            |split: &Split| split.labels().iter().zip(attributes(split)).filter(|(y, a)| **y == u16::from(**a)).count();
        assert_eq!((same(&made(0.0, 0, 400).train), same(&made(1.0, 0, 400).train)), (0, 400));
        for correlation in [-0.1, 1.1, f64::NAN] {
            let mnist = Dataset { kind: DatasetKind::Mnist, train: grey(10), test: grey(10) };
            let result = Coloring { correlation, seed: 0 }.apply(&mnist);
            assert!(matches!(result, Err(Error::BadOption { option: "correlation", .. })), "{correlation}");
        }
    }
}
