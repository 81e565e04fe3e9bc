//! Groups of examples: a class and a value of a spurious attribute.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A class and a value of the spurious attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Group {
    /// The class, from 0.
    pub class: usize,
    /// The value of the attribute, from 0.
    pub attribute: usize,
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "class {}, attribute {}", self.class, self.attribute)
    }
}

/// Which examples of a split are of which group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    attributes: Vec<u8>,
    classes: usize,
    per_class: usize,
    /// The examples of each group, ascending; the attribute moves fastest.
    members: Vec<Vec<usize>>,
}

impl Groups {
    /// The groups of examples of these labels, below `classes`, and attributes, which must be below `of`.
    pub(crate) fn new(labels: &[u16], classes: usize, attributes: Vec<u8>, of: usize) -> Result<Self> {
        if attributes.len() != labels.len() {
            return Err(Error::BadSplit(format!("{} attributes and {} labels", attributes.len(), labels.len())));
        }
        if let Some(i) = attributes.iter().position(|&attribute| usize::from(attribute) >= of) {
            let problem = format!("attribute {} of example {i}, which has {of} values", attributes[i]);
            return Err(Error::BadSplit(problem));
        }
        let mut members = vec![Vec::new(); classes * of];
        for (i, (&class, &attribute)) in labels.iter().zip(&attributes).enumerate() {
            members[usize::from(class) * of + usize::from(attribute)].push(i);
        }
        Ok(Self { attributes, classes, per_class: of, members })
    }

    /// The attribute of each example.
    pub fn attributes(&self) -> &[u8] {
        &self.attributes
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Values of the attribute: groups a class has, empty ones included.
    pub fn per_class(&self) -> usize {
        self.per_class
    }

    /// The examples of a group, ascending.
    pub fn members(&self, Group { class, attribute }: Group) -> &[usize] {
        &self.members[class * self.per_class + attribute]
    }

    /// The groups that have an example, by class and then attribute.
    pub fn present(&self) -> impl Iterator<Item = (Group, &[usize])> {
        self.members.iter().enumerate().filter(|(_, members)| !members.is_empty()).map(|(i, members)| {
            (Group { class: i / self.per_class, attribute: i % self.per_class }, members.as_slice())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_in_the_group_of_its_class_and_attribute_alone() {
        let groups = Groups::new(&[0, 1, 1, 0, 1], 3, vec![1, 0, 1, 1, 1], 2).expect("groups");
        let found: Vec<_> = groups.present().map(|(g, m)| (g.class, g.attribute, m.to_vec())).collect();
        assert_eq!(found, [(0, 1, vec![0, 3]), (1, 0, vec![1]), (1, 1, vec![2, 4])]);
        assert_eq!(groups.members(Group { class: 2, attribute: 0 }), [0usize; 0]);
    }

    #[test]
    fn attributes_that_do_not_fit_the_labels_are_refused() {
        for attributes in [vec![0], vec![0, 2]] {
            assert!(matches!(Groups::new(&[0, 1], 2, attributes, 2), Err(Error::BadSplit(_))));
        }
    }
}
