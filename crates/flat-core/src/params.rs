//! A model's trainable variables as one point in parameter space.

use crate::{Error, Layout, ParamVec, Result, Space};
use candle_core::backprop::GradStore;
use candle_core::{DType, Shape, Tensor, Var};
use candle_nn::VarMap;
use std::sync::Arc;

/// Whether a name is that of a BatchNorm buffer (`running_mean`, `running_var`, `num_batches_tracked`): state that is
/// never perturbed, decayed or counted in d.
pub fn is_buffer(name: &str) -> bool {
    matches!(name.rsplit('.').next(), Some("running_mean" | "running_var" | "num_batches_tracked"))
}

/// The trainable variables of a model, sorted by name. A parameter left out is frozen.
#[derive(Debug, Clone)]
pub struct Params {
    space: Space,
    vars: Vec<Var>,
}

impl Params {
    /// Collects named variables.
    ///
    /// # Errors
    /// Duplicate names, no variable, or variables of several element types or devices.
    pub fn new(named: impl IntoIterator<Item = (String, Var)>) -> Result<Self> {
        let mut named: Vec<(String, Var)> = named.into_iter().collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let layout = Layout::new(named.iter().map(|(n, v)| (n.clone(), v.shape().clone())))?;
        let first = &named[0].1;
        let (dtype, device) = (first.dtype(), first.device().clone());
        for (name, var) in &named {
            if var.dtype() != dtype || !var.device().same_device(&device) {
                return Err(Error::BadParams(format!(
                    "`{name}` is {:?} on {:?}, others are {dtype:?} on {device:?}",
                    var.dtype(),
                    var.device().location()
                )));
            }
        }
        if !matches!(dtype, DType::F32 | DType::F64) {
            return Err(Error::BadParams(format!("element type {dtype:?}: f32 and f64 are supported")));
        }
        let vars = named.into_iter().map(|(_, v)| v).collect();
        Ok(Self { space: Space { layout: Arc::new(layout), dtype, device }, vars })
    }

    /// Every variable of a candle `VarMap` that is not a BatchNorm buffer.
    ///
    /// # Errors
    /// As [`Params::new`].
    pub fn from_varmap(map: &VarMap) -> Result<Self> {
        let data = map.data().lock().map_err(|_| Error::BadParams("the VarMap's lock is poisoned".into()))?;
        Self::new(data.iter().filter(|(n, _)| !is_buffer(n)).map(|(n, v)| (n.clone(), v.clone())))
    }

    /// The space these parameters span.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Names, shapes and offsets.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.space.layout
    }

    /// The variables, in order of their names.
    pub fn vars(&self) -> &[Var] {
        &self.vars
    }

    /// A copy of the present values.
    ///
    /// # Errors
    /// candle's.
    pub fn read(&self) -> Result<ParamVec> {
        self.concat(self.vars.iter().map(|v| v.as_detached_tensor()))
    }

    /// Sets the variables to `theta`, bit for bit.
    ///
    /// # Errors
    /// A vector of another layout; candle's.
    pub fn write(&self, theta: &ParamVec) -> Result<()> {
        if !Arc::ptr_eq(theta.layout(), self.layout()) {
            self.layout().same_as(theta.layout())?;
        }
        for (i, var) in self.vars.iter().enumerate() {
            var.set(&theta.entry(i)?)?;
        }
        Ok(())
    }

    /// The gradient of a loss on which `backward` was called.
    ///
    /// # Errors
    /// [`Error::MissingGradient`] naming the parameter that the loss does not depend on.
    pub fn gradient(&self, grads: &GradStore) -> Result<ParamVec> {
        let mut parts = Vec::with_capacity(self.vars.len());
        for (var, entry) in self.vars.iter().zip(self.layout().entries()) {
            match grads.get(var.as_tensor()) {
                Some(g) => parts.push(g.clone()),
                None => return Err(Error::MissingGradient { name: entry.name.clone() }),
            }
        }
        self.collect(&parts)
    }

    /// One tensor a parameter, in their order, as one vector.
    ///
    /// # Errors
    /// [`Error::LayoutMismatch`] for other shapes or element types; candle's.
    pub fn collect(&self, parts: &[Tensor]) -> Result<ParamVec> {
        self.concat(parts.iter().cloned())
    }

    fn concat(&self, parts: impl Iterator<Item = Tensor>) -> Result<ParamVec> {
        let parts = parts.map(|t| t.flatten_all()).collect::<candle_core::Result<Vec<_>>>()?;
        let flat = if parts.len() == 1 { parts[0].copy()? } else { Tensor::cat(&parts, 0)? };
        debug_assert_eq!(flat.shape(), &Shape::from(self.layout().len()));
        ParamVec::from_tensor(self.layout().clone(), flat.detach())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn two() -> Result<(Params, Var, Var)> {
        let a = Var::from_tensor(&Tensor::new(&[1.0f32, 2.0], &Device::Cpu)?)?;
        let b = Var::from_tensor(&Tensor::new(&[[3.0f32], [4.0]], &Device::Cpu)?)?;
        Ok((Params::new([("z".to_string(), a.clone()), ("b".to_string(), b.clone())])?, a, b))
    }

    #[test]
    fn read_is_a_copy_and_write_is_exact() -> Result<()> {
        let (params, a, _) = two()?;
        let theta = params.read()?;
        a.set(&Tensor::new(&[9.0f32, 9.0], &Device::Cpu)?)?;
        assert_eq!(theta.to_f64()?, [3.0, 4.0, 1.0, 2.0]);
        params.write(&theta)?;
        assert_eq!(a.to_vec1::<f32>()?, [1.0, 2.0]);
        Ok(())
    }

    #[test]
    fn a_missing_gradient_names_the_parameter() -> Result<()> {
        let (params, a, _) = two()?;
        let grads = a.sqr()?.sum_all()?.backward()?;
        let err = params.gradient(&grads).expect_err("b is unused").to_string();
        assert!(err.contains("`b`"), "{err}");
        Ok(())
    }

    #[test]
    fn the_gradient_is_laid_out_by_name() -> Result<()> {
        let (params, a, b) = two()?;
        let loss = (a.sqr()?.sum_all()? + (b.sum_all()? * 5.0)?)?;
        let g = params.gradient(&loss.backward()?)?;
        assert_eq!(g.to_f64()?, [5.0, 5.0, 2.0, 4.0]);
        Ok(())
    }

    #[test]
    fn buffers_are_known_by_their_last_component() {
        assert!(is_buffer("layer1.0.bn1.running_mean"));
        assert!(!is_buffer("layer1.0.bn1.weight"));
    }
}
