//! Saving and loading an optimizer's state, by one traversal.

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use flat_core::ParamVec;
use std::collections::{BTreeMap, BTreeSet};

/// Something with state that must survive a restart.
pub trait Stateful {
    /// Shows every piece of state, under a name, to the visitor, which reads it or replaces it. The names must not
    /// depend on the values. There is none by default.
    ///
    /// # Errors
    /// The visitor's, to be passed on.
    fn visit(&mut self, _visitor: &mut dyn StateVisitor) -> Result<()> {
        Ok(())
    }
}

/// Reads or replaces pieces of state.
pub trait StateVisitor {
    /// A parameter vector; stored as one tensor a parameter, `name.parameter`.
    ///
    /// # Errors
    /// A saved tensor that is missing or does not fit; candle's.
    fn vector(&mut self, name: &str, value: &mut ParamVec) -> Result<()>;

    /// A counter; stored as an i64 scalar.
    ///
    /// # Errors
    /// As [`Self::vector`].
    fn count(&mut self, name: &str, value: &mut u64) -> Result<()>;

    /// A number; stored as an f64 scalar.
    ///
    /// # Errors
    /// As [`Self::vector`].
    fn number(&mut self, name: &str, value: &mut f64) -> Result<()>;
}

/// Puts `prefix.` before every name.
struct Scope<'a> {
    prefix: &'a str,
    inner: &'a mut dyn StateVisitor,
}

impl Scope<'_> {
    fn full(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }
}

impl StateVisitor for Scope<'_> {
    fn vector(&mut self, name: &str, value: &mut ParamVec) -> Result<()> {
        self.inner.vector(&self.full(name), value)
    }
    fn count(&mut self, name: &str, value: &mut u64) -> Result<()> {
        self.inner.count(&self.full(name), value)
    }
    fn number(&mut self, name: &str, value: &mut f64) -> Result<()> {
        self.inner.number(&self.full(name), value)
    }
}

/// Visits a part under `prefix.`.
pub(crate) fn visit_part(prefix: &str, part: &mut dyn Stateful, visitor: &mut dyn StateVisitor) -> Result<()> {
    part.visit(&mut Scope { prefix, inner: visitor })
}

/// Copies the state of `part`.
pub(crate) fn save(part: &mut dyn Stateful) -> Result<BTreeMap<String, Tensor>> {
    let mut out = Save(BTreeMap::new());
    part.visit(&mut out)?;
    Ok(out.0)
}

/// Replaces the state of `part`, or leaves it alone if `state` does not fit.
pub(crate) fn load(part: &mut dyn Stateful, state: &BTreeMap<String, Tensor>) -> Result<()> {
    let mut check = Check { state, seen: BTreeSet::new(), problems: Vec::new() };
    part.visit(&mut check)?;
    check.verdict()?;
    part.visit(&mut Load(state))
}

struct Save(BTreeMap<String, Tensor>);

impl StateVisitor for Save {
    fn vector(&mut self, name: &str, value: &mut ParamVec) -> Result<()> {
        for (i, entry) in value.layout().entries().iter().enumerate() {
            // a parameter's part alone: `copy` would copy all of the vector for each
            self.0.insert(format!("{name}.{}", entry.name), value.entry(i)?.force_contiguous()?);
        }
        Ok(())
    }
    fn count(&mut self, name: &str, value: &mut u64) -> Result<()> {
        self.0.insert(name.into(), Tensor::new(*value as i64, &Device::Cpu)?);
        Ok(())
    }
    fn number(&mut self, name: &str, value: &mut f64) -> Result<()> {
        self.0.insert(name.into(), Tensor::new(*value, &Device::Cpu)?);
        Ok(())
    }
}

/// Looks whether everything is there and fits, before anything is replaced.
struct Check<'a> {
    state: &'a BTreeMap<String, Tensor>,
    seen: BTreeSet<String>,
    problems: Vec<String>,
}

impl Check<'_> {
    fn expect(&mut self, name: String, dims: &[usize], dtype: DType) {
        match self.state.get(&name) {
            None => self.problems.push(format!("`{name}` is missing")),
            Some(t) if t.dims() != dims => {
                self.problems.push(format!("`{name}` has shape {:?} instead of {dims:?}", t.dims()));
            }
            Some(t) if t.dtype() != dtype => {
                self.problems.push(format!("`{name}` is {:?} instead of {dtype:?}", t.dtype()));
            }
            Some(_) => {}
        }
        self.seen.insert(name);
    }

    fn verdict(self) -> Result<()> {
        let unexpected = self.state.keys().filter(|k| !self.seen.contains(*k)).map(|k| format!("`{k}` is unexpected"));
        let all: Vec<String> = self.problems.into_iter().chain(unexpected).collect();
        match all.len() {
            0 => Ok(()),
            1..=4 => Err(Error::State(all.join(", "))),
            n => Err(Error::State(format!("{}, and {} more problems", all[..3].join(", "), n - 3))),
        }
    }
}

impl StateVisitor for Check<'_> {
    fn vector(&mut self, name: &str, value: &mut ParamVec) -> Result<()> {
        let dtype = value.dtype();
        for entry in value.layout().entries() {
            self.expect(format!("{name}.{}", entry.name), entry.shape.dims(), dtype);
        }
        Ok(())
    }
    #[expect(clippy::disallowed_methods, reason = "a state that is loaded")]
    fn count(&mut self, name: &str, _: &mut u64) -> Result<()> {
        self.expect(name.into(), &[], DType::I64);
        if let Some(value) = self.state.get(name).and_then(|t| t.to_scalar::<i64>().ok()).filter(|v| *v < 0) {
            self.problems.push(format!("`{name}` is {value}, but counts from 0"));
        }
        Ok(())
    }
    fn number(&mut self, name: &str, _: &mut f64) -> Result<()> {
        self.expect(name.into(), &[], DType::F64);
        Ok(())
    }
}

/// Replaces; [`Check`] has found everything in order.
struct Load<'a>(&'a BTreeMap<String, Tensor>);

impl Load<'_> {
    fn get(&self, name: &str) -> Result<&Tensor> {
        self.0.get(name).ok_or_else(|| Error::State(format!("`{name}` is missing")))
    }
}

impl StateVisitor for Load<'_> {
    fn vector(&mut self, name: &str, value: &mut ParamVec) -> Result<()> {
        let device = value.space().device;
        let mut parts = Vec::with_capacity(value.layout().entries().len());
        for entry in value.layout().entries() {
            parts.push(self.get(&format!("{name}.{}", entry.name))?.to_device(&device)?.flatten_all()?);
        }
        // a copy even of a single part: the saved tensor must not change with the optimizer
        let flat = Tensor::cat(&parts, 0)?.copy()?;
        *value = ParamVec::from_tensor(value.layout().clone(), flat)?;
        Ok(())
    }
    #[expect(clippy::disallowed_methods, reason = "a state that is loaded")]
    fn count(&mut self, name: &str, value: &mut u64) -> Result<()> {
        *value = self.get(name)?.to_scalar::<i64>()?.unsigned_abs();
        Ok(())
    }
    #[expect(clippy::disallowed_methods, reason = "a state that is loaded")]
    fn number(&mut self, name: &str, value: &mut f64) -> Result<()> {
        *value = self.get(name)?.to_scalar()?;
        Ok(())
    }
}
