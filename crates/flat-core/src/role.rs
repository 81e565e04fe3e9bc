//! The role of a parameter: weight, bias, or part of a normalisation layer.

use candle_core::Shape;

/// What a parameter is for, as rules and masks tell parameters apart.
///
/// ```
/// use candle_core::Shape;
/// use flat_core::{Layout, Role};
/// let shapes = [("bn.bias", vec![4]), ("bn.weight", vec![4]), ("fc.bias", vec![2]), ("fc.weight", vec![2, 4])];
/// let layout = Layout::new(shapes.map(|(name, dims)| (name.to_string(), Shape::from(dims))))?;
/// let roles: Vec<Role> = layout.entries().iter().map(|e| e.role).collect();
/// assert_eq!(roles, [Role::NormShift, Role::NormGain, Role::Bias, Role::Weight]);
/// # Ok::<(), flat_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The weights of a linear or convolution layer: two dimensions or more.
    Weight,
    /// A bias, and whatever else has at most one dimension.
    Bias,
    /// The gain of a normalisation layer: a `weight` of one dimension.
    NormGain,
    /// The shift of a normalisation layer: the `bias` beside such a gain.
    NormShift,
}

impl Role {
    /// The role of a parameter among all, sorted by name.
    pub(crate) fn of(name: &str, shape: &Shape, all: &[(String, Shape)]) -> Self {
        let gain = |name: &str, shape: &Shape| shape.rank() <= 1 && (name == "weight" || name.ends_with(".weight"));
        if shape.rank() >= 2 {
            return Self::Weight;
        }
        if gain(name, shape) {
            return Self::NormGain;
        }
        let beside = name.strip_suffix("bias").map(|layer| format!("{layer}weight"));
        let beside = beside.and_then(|name| all.binary_search_by(|(other, _)| other.cmp(&name)).ok());
        match beside {
            Some(k) if gain(&all[k].0, &all[k].1) => Self::NormShift,
            _ => Self::Bias,
        }
    }

    /// Whether it belongs to a normalisation layer.
    pub fn is_norm(self) -> bool {
        matches!(self, Self::NormGain | Self::NormShift)
    }
}
