//! Accuracy group by group, on data with a spurious attribute.

use crate::value::number::{percent, wilson};
use flat_data::{Group, Groups};
use serde::{Deserialize, Serialize};

/// Accuracies over groups of class and spurious attribute.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GroupScore {
    /// The mean of the groups' accuracies, in which all groups count alike.
    pub average_group: AverageGroup,
    /// The group with the lowest accuracy.
    pub worst_group: WorstGroup,
}

/// The mean of the groups' accuracies (group-balanced accuracy).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AverageGroup {
    /// In 0..1.
    pub accuracy: f64,
    /// Wilson's 95 % interval, at the number of images that a plain mean of this variance would have.
    pub ci95: [f64; 2],
    /// Groups with an image.
    pub groups: usize,
    /// Images of all groups.
    pub n: usize,
}

/// The group with the lowest accuracy; of several the first by class and attribute.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WorstGroup {
    /// Which.
    pub group: Group,
    /// In 0..1. A minimum over groups of few images is too low on average.
    pub accuracy: f64,
    /// Wilson's 95 % interval of this group's accuracy, as if it had been named beforehand.
    pub ci95: [f64; 2],
    /// Images of the group.
    pub n: usize,
}

impl GroupScore {
    /// The accuracies over these groups, where `right` says of each example whether it was rightly classified.
    pub fn of(groups: &Groups, right: &[bool]) -> Option<Self> {
        let score = |(group, members): (Group, &[usize])| {
            let n = members.len();
            let accuracy = members.iter().filter(|&&i| right[i]).count() as f64 / n as f64;
            WorstGroup { group, accuracy, ci95: interval(accuracy, n as f64), n }
        };
        let all: Vec<WorstGroup> = groups.present().map(score).collect();
        let worst_group =
            all.iter().copied().reduce(|worst, next| if next.accuracy < worst.accuracy { next } else { worst })?;
        let count = all.len() as f64;
        let accuracy = all.iter().map(|group| group.accuracy).sum::<f64>() / count;
        // each group's variance is at most that of one proportion over 1 / n
        let effective = count * count / all.iter().map(|group| 1.0 / group.n as f64).sum::<f64>();
        let n = all.iter().map(|group| group.n).sum();
        let average_group = AverageGroup { accuracy, ci95: interval(accuracy, effective), groups: all.len(), n };
        Some(Self { average_group, worst_group })
    }

    /// The two accuracies as text, a line each.
    pub fn text(&self) -> [String; 2] {
        let Self { average_group: average, worst_group: worst } = self;
        let of = |accuracy: f64, [low, high]: [f64; 2]| {
            format!("{} [{}, {}]", percent(accuracy), percent(low), percent(high))
        };
        [
            format!("{}   ({} groups, {} images)", of(average.accuracy, average.ci95), average.groups, average.n),
            format!("{}   ({}, {} images)", of(worst.accuracy, worst.ci95), worst.group, worst.n),
        ]
    }
}

/// The largest beta of gerne at which no group has a negative weight, and the group that limits it. It is the
/// smallest of `alpha / (c (alpha - 1/A)) - 1` over the groups whose share alpha of their class is above 1/A (Asaad
/// et al. 2025). `None` for groups of one size.
pub fn largest_beta(groups: &Groups, c: f64) -> Option<(f64, Group)> {
    let of_class = |class| groups.present().filter(move |(group, _)| group.class == class).map(|(_, all)| all.len());
    let bound = |(group, members): (Group, &[usize])| {
        let (total, present) = (of_class(group.class).sum::<usize>(), of_class(group.class).count());
        let (share, equal) = (members.len() as f64 / total as f64, 1.0 / present as f64);
        (share > equal).then(|| (share / (c * (share - equal)) - 1.0, group))
    };
    groups.present().filter_map(bound).min_by(|a, b| a.0.total_cmp(&b.0))
}

/// Wilson's interval without the rounding that leaves [0, 1].
fn interval(p: f64, n: f64) -> [f64; 2] {
    wilson(p, n).map(|end| end.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flat_data::Split;

    fn groups() -> Split {
        // class 0: 4 examples of attribute 0, 1 of 1; class 1: 2 of attribute 1
        let split = Split::new(vec![0; 7], vec![0, 0, 0, 0, 0, 1, 1], [1, 1, 1], 2).expect("split");
        split.with_attributes(vec![0, 0, 0, 1, 0, 1, 1], 2).expect("attributes")
    }

    #[test]
    fn groups_count_alike_however_large_and_the_lowest_is_named() {
        let split = groups();
        let right = [true, true, false, true, true, false, true];
        let score = GroupScore::of(split.groups().expect("groups"), &right).expect("score");
        let AverageGroup { accuracy, groups, n, .. } = score.average_group;
        assert_eq!((accuracy, groups, n), ((0.75 + 1.0 + 0.5) / 3.0, 3, 7));
        let WorstGroup { group, accuracy, ci95, n } = score.worst_group;
        assert_eq!((group, accuracy, n), (Group { class: 1, attribute: 1 }, 0.5, 2));
        // Wilson 1927 for 1 of 2: 0.0945 and 0.9055
        assert!((ci95[0] - 0.094_531).abs() < 1e-6 && (ci95[1] - 0.905_469).abs() < 1e-6, "{ci95:?}");
    }

    #[test]
    fn the_largest_beta_leaves_the_largest_group_without_weight() {
        // class 0: shares 0.8 and 0.2; class 1 has one group
        let split = groups();
        let (beta, group) = largest_beta(split.groups().expect("groups"), 0.5).expect("a bound");
        // 0.8 + 0.5 (beta + 1) (0.5 - 0.8) = 0
        assert!((0.8 - 0.5 * (beta + 1.0) * 0.3).abs() < 1e-12, "{beta}");
        assert_eq!(group, Group { class: 0, attribute: 0 });
    }

    #[test]
    fn with_groups_of_one_size_the_average_has_the_interval_of_all_images() {
        let split = Split::new(vec![0; 8], vec![0, 0, 0, 0, 1, 1, 1, 1], [1, 1, 1], 2).expect("split");
        let split = split.with_attributes(vec![0, 0, 1, 1, 0, 0, 1, 1], 2).expect("attributes");
        let right = [true, false, true, true, true, true, false, true];
        let score = GroupScore::of(split.groups().expect("groups"), &right).expect("score");
        let [low, high] = wilson(0.75, 8.0);
        assert!(
            (score.average_group.ci95[0] - low).abs() < 1e-15 && (score.average_group.ci95[1] - high).abs() < 1e-15
        );
    }
}
