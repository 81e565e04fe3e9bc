//! The place of each named parameter in the flat vector.

use crate::spare::Spare;
use crate::{Error, Result, Role};
use candle_core::{DType, Device, Shape};
use std::sync::Arc;

/// One named parameter: its shape and its place in the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// PyTorch-style name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// Shape of the parameter.
    pub shape: Shape,
    /// First element in the flat vector.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
    /// What it is for, by its dimensions, its name and the parameter beside it.
    pub role: Role,
}

/// Names, shapes and offsets of all trainable parameters, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    entries: Vec<Entry>,
    len: usize,
    pub(crate) spare: Spare,
}

impl Layout {
    /// Lays out named shapes, sorted by name, one after the other.
    ///
    /// # Errors
    /// Two parameters of one name, or no parameter at all.
    pub fn new(named: impl IntoIterator<Item = (String, Shape)>) -> Result<Self> {
        let mut named: Vec<_> = named.into_iter().collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(pair) = named.windows(2).find(|p| p[0].0 == p[1].0) {
            return Err(Error::BadParams(format!("two parameters are named `{}`", pair[0].0)));
        }
        let mut offset = 0;
        let roles: Vec<Role> = named.iter().map(|(name, shape)| Role::of(name, shape, &named)).collect();
        let entries: Vec<Entry> = named
            .into_iter()
            .zip(roles)
            .map(|((name, shape), role)| {
                let len = shape.elem_count();
                let entry = Entry { name, shape, offset, len, role };
                offset += len;
                entry
            })
            .collect();
        if offset == 0 {
            return Err(Error::BadParams("there is no trainable parameter".into()));
        }
        Ok(Self { entries, len: offset, spare: Spare::default() })
    }

    /// The parameters in order of their names.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Total number of elements, the `d` of the papers.
    #[allow(clippy::len_without_is_empty)] // never empty: `new` refuses
    pub fn len(&self) -> usize {
        self.len
    }

    /// Index of the parameter called `name`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.entries.binary_search_by(|e| e.name.as_str().cmp(name)).ok()
    }

    /// Says how `other` differs, or that it does not.
    ///
    /// # Errors
    /// [`Error::LayoutMismatch`] naming the first parameter that differs.
    pub fn same_as(&self, other: &Self) -> Result<()> {
        if self.entries.len() != other.entries.len() {
            return Err(Error::LayoutMismatch(format!(
                "{} parameters against {}",
                self.entries.len(),
                other.entries.len()
            )));
        }
        match self.entries.iter().zip(&other.entries).find(|(a, b)| a != b) {
            None => Ok(()),
            Some((a, b)) => {
                Err(Error::LayoutMismatch(format!("`{}` {:?} against `{}` {:?}", a.name, a.shape, b.name, b.shape)))
            }
        }
    }
}

/// The vector space that a model's parameters span: layout, element type and device.
#[derive(Debug, Clone)]
pub struct Space {
    /// Names, shapes and offsets.
    pub layout: Arc<Layout>,
    /// `F32` or `F64`.
    pub dtype: DType,
    /// Where the vectors live.
    pub device: Device,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_sorted_by_name_and_contiguous() -> Result<()> {
        let layout = Layout::new([("b".into(), Shape::from((2, 3))), ("a".into(), Shape::from(4))])?;
        assert_eq!(layout.entries()[0].name, "a");
        assert_eq!(layout.entries()[1].offset, 4);
        assert_eq!(layout.len(), 10);
        assert_eq!(layout.position("b"), Some(1));
        assert_eq!(layout.position("c"), None);
        Ok(())
    }

    #[test]
    fn duplicate_names_and_empty_layouts_are_refused() {
        assert!(Layout::new([("a".into(), Shape::from(1)), ("a".into(), Shape::from(1))]).is_err());
        assert!(Layout::new([]).is_err());
    }
}
