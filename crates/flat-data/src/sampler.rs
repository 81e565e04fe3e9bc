//! Batches drawn by groups, with replacement.

use flat_core::Stream;

use crate::{Error, Group, Groups, Result, Split};

/// The distribution of groups in a batch: classes alike, and within class y attribute a with the probability
/// `alpha_ya + balance (1/A_y - alpha_ya)`, where `alpha_ya` is its share in the data and `A_y` the number of attributes that
/// class y has. Groups without an example are left out. Asaad, Shadaydeh, Denzler 2025 (arXiv 2503.13236), equation 4.
#[derive(Debug, Clone)]
pub(crate) struct Sampler {
    /// For each class, its groups with the upper ends of their parts of [0, 1).
    classes: Vec<Vec<(f64, Group)>>,
}

impl Sampler {
    /// For a split with groups.
    pub(crate) fn new(split: &Split, balance: f64) -> Result<Self> {
        let wrong = |problem: String| Err(Error::BadOption { option: "balance", problem });
        if !(0.0..=1.0).contains(&balance) {
            return wrong(format!("{balance} is no share; give a number in [0, 1]"));
        }
        let Some(groups) = split.groups() else {
            return wrong("the examples have no groups; use a data set with a spurious attribute".into());
        };
        let mut classes: Vec<Vec<(f64, Group)>> = Vec::new();
        for class in 0..groups.classes() {
            let of_class: Vec<(Group, usize)> = groups
                .present()
                .filter(|(group, _)| group.class == class)
                .map(|(group, all)| (group, all.len()))
                .collect();
            let (total, equal) = (of_class.iter().map(|(_, n)| n).sum::<usize>() as f64, 1.0 / of_class.len() as f64);
            let mut end = 0.0;
            let part = |(group, n): &(Group, usize)| {
                let share = *n as f64 / total;
                end += share + balance * (equal - share);
                (end, *group)
            };
            let parts: Vec<(f64, Group)> = of_class.iter().map(part).collect();
            if !parts.is_empty() {
                classes.push(parts);
            }
        }
        Ok(Self { classes })
    }

    /// Draws `n` examples.
    pub(crate) fn draw(&self, groups: &Groups, n: usize, mut stream: Stream) -> Vec<usize> {
        let one = |_| {
            let class = &self.classes[stream.below(self.classes.len())];
            let at = stream.uniform();
            // the last end may be a rounding below 1
            let index = class.iter().position(|(end, _)| at < *end).unwrap_or(class.len() - 1);
            let members = groups.members(class[index].1);
            members[stream.below(members.len())]
        };
        (0..n).map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flat_core::{Purpose, Streams};

    /// Class 0: 90 examples of attribute 0, 8 of 1, 2 of 2; class 1: 5 of attribute 1 and 15 of 2; none of class 2.
    fn split() -> Split {
        let counts = [(0, 0, 90), (0, 1, 8), (0, 2, 2), (1, 1, 5), (1, 2, 15)];
        let each = counts.into_iter().flat_map(|(class, of, n)| std::iter::repeat_n((class, of), n));
        let (labels, attributes): (Vec<u16>, Vec<u8>) = each.unzip();
        let split = Split::new(vec![0; labels.len()], labels, [1, 1, 1], 3).expect("split");
        split.with_attributes(attributes, 3).expect("attributes")
    }

    #[test]
    fn groups_are_drawn_with_the_probabilities_of_the_formula() {
        let split = split();
        let groups = split.groups().expect("groups");
        const N: usize = 60_000;
        for balance in [0.0, 0.5, 1.0] {
            let drawn =
                Sampler::new(&split, balance).expect("sampler").draw(groups, N, Streams::new(1).at(Purpose::Groups, 0));
            for (class, shares) in [(0, [0.9, 0.08, 0.02]), (1, [0.0, 0.25, 0.75])] {
                let present = shares.iter().filter(|&&share| share > 0.0).count() as f64;
                for (attribute, share) in shares.into_iter().enumerate() {
                    let p = if share > 0.0 { (share + balance * (1.0 / present - share)) / 2.0 } else { 0.0 };
                    let members = groups.members(Group { class, attribute });
                    let found = drawn.iter().filter(|i| members.contains(i)).count() as f64;
                    // binomial; five standard deviations
                    let most = 5.0 * (N as f64 * p * (1.0 - p)).sqrt();
                    assert!((found - N as f64 * p).abs() <= most, "{balance} {class} {attribute}: {found} for {p}");
                }
            }
        }
    }

    #[test]
    fn a_split_without_groups_and_a_balance_out_of_range_are_refused() {
        let plain = Split::new(vec![0], vec![0], [1, 1, 1], 1).expect("split");
        for result in [Sampler::new(&plain, 0.0), Sampler::new(&split(), 1.5), Sampler::new(&split(), f64::NAN)] {
            assert!(matches!(result, Err(Error::BadOption { option: "balance", .. })), "{result:?}");
        }
    }
}
