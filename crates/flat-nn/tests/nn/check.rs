//! First and second derivatives of a scalar function of several tensors, checked four ways.

use candle_core::{DType, Device, Tensor, Var};
use flat_core::{ParamVec, Params, Purpose, Streams};
use flat_nn::{Dual, Result, Value};
use std::sync::Mutex;

/// A scalar function of tensors, written once for values and duals.
pub trait Function: Sync {
    fn eval<V: Value>(&self, inputs: &[V]) -> Result<V>;
}

/// Standard normal numbers in the given shape.
pub fn normal(shape: &[usize], index: u64) -> Tensor {
    let n = shape.iter().product();
    Tensor::from_vec(Streams::new(11).at(Purpose::Test, index).normals(n), shape, &Device::Cpu).expect("tensor")
}

/// Variables with standard normal values, named so that their order is the order given.
pub fn variables(shapes: &[&[usize]]) -> Params {
    let named = shapes
        .iter()
        .enumerate()
        .map(|(i, shape)| (format!("{i:02}"), Var::from_tensor(&normal(shape, 100 + i as u64)).expect("variable")));
    Params::new(named).expect("params")
}

fn plain(f: &impl Function, params: &Params) -> Result<Tensor> {
    let inputs: Vec<Tensor> = params.vars().iter().map(|v| v.as_tensor().clone()).collect();
    f.eval(&inputs)
}

fn dual(f: &impl Function, params: &Params, v: &ParamVec) -> Result<Dual> {
    let inputs = params.vars().iter().enumerate().map(|(i, var)| Ok(Dual::new(var.as_tensor().clone(), v.entry(i)?)));
    f.eval(&inputs.collect::<Result<Vec<Dual>>>()?)
}

fn gradient(f: &impl Function, params: &Params) -> Result<ParamVec> {
    Ok(params.gradient(&plain(f, params)?.backward()?)?)
}

/// The product of the Hessian with `v` by double backward: on a thread of its own, whose first `backward` reads the
/// switch that keeps the graph.
pub fn double_backward(loss: impl Fn() -> Result<Tensor> + Sync, params: &Params, v: &ParamVec) -> Result<ParamVec> {
    static SWITCH: Mutex<()> = Mutex::new(());
    let _one_at_a_time = SWITCH.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // SAFETY: Rust's own environment access is locked, and nothing here calls into C code that reads it.
    unsafe { std::env::set_var("CANDLE_GRAD_DO_NOT_DETACH", "1") };
    let result = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let grads = loss()?.backward()?;
                let mut along: Option<Tensor> = None;
                for (i, var) in params.vars().iter().enumerate() {
                    let Some(g) = grads.get(var.as_tensor()) else { continue };
                    let term = (g * v.entry(i)?)?.sum_all()?;
                    along = Some(match along {
                        Some(sum) => (sum + term)?,
                        None => term,
                    });
                }
                let along = along.expect("a gradient");
                Ok(params.gradient(&along.backward()?)?)
            })
            .join()
            .expect("the thread of the double backward")
    });
    // SAFETY: as above.
    unsafe { std::env::remove_var("CANDLE_GRAD_DO_NOT_DETACH") };
    result
}

fn distance(a: &ParamVec, b: &ParamVec) -> f64 {
    a.plus(-1.0, b).and_then(|d| d.norm()).expect("vectors of one space")
}

/// Fourth-order central difference of `f` along `v` with step `h`: its truncation error is of order h^4, the rounding of
/// order 1e-16 / h.
pub fn difference(params: &Params, v: &ParamVec, h: f64, f: impl Fn() -> Result<ParamVec>) -> Result<ParamVec> {
    let theta = params.read()?;
    let at = |t: f64| -> Result<ParamVec> {
        params.write(&theta.plus(t * h, v)?)?;
        let value = f();
        params.write(&theta)?;
        value
    };
    let mut d = at(1.0)?.plus(-1.0, &at(-1.0)?)?.scaled(8.0)?;
    d.add_scaled(-1.0, &at(2.0)?)?;
    d.add_scaled(1.0, &at(-2.0)?)?;
    Ok(d.scaled(1.0 / (12.0 * h))?)
}

/// Checks the gradient, the tangent, and the product of the Hessian with a direction (reverse over forward and double
/// backward) at the parameters' values.
///
/// `tolerance` is relative, for the comparisons with finite differences; the exact ways must agree to 1e-11, a few
/// hundred roundings.
pub fn check(what: &str, f: &impl Function, params: &Params, tolerance: f64) {
    let run = || -> Result<()> {
        let g = gradient(f, params)?;
        let space = params.space();
        for probe in 0..2 {
            let v = ParamVec::sphere(space, &Streams::new(5).at(Purpose::Probe, probe))?;
            // first order: the slope along v, put into a vector so that one routine differentiates both
            let slope = difference(params, &v, 1e-3, || {
                let value: f64 = plain(f, params)?.to_scalar()?;
                let mut out = vec![0.0; space.layout.len()];
                out[0] = value;
                Ok(ParamVec::from_f64(space, out)?)
            })?
            .to_f64()?[0];
            let exact = g.dot(&v)?;
            assert!((slope - exact).abs() <= tolerance * g.norm()?, "{what}: slope {slope} against gradient {exact}");

            let along = dual(f, params, &v)?;
            let (value, tangent): (f64, f64) = (along.value.to_scalar()?, along.tangent.to_scalar()?);
            let alone: f64 = plain(f, params)?.to_scalar()?;
            assert!(
                (value - alone).abs() <= 1e-12 * alone.abs().max(1.0),
                "{what}: dual value {value} against {alone}"
            );
            assert!((tangent - exact).abs() <= 1e-11 * g.norm()?, "{what}: tangent {tangent} against {exact}");

            let hv = params.gradient(&along.tangent.backward()?)?;
            let by_difference = difference(params, &v, 1e-3, || gradient(f, params))?;
            let twice = double_backward(|| plain(f, params), params, &v)?;
            let scale = hv.norm()?;
            assert!(scale > 1e-6, "{what}: the Hessian vanishes, nothing is checked");
            let (d, t) = (distance(&hv, &by_difference) / scale, distance(&hv, &twice) / scale);
            assert!(d <= tolerance, "{what}: Hessian-vector product off central differences by {d:e}");
            assert!(t <= 1e-11, "{what}: reverse over forward and double backward differ by {t:e}");
        }
        Ok(())
    };
    run().unwrap_or_else(|e| panic!("{what}: {e}"));
}

/// `mean_i sum_j (y_ij - t_ij)^2` of a layer's output against fixed random targets: makes any layer a scalar function
/// with curvature.
pub fn head<V: Value>(y: &V) -> Result<V> {
    let y = y.flatten()?;
    let (n, d) = y.primal().dims2()?;
    y.squared_error(&normal(&[n, d], 99))?.scaled_mean(1.0)
}

/// f64 on CPU.
pub const F64: (DType, Device) = (DType::F64, Device::Cpu);
