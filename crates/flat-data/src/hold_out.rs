//! Images held out of a split, for choices that must not look at the test set.

use crate::{Error, Result, Split};
use flat_core::{Purpose, Streams};

/// The split without `n` of its images, and these `n`: classes in proportion, drawn by `streams`, in the split's order.
///
/// Each class gives `n` times its share, rounded so that the sum is `n` (largest remainders; of equal ones the lower class
/// first). The same split, `n` and seed give the same images on every machine.
///
/// ```
/// use flat_core::Streams;
/// use flat_data::{Split, hold_out};
/// let split = Split::new(vec![0; 40], (0..40).map(|i| i % 2).collect(), [1, 1, 1], 2)?;
/// let (rest, held) = hold_out(&split, 10, &Streams::new(0))?;
/// assert_eq!((rest.len(), held.len()), (30, 10));
/// assert_eq!(held.labels().iter().filter(|label| **label == 1).count(), 5);
/// # Ok::<(), flat_data::Error>(())
/// ```
///
/// # Errors
/// [`Error::BadSplit`] where no image would be held out or none would be left.
pub fn hold_out(split: &Split, n: usize, streams: &Streams) -> Result<(Split, Split)> {
    if n == 0 || n >= split.len() {
        return Err(Error::BadSplit(format!(
            "{n} of {} images cannot be held out: some must be on each side",
            split.len()
        )));
    }
    let mut classes: Vec<Vec<usize>> = vec![Vec::new(); split.classes()];
    split.labels().iter().enumerate().for_each(|(i, label)| classes[usize::from(*label)].push(i));
    let counts = shares(n, &classes.iter().map(Vec::len).collect::<Vec<_>>());
    let mut held = vec![false; split.len()];
    for (class, (members, count)) in classes.iter().zip(counts).enumerate() {
        let order = streams.at2(Purpose::Subset, VALIDATION, class as u64).permutation(members.len());
        order.into_iter().take(count).for_each(|i| held[members[i]] = true);
    }
    let side = |wanted: bool| -> Vec<usize> { (0..split.len()).filter(|i| held[*i] == wanted).collect() };
    Ok((split.select(&side(false))?, split.select(&side(true))?))
}

/// Keeps these draws apart from other subsets of the same seed; part of the definition of the draws: never change.
const VALIDATION: u64 = 0x7661_6c69;

/// `n` in proportion to `sizes`, whose sum is at least `n`.
fn shares(n: usize, sizes: &[usize]) -> Vec<usize> {
    let total = sizes.iter().sum::<usize>() as u128;
    let exact = |size: usize| n as u128 * size as u128;
    let mut counts: Vec<usize> = sizes.iter().map(|size| (exact(*size) / total) as usize).collect();
    let mut by_remainder: Vec<usize> = (0..sizes.len()).collect();
    by_remainder.sort_by_key(|i| std::cmp::Reverse(exact(sizes[*i]) % total));
    let missing = n - counts.iter().sum::<usize>();
    by_remainder.into_iter().take(missing).for_each(|i| counts[i] += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `counts[c]` images of class c, each with pixels that name it.
    fn split(counts: &[usize]) -> Split {
        let labels: Vec<u16> = counts.iter().enumerate().flat_map(|(c, n)| vec![c as u16; *n]).collect();
        let images = (0..labels.len()).flat_map(|i| [(i / 256) as u8, (i % 256) as u8]).collect();
        Split::new(images, labels, [1, 1, 2], counts.len()).expect("a split")
    }

    #[test]
    fn every_image_is_on_one_side_and_every_class_in_proportion() -> Result<()> {
        let all = split(&[500, 300, 200, 7]);
        let (rest, held) = hold_out(&all, 101, &Streams::new(3))?;
        let mut together: Vec<&[u8]> = rest.images().chunks(2).chain(held.images().chunks(2)).collect();
        together.sort_unstable();
        assert_eq!(together, all.images().chunks(2).collect::<Vec<_>>());
        // 101 / 1007 of each: 50.1, 30.1, 20.1, 0.7
        let counts: Vec<usize> = (0..4).map(|c| held.labels().iter().filter(|l| **l == c).count()).collect();
        assert_eq!(counts, [50, 30, 20, 1]);
        Ok(())
    }

    #[test]
    fn the_seed_decides_which_and_nothing_else_does() -> Result<()> {
        let all = split(&[100, 100]);
        let held = |seed| hold_out(&all, 20, &Streams::new(seed)).map(|(_, held)| held);
        assert_eq!(held(1)?, held(1)?);
        assert_ne!(held(1)?, held(2)?);
        Ok(())
    }

    #[test]
    fn neither_side_may_be_empty() {
        let all = split(&[2, 2]);
        for n in [0, 4, 5] {
            assert!(matches!(hold_out(&all, n, &Streams::new(0)), Err(Error::BadSplit(_))), "{n}");
        }
        assert!(hold_out(&all, 3, &Streams::new(0)).is_ok());
    }
}
