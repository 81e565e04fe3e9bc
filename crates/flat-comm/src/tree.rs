//! The order in which parts are added up: a balanced binary tree over them, whoever holds them.

use std::ops::Range;

/// A balanced binary tree over the parts `0..parts`: a node splits in the middle, its left half the smaller one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tree {
    parts: usize,
}

impl Tree {
    /// Over so many parts, at least one.
    pub fn over(parts: usize) -> Self {
        Self { parts: parts.max(1) }
    }

    /// How many parts there are.
    pub fn parts(self) -> usize {
        self.parts
    }

    /// The parts of a rank: consecutive ones, as evenly as goes, the first part always the first rank's. Empty where there are
    /// more ranks than parts.
    pub fn of_rank(self, rank: usize, size: usize) -> Range<usize> {
        (rank * self.parts).div_ceil(size)..((rank + 1) * self.parts).div_ceil(size)
    }

    /// The largest nodes of the tree within a range, in their order: what its holder can add up alone. One where the range is a node itself, as it is for every rank where
    /// the number of ranks and that of parts are powers of two.
    pub fn nodes(self, within: &Range<usize>) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        descend(0..self.parts, within, &mut found);
        found
    }

    /// Adds up the tree from its nodes, in the order of [`Self::nodes`] of consecutive ranges that cover all parts. `add(a, b)` puts
    /// the sum of two values in the first; what is left at the end is the value at index 0.
    pub fn add_up(self, nodes: &[Range<usize>], mut add: impl FnMut(usize, usize)) {
        join(&(0..self.parts), nodes, 0, &mut add);
    }

    /// Whether this range is a node that splits there.
    pub(crate) fn splits(self, node: &Range<usize>, at: usize) -> bool {
        let mut now = 0..self.parts;
        while now != *node {
            let middle = middle(&now);
            now = if node.end <= middle { now.start..middle } else { middle..now.end };
            if now.start > node.start || now.end < node.end || now.len() < node.len() {
                return false;
            }
        }
        node.len() > 1 && middle(node) == at
    }
}

fn descend(node: Range<usize>, within: &Range<usize>, found: &mut Vec<Range<usize>>) {
    if node.start >= within.end || node.end <= within.start {
        return;
    }
    if within.start <= node.start && node.end <= within.end {
        found.push(node);
        return;
    }
    let middle = middle(&node);
    descend(node.start..middle, within, found);
    descend(middle..node.end, within, found);
}

/// Where a node of several parts splits.
fn middle(node: &Range<usize>) -> usize {
    node.start + node.len() / 2
}

/// Adds up what lies below `node`, whose first value has the index `at`; returns how many of `nodes` these are.
fn join(node: &Range<usize>, nodes: &[Range<usize>], at: usize, add: &mut impl FnMut(usize, usize)) -> usize {
    if nodes.get(at) == Some(node) {
        return 1;
    }
    let middle = middle(node);
    let left = join(&(node.start..middle), nodes, at, add);
    let right = join(&(middle..node.end), nodes, at + left, add);
    add(at, at + left);
    left + right
}

/// The piece of a vector that each rank adds up.
pub(crate) fn pieces(len: usize, ranks: usize) -> Vec<Range<usize>> {
    // whole cache lines
    let each = len.div_ceil(ranks).next_multiple_of(16);
    (0..ranks).map(|rank| (rank * each).min(len)..((rank + 1) * each).min(len)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum as text, with its parentheses.
    fn written(parts: usize, ranks: usize) -> String {
        let tree = Tree::over(parts);
        let nodes: Vec<_> = (0..ranks).flat_map(|rank| tree.nodes(&tree.of_rank(rank, ranks))).collect();
        let mut values: Vec<String> = nodes
            .iter()
            .map(|node| {
                let mut own: Vec<String> = (node.clone()).map(|part| part.to_string()).collect();
                let alone: Vec<_> = (node.clone()).map(|part| part..part + 1).collect();
                join(node, &alone, 0, &mut |a, b| own[a] = format!("({}+{})", own[a], own[b]));
                own[0].clone()
            })
            .collect();
        tree.add_up(&nodes, |a, b| values[a] = format!("({}+{})", values[a], values[b]));
        values[0].clone()
    }

    #[test]
    fn the_order_of_a_sum_does_not_depend_on_who_holds_the_parts() {
        assert_eq!(written(5, 1), "((0+1)+(2+(3+4)))");
        for parts in 1..20 {
            for ranks in 1..25 {
                assert_eq!(written(parts, ranks), written(parts, 1), "{parts} parts over {ranks}");
            }
        }
    }

    #[test]
    fn a_rank_holds_one_node_where_powers_of_two_meet() {
        for (parts, ranks) in [(8, 2), (8, 8), (16, 4), (1, 1)] {
            let tree = Tree::over(parts);
            assert!((0..ranks).all(|rank| tree.nodes(&tree.of_rank(rank, ranks)).len() == 1));
        }
        assert_eq!(Tree::over(6).nodes(&(0..2)), [0..1, 1..2]);
        assert!(Tree::over(2).nodes(&Tree::over(2).of_rank(1, 4)).is_empty());
        // BatchNorm's running statistics are those of the first part, and of the first rank
        assert!((1..9).all(|parts| (1..9).all(|ranks| Tree::over(parts).of_rank(0, ranks).start == 0)));
        assert!((1..9).all(|parts| (1..9).all(|ranks| !Tree::over(parts).of_rank(0, ranks).is_empty())));
    }
}
