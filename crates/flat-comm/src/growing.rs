//! What a rank has added up of its parts so far.

use crate::Tree;
use std::ops::Range;

/// Values of consecutive parts, added up as far as the [`Tree`] allows while they come. About as many are held at a time as the
/// tree is deep.
#[derive(Debug)]
pub struct Growing<T> {
    tree: Tree,
    next: usize,
    held: Vec<(Range<usize>, T)>,
}

impl<T> Growing<T> {
    /// Nothing yet; the first part to come is `first`.
    pub fn from(tree: Tree, first: usize) -> Self {
        Self { tree, next: first, held: Vec::new() }
    }

    /// Takes the value of the next part. `add` puts the sum of two values in the first.
    ///
    /// # Errors
    /// Those of `add`.
    pub fn push<E>(&mut self, value: T, mut add: impl FnMut(&mut T, T) -> Result<(), E>) -> Result<(), E> {
        self.held.push((self.next..self.next + 1, value));
        self.next += 1;
        while let [.., (left, _), (right, _)] = &self.held[..] {
            let joint = left.start..right.end;
            if !self.tree.splits(&joint, right.start) {
                break;
            }
            if let (Some((_, right)), Some((node, left))) = (self.held.pop(), self.held.last_mut()) {
                add(left, right)?;
                *node = joint;
            }
        }
        Ok(())
    }

    /// The nodes and their values, in the order of [`Tree::nodes`].
    pub fn nodes(self) -> impl Iterator<Item = T> {
        self.held.into_iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_added_as_soon_as_the_tree_allows_and_end_as_its_nodes() -> Result<(), ()> {
        for parts in 1..18 {
            let tree = Tree::over(parts);
            for (start, end) in (0..parts).flat_map(|s| (s + 1..=parts).map(move |e| (s, e))) {
                let mut growing = Growing::from(tree, start);
                for part in start..end {
                    growing.push(vec![part], |a, b| {
                        a.extend(b);
                        Ok::<_, ()>(())
                    })?;
                    assert!(growing.held.len() <= 2 * parts.ilog2() as usize + 1, "{parts}: {:?}", growing.held);
                }
                let nodes: Vec<Vec<usize>> = growing.nodes().collect();
                let expected: Vec<Vec<usize>> = tree.nodes(&(start..end)).into_iter().map(Iterator::collect).collect();
                assert_eq!(nodes, expected);
            }
        }
        Ok(())
    }
}
