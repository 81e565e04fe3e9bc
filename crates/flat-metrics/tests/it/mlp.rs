//! A tanh network 4-5-3 with cross entropy, from plain candle operations and in scalar arithmetic.

use crate::hyperdual::{Hyper, hessian};
use candle_core::{DType, Device, Tensor, Var};
use flat_core::{ParamVec, Params, Purpose, Streams};
use flat_metrics::{ClosureObjective, Dense, Objective, Result};

const INPUT: usize = 4;
const HIDDEN: usize = 5;
const CLASSES: usize = 3;
/// Batches of unequal size, so that a wrong weight shows.
pub const SIZES: [usize; 3] = [5, 3, 4];

pub struct Mlp {
    pub params: Params,
    /// Inputs of all examples, row by row.
    x: Vec<f64>,
    labels: Vec<usize>,
    dtype: DType,
}

impl Mlp {
    pub fn new(dtype: DType) -> Result<Self> {
        let s = Streams::new(11);
        let shapes: [(&str, &[usize]); 4] = [
            ("fc1.bias", &[HIDDEN]),
            ("fc1.weight", &[HIDDEN, INPUT]),
            ("fc2.bias", &[CLASSES]),
            ("fc2.weight", &[CLASSES, HIDDEN]),
        ];
        let mut vars = Vec::new();
        for (name, shape) in shapes {
            let n: usize = shape.iter().product();
            let w = Tensor::from_vec(s.named(Purpose::Test, name).normals(n), shape, &Device::Cpu)?;
            vars.push((name.to_string(), Var::from_tensor(&(w * 0.7)?.to_dtype(dtype)?)?));
        }
        let n: usize = SIZES.iter().sum();
        let mut pick = s.at(Purpose::Test, 2);
        let labels = (0..n).map(|_| pick.below(CLASSES)).collect();
        Ok(Self { params: Params::new(vars)?, x: s.at(Purpose::Test, 1).normals(n * INPUT), labels, dtype })
    }

    fn rows(batch: usize) -> std::ops::Range<usize> {
        let start = SIZES[..batch].iter().sum();
        start..start + SIZES[batch]
    }

    fn inputs(&self, batch: usize) -> candle_core::Result<(Tensor, Tensor)> {
        let r = Self::rows(batch);
        let x = Tensor::from_slice(&self.x[r.start * INPUT..r.end * INPUT], (r.len(), INPUT), &Device::Cpu)?;
        let hot: Vec<f64> = r
            .clone()
            .flat_map(|k| (0..CLASSES).map(move |c| (k, c)))
            .map(|(k, c)| f64::from(self.labels[k] == c))
            .collect();
        let hot = Tensor::from_vec(hot, (r.len(), CLASSES), &Device::Cpu)?;
        Ok((x.to_dtype(self.dtype)?, hot.to_dtype(self.dtype)?))
    }

    pub fn loss(&self, batch: usize) -> candle_core::Result<Tensor> {
        let (x, hot) = self.inputs(batch)?;
        let [b1, w1, b2, w2] = self.params.vars() else { unreachable!() };
        let h = x.matmul(&w1.t()?)?.broadcast_add(b1)?.tanh()?;
        let z = h.matmul(&w2.t()?)?.broadcast_add(b2)?;
        let lse = z.exp()?.sum(1)?.log()?;
        (lse - (z * hot)?.sum(1)?)?.mean_all()
    }

    /// `<grad loss, v>`, carrying the tangent by hand.
    pub fn tangent(&self, batch: usize, v: &ParamVec) -> candle_core::Result<Tensor> {
        let (x, hot) = self.inputs(batch)?;
        let [b1, w1, b2, w2] = self.params.vars() else { unreachable!() };
        let v = |i| v.entry(i).map_err(candle_core::Error::wrap);
        let (vb1, vw1, vb2, vw2) = (v(0)?, v(1)?, v(2)?, v(3)?);
        let h = x.matmul(&w1.t()?)?.broadcast_add(b1)?.tanh()?;
        let dh = ((1.0 - h.sqr()?)? * x.matmul(&vw1.t()?)?.broadcast_add(&vb1)?)?;
        let z = h.matmul(&w2.t()?)?.broadcast_add(b2)?;
        let dz = (dh.matmul(&w2.t()?)? + h.matmul(&vw2.t()?)?.broadcast_add(&vb2)?)?;
        let e = z.exp()?;
        let p = e.broadcast_div(&e.sum_keepdim(1)?)?;
        ((p - hot)? * dz)?.sum(1)?.mean_all()
    }

    pub fn objective(&self) -> Result<ClosureObjective<'_>> {
        let objective = ClosureObjective::new(self.params.clone(), SIZES.to_vec(), |i| self.loss(i))?;
        Ok(objective.with_tangent(|i, v| self.tangent(i, v)))
    }

    /// The exact Hessian of the mean loss over all examples, by scalar arithmetic.
    pub fn exact_hessian(&self) -> Result<Dense> {
        let loss = |t: &[Hyper]| {
            let (b1, rest) = t.split_at(HIDDEN);
            let (w1, rest) = rest.split_at(HIDDEN * INPUT);
            let (b2, w2) = rest.split_at(CLASSES);
            let affine = |w: &[Hyper], b: &[Hyper], x: &[Hyper]| -> Vec<Hyper> {
                b.iter()
                    .zip(w.chunks(x.len()))
                    .map(|(&b, w)| w.iter().zip(x).fold(b, |s, (&w, &x)| s + w * x))
                    .collect()
            };
            let mut sum = Hyper::constant(0.0);
            for (x, &label) in self.x.chunks(INPUT).zip(&self.labels) {
                let x: Vec<Hyper> = x.iter().map(|&x| Hyper::constant(x)).collect();
                let h: Vec<Hyper> = affine(w1, b1, &x).into_iter().map(Hyper::tanh).collect();
                let z = affine(w2, b2, &h);
                let lse = z.iter().fold(Hyper::constant(0.0), |s, z| s + z.exp()).ln();
                sum = sum + lse - z[label];
            }
            sum * Hyper::constant(1.0 / self.labels.len() as f64)
        };
        let theta = self.params.read()?.to_f64()?;
        Dense::new(self.params.space().clone(), hessian(&theta, loss))
    }
}

#[test]
fn the_two_losses_agree() -> Result<()> {
    // the scalar code and the tensor code are the same function: compare a gradient by differences of nothing but the
    // tangent closure
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let (_, grad) = flat_metrics::gradient(&objective)?;
    let v = ParamVec::gaussian(mlp.params.space(), 1.0, &Streams::new(0).at(Purpose::Test, 9))?;
    let mut along = 0.0;
    for i in 0..objective.batches() {
        along += objective.weight(i) * objective.loss_tangent(i, &v)?.to_scalar::<f64>()?;
    }
    assert!((along - grad.dot(&v)?).abs() < 1e-13 * grad.norm()? * v.norm()?);
    Ok(())
}
