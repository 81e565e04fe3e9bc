//! Parameter groups with their own learning rate, weight decay and perturbation.

use crate::error::within;
use crate::{Error, Result};
use flat_core::setting::Range;
use flat_core::{Entry, ParamVec, Space};
use std::fmt;

/// Decides from name and shape whether a parameter belongs to a group.
type Predicate = Box<dyn Fn(&Entry) -> bool + Send + Sync>;

/// Parameters that share settings.
pub struct Group {
    label: String,
    matches: Predicate,
    lr_scale: f64,
    weight_decay: Option<f64>,
    perturb: bool,
}

impl Group {
    /// The parameters for which the predicate holds, with default settings. The label names the group in errors.
    pub fn new(label: impl Into<String>, matches: impl Fn(&Entry) -> bool + Send + Sync + 'static) -> Self {
        Self { label: label.into(), matches: Box::new(matches), lr_scale: 1.0, weight_decay: None, perturb: true }
    }

    /// Multiplies the learning rate by `scale`; 0 freezes the parameters but still differentiates them.
    #[must_use]
    pub fn lr_scale(self, scale: f64) -> Self {
        Self { lr_scale: scale, ..self }
    }

    /// Replaces the base optimizer's weight decay.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Self { weight_decay: Some(weight_decay), ..self }
    }

    /// Whether rules perturb these parameters. The radius is measured over the perturbed ones alone.
    #[must_use]
    pub fn perturb(self, perturb: bool) -> Self {
        Self { perturb, ..self }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("label", &self.label)
            .field("lr_scale", &self.lr_scale)
            .field("weight_decay", &self.weight_decay)
            .field("perturb", &self.perturb)
            .finish_non_exhaustive()
    }
}

/// Groups in order: a parameter belongs to the first one that it matches, and has default settings if there is none.
///
/// ```
/// use flat_optim::{Group, Groups};
/// let groups = Groups::default()
///     .with(Group::new("head", |p| p.name.starts_with("fc.")).lr_scale(10.0))
///     .with(Group::new("biases and norms", |p| p.shape.rank() <= 1).weight_decay(0.0));
/// ```
#[derive(Debug, Default)]
pub struct Groups {
    groups: Vec<Group>,
}

impl Groups {
    /// No weight decay on biases and normalisation parameters, known by their having at most one dimension.
    pub fn no_decay_on_bias_and_norm() -> Self {
        Self::default().with(Group::new("biases and norms", |p| p.shape.rank() <= 1).weight_decay(0.0))
    }

    /// Appends a group.
    #[must_use]
    pub fn with(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// Spreads the settings over the parameters; what does not differ from the default costs nothing.
    ///
    /// # Errors
    /// A group that matches no parameter (or only ones that an earlier group has), a setting out of its range, nothing
    /// left to perturb; candle's.
    pub fn masks(&self, space: &Space, weight_decay: f64) -> Result<Masks> {
        let entries = space.layout.entries();
        let of: Vec<Option<usize>> = entries.iter().map(|e| self.groups.iter().position(|g| (g.matches)(e))).collect();
        for (i, group) in self.groups.iter().enumerate() {
            within("lr-scale", group.lr_scale, Range::NonNegative)?;
            within("weight-decay", group.weight_decay.unwrap_or(0.0), Range::NonNegative)?;
            if !of.contains(&Some(i)) {
                return Err(Error::option("groups", &group.label, "matches no parameter that is still free"));
            }
        }
        let each = |default: f64, setting: &dyn Fn(&Group) -> f64| {
            let values: Vec<f64> = of.iter().map(|g| g.map_or(default, |g| setting(&self.groups[g]))).collect();
            values.iter().any(|v| *v != default).then_some(values)
        };
        if !of.iter().any(|g| g.is_none_or(|g| self.groups[g].perturb)) {
            return Err(Error::option("groups", "perturb = false", "some parameters must be left to perturb"));
        }
        let perturb = match each(1.0, &|g| f64::from(u8::from(g.perturb))) {
            None => None,
            Some(values) => {
                let flat = entries.iter().zip(values).flat_map(|(e, v)| std::iter::repeat_n(v, e.len)).collect();
                Some(ParamVec::from_f64(space, flat)?)
            }
        };
        Ok(Masks {
            lr_scale: each(1.0, &|g| g.lr_scale),
            weight_decay: each(weight_decay, &|g| g.weight_decay.unwrap_or(weight_decay)),
            perturb,
        })
    }
}

/// Settings that differ between parameters; `None` where all of them have the default.
#[derive(Debug, Default)]
pub struct Masks {
    /// Factor of the learning rate, one a parameter.
    pub lr_scale: Option<Vec<f64>>,
    /// Weight decay, one a parameter.
    pub weight_decay: Option<Vec<f64>>,
    /// 1 where a rule perturbs, else 0, element by element.
    pub perturb: Option<ParamVec>,
}

impl Masks {
    /// How many weights a rule perturbs.
    ///
    /// # Errors
    /// candle's.
    #[expect(clippy::disallowed_methods, reason = "once, when the optimizer is built")]
    pub fn perturbed(&self, space: &Space) -> Result<usize> {
        Ok(match &self.perturb {
            None => space.layout.len(),
            Some(mask) => mask.norm()?.powi(2).round() as usize, // a mask of zeros and ones
        })
    }

    /// Factor of the learning rate of the parameter of this index.
    pub fn lr_scale(&self, parameter: usize) -> f64 {
        self.lr_scale.as_ref().map_or(1.0, |scale| scale[parameter])
    }

    /// Weight decay of the parameter of this index, where the base optimizer's is `default`.
    pub fn weight_decay(&self, parameter: usize, default: f64) -> f64 {
        self.weight_decay.as_ref().map_or(default, |decay| decay[parameter])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Shape};
    use flat_core::Layout;
    use std::sync::Arc;

    fn space() -> Result<Space> {
        let layout = Layout::new([("fc.bias".into(), Shape::from(2)), ("fc.weight".into(), Shape::from((1, 2)))])?;
        Ok(Space { layout: Arc::new(layout), dtype: DType::F64, device: Device::Cpu })
    }

    #[test]
    fn default_groups_cost_nothing() -> Result<()> {
        let m = Groups::default().masks(&space()?, 0.1)?;
        assert!(m.lr_scale.is_none() && m.weight_decay.is_none() && m.perturb.is_none());
        Ok(())
    }

    #[test]
    fn the_first_matching_group_decides() -> Result<()> {
        let m = Groups::no_decay_on_bias_and_norm()
            .with(Group::new("fc", |p| p.name.starts_with("fc")).lr_scale(3.0).perturb(false))
            .masks(&space()?, 0.5)?;
        assert_eq!(m.weight_decay, Some(vec![0.0, 0.5]));
        assert_eq!(m.lr_scale, Some(vec![1.0, 3.0]));
        assert_eq!(m.perturb.map(|p| p.to_f64()).transpose()?, Some(vec![1.0, 1.0, 0.0, 0.0]));
        Ok(())
    }

    #[test]
    fn a_group_without_parameters_and_a_model_without_perturbation_are_refused() -> Result<()> {
        let typo = Groups::default().with(Group::new("head", |p| p.name == "head")).masks(&space()?, 0.0);
        assert!(typo.expect_err("no parameter").to_string().contains("groups = head"));
        let none = Groups::default().with(Group::new("all", |_| true).perturb(false)).masks(&space()?, 0.0);
        assert!(none.is_err());
        Ok(())
    }
}
