//! A model's trainable variables as one point in parameter space.

mod update;
mod varmap;

use crate::algebra::{Copied, Displace, Sum, SumOfProduct};
use crate::{Error, Layout, ParamVec, Result, Scalar, Space};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use flat_kernels::cpu::vector as kernel;
use flat_kernels::{dispatch, host};
use std::collections::HashMap;
use std::sync::Arc;

pub use varmap::is_buffer;

/// The trainable variables of a model, sorted by name. A parameter left out is frozen.
#[derive(Debug, Clone)]
pub struct Params {
    space: Space,
    vars: Vec<Var>,
    /// A flag on the device: where it is 0, updates leave everything as it is.
    keep: Option<Tensor>,
}

impl Params {
    /// Collects named variables.
    ///
    /// # Errors
    /// Duplicate names, one variable under two names, no variable, or variables of several element types or devices.
    pub fn new(named: impl IntoIterator<Item = (String, Var)>) -> Result<Self> {
        let mut named: Vec<(String, Var)> = named.into_iter().collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let layout = Layout::new(named.iter().map(|(n, v)| (n.clone(), v.shape().clone())))?;
        let mut ids = HashMap::new();
        for (name, var) in &named {
            if let Some(other) = ids.insert(var.id(), name) {
                return Err(Error::BadParams(format!("`{other}` and `{name}` are one variable; name it once")));
            }
            if !var.is_contiguous() {
                return Err(Error::BadParams(format!("`{name}` is not contiguous")));
            }
        }
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
        Ok(Self { space: Space { layout: Arc::new(layout), dtype, device }, vars, keep: None })
    }

    /// The space these parameters span.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Names, shapes and offsets.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.space.layout
    }

    /// The same variables, whose updates take place only where a flag of their device is not 0. The flag is a u8 of one
    /// element, and holds for the states beside them too. Nothing is copied for that, and the host does not wait.
    #[must_use]
    pub fn kept_where(&self, flag: Tensor) -> Self {
        Self { keep: Some(flag), ..self.clone() }
    }

    /// The variables, in order of their names.
    pub fn vars(&self) -> &[Var] {
        &self.vars
    }

    /// A copy of the present values. One pass.
    ///
    /// # Errors
    /// candle's.
    pub fn read(&self) -> Result<ParamVec> {
        self.collect(&self.vars.iter().map(|v| v.as_detached_tensor()).collect::<Vec<_>>())
    }

    /// Sets the variables to `theta`, bit for bit. One pass.
    ///
    /// # Errors
    /// A vector of another space; candle's.
    pub fn write(&self, theta: &ParamVec) -> Result<()> {
        self.update([theta], [], |_| Copied {})
    }

    /// Sets the variables to `theta + by dir`, or to `theta + by (dir mask)` with the product element by element. One
    /// pass.
    ///
    /// # Errors
    /// Vectors of another space; candle's.
    pub fn write_sum(
        &self,
        theta: &ParamVec,
        by: impl Into<Scalar>,
        dir: &ParamVec,
        mask: Option<&ParamVec>,
    ) -> Result<()> {
        by.into().times_vector(dir, |a, dir, factor| match mask {
            None => self.update_scaled([theta, dir], [], |_| Sum { a }, factor.map(|by| (1, by))),
            Some(mask) => self.update_scaled([theta, dir, mask], [], |_| SumOfProduct { a }, factor.map(|by| (1, by))),
        })
    }

    /// Adds `by dir`, or `by (dir mask)`, to the variables and returns a copy of what they held: [`Self::read`] and
    /// [`Self::write_sum`] in one pass. `write` of the copy undoes it bit for bit.
    ///
    /// # Errors
    /// Vectors of another space; candle's.
    pub fn displace(&self, by: impl Into<Scalar>, dir: &ParamVec, mask: Option<&ParamVec>) -> Result<ParamVec> {
        let mut theta = ParamVec::scratch(&self.space)?;
        by.into().times_vector(dir, |a, dir, factor| {
            let scaled = factor.map(|by| (0, by));
            match mask {
                None => self.update_scaled([dir], [&mut theta], |_| Displace { a }, scaled),
                Some(mask) => self.update_scaled([dir, mask], [&mut theta], |_| Displace { a }, scaled),
            }
        })?;
        Ok(theta)
    }

    /// The gradient of a loss on which `backward` was called. One pass, which finds the norm as well.
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

    /// One tensor a parameter, in their order, in one vector. One pass, which finds the norm as well.
    ///
    /// # Errors
    /// [`Error::LayoutMismatch`] for other shapes or element types; candle's.
    pub fn collect(&self, parts: &[Tensor]) -> Result<ParamVec> {
        for (part, e) in parts.iter().zip(self.layout().entries()) {
            if part.shape() != &e.shape || part.dtype() != self.space.dtype {
                let of =
                    format!("{:?} {:?} instead of {:?} {:?}", part.shape(), part.dtype(), e.shape, self.space.dtype);
                return Err(Error::LayoutMismatch(format!("`{}` is {of}", e.name)));
            }
        }
        let parts = parts.iter().map(Tensor::contiguous).collect::<candle_core::Result<Vec<_>>>()?;
        #[cfg(feature = "cuda")]
        if self.space.device.is_cuda() {
            let mut out = ParamVec::scratch(&self.space)?;
            let square = dispatch!("a vector", self.space.dtype, T => flat_kernels::cuda::parameters::collect::<T>(&parts, out.flat()))?;
            out.know_remote_square(square);
            return Ok(out);
        }
        if !self.space.device.is_cpu() {
            let parts = parts.iter().map(Tensor::flatten_all).collect::<candle_core::Result<Vec<_>>>()?;
            return Ok(ParamVec::own(self.layout().clone(), Tensor::cat(&parts, 0)?.copy()?.detach()));
        }
        let mut out = ParamVec::scratch(&self.space)?;
        let guards: Vec<_> = parts.iter().map(Tensor::storage_and_layout).collect();
        let square = dispatch!("a vector", self.space.dtype, T => {
            let parts = guards.iter().map(|(s, l)| host::elements("a vector", s, l)).collect::<candle_core::Result<Vec<&[T]>>>()?;
            host::with_slice_mut(out.flat(), |out: &mut [T]| Ok(kernel::gather(out, &parts)))
        })?;
        out.know_square(square);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Number, Purpose, Streams, Update};
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

    /// Three parameters of 40,000 elements, and vectors of their space.
    fn large(dtype: DType, n: u64) -> Result<(Params, Vec<ParamVec>)> {
        let shapes = [("a", vec![3, 1000]), ("b", vec![36_000]), ("c", vec![100, 10])];
        let named = shapes.map(|(name, shape)| {
            let len = shape.iter().product();
            let x = Streams::new(1).named(Purpose::Test, name).normals(len);
            let x = Tensor::from_vec(x, shape, &Device::Cpu)?.to_dtype(dtype)?;
            Ok((name.to_string(), Var::from_tensor(&x)?))
        });
        let params = Params::new(named.into_iter().collect::<Result<Vec<_>>>()?)?;
        let vectors = (0..n).map(|i| ParamVec::gaussian(params.space(), 1.0, &Streams::new(2).at(Purpose::Test, i)));
        let vectors = vectors.collect::<Result<_>>()?;
        Ok((params, vectors))
    }

    /// Every operation of a [`Number`], two inputs, two vectors of state, constants that differ between parameters.
    struct Everything(f64);

    impl Update<2, 2> for Everything {
        fn update<E: Number>(&self, w: E, [x, y]: [E; 2], [s, t]: [E; 2]) -> (E, [E; 2]) {
            let s = s * 0.5 + x * self.0;
            let t = (t.clone() * t + 0.125) / 3.0;
            (w - s.clone() / (t.clone().sqrt() + 1.0) * y, [s, t])
        }
    }

    #[test]
    fn an_update_of_elements_is_that_of_tensors() -> Result<()> {
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-14)] {
            let (params, mut v) = large(dtype, 4)?;
            let (others, mut u) = large(dtype, 4)?;
            let of = |i: usize| Everything(1.0 + i as f64);
            let ([x, y, s, t], [p, q, k, l]) = (&mut v[..], &mut u[..]) else { unreachable!() };
            params.update([x, y], [s, t], of)?;
            others.update_whole([p, q], [k, l], of)?;
            let (w, z) = (params.read()?, others.read()?);
            for (fast, slow) in [(&w, &z), (&*s, &*k), (&*t, &*l)] {
                for (a, b) in fast.to_f64()?.into_iter().zip(slow.to_f64()?) {
                    // a few roundings of numbers up to about 10
                    assert!((a - b).abs() < tolerance * (1.0 + a.abs()), "{a} against {b}");
                }
            }
            assert_ne!(w.to_f64()?, large(dtype, 0)?.0.read()?.to_f64()?);
        }
        Ok(())
    }

    #[test]
    fn displacing_a_point_remembers_it_bit_for_bit_and_goes_where_write_sum_goes() -> Result<()> {
        for dtype in [DType::F32, DType::F64] {
            let (params, v) = large(dtype, 2)?;
            let here = params.read()?.to_f64()?;
            for mask in [None, Some(&v[1])] {
                let theta = params.displace(0.3, &v[0], mask)?;
                assert_eq!(theta.to_f64()?, here);
                let there = params.read()?.to_f64()?;
                let step = mask.map_or_else(|| v[0].duplicate(), |mask| v[0].hadamard(mask))?;
                assert_eq!(there, theta.plus(0.3, &step)?.to_f64()?);
                params.write(&theta)?;
                assert_eq!(params.read()?.to_f64()?, here);
                params.write_sum(&theta, 0.3, &v[0], mask)?;
                assert_eq!(params.read()?.to_f64()?, there);
                params.write(&theta)?;
            }
        }
        Ok(())
    }

    #[test]
    fn the_norm_of_a_gradient_is_known_until_the_gradient_changes() -> Result<()> {
        for dtype in [DType::F32, DType::F64] {
            let (params, _) = large(dtype, 0)?;
            let mut loss = Tensor::zeros((), dtype, &Device::Cpu)?;
            for var in params.vars() {
                loss = (loss + var.sqr()?.sum_all()?)?;
            }
            let mut g = params.gradient(&loss.backward()?)?;
            let norm = g.norm()?;
            assert_eq!(norm.to_bits(), g.dot(&g)?.sqrt().to_bits());
            g.scale(2.0)?;
            assert_eq!(g.norm()?, 2.0 * norm);
        }
        Ok(())
    }

    #[test]
    fn a_gradient_with_nan_has_a_norm_that_is_nan() -> Result<()> {
        let (params, a, b) = two()?;
        let loss = (a.affine(f64::NAN, 0.0)?.sum_all()? + b.sum_all()?)?;
        assert!(params.gradient(&loss.backward()?)?.norm()?.is_nan());
        Ok(())
    }

    #[test]
    fn one_variable_under_two_names_is_refused() -> Result<()> {
        let (_, a, _) = two()?;
        let text = Params::new([("a".to_string(), a.clone()), ("b".to_string(), a)]).expect_err("twice").to_string();
        assert!(text.contains("`a` and `b` are one variable"), "{text}");
        Ok(())
    }

    #[test]
    fn vectors_of_another_space_are_refused_and_change_nothing() -> Result<()> {
        let (params, a, _) = two()?;
        let (_, other) = large(DType::F32, 1)?;
        assert!(params.write(&other[0]).is_err());
        assert!(params.displace(1.0, &other[0], None).is_err());
        let f64s = Space { dtype: DType::F64, ..params.space().clone() };
        assert!(params.write(&ParamVec::zeros(&f64s)?).is_err());
        assert_eq!(a.to_vec1::<f32>()?, [1.0, 2.0]);
        Ok(())
    }
}
