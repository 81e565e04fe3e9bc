//! Matrices of the Gauss-Newton family from explicit derivatives: one backward pass of plain logits a row of the Jacobian,
//! and textbook formulas on the host. Nothing of it uses tangents or the operators.

use candle_core::{DType, Tensor};
use flat_core::{ParamVec, Purpose, Streams};
use flat_metrics::Result;
use flat_nn::{Loss, Mode, Model};

/// Rows with weights: the matrix `sum_r w_r a_r b_r^T`.
pub struct Factors {
    pub rows: Vec<(f64, Vec<f64>, Vec<f64>)>,
}

impl Factors {
    pub fn apply(&self, v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; v.len()];
        for (w, a, b) in &self.rows {
            let along: f64 = b.iter().zip(v).map(|(b, v)| b * v).sum();
            out.iter_mut().zip(a).for_each(|(o, a)| *o += w * along * a);
        }
        out
    }

    /// Column j.
    pub fn column(&self, j: usize) -> Vec<f64> {
        let mut out = vec![0.0; self.rows[0].1.len()];
        for (w, a, b) in &self.rows {
            out.iter_mut().zip(a).for_each(|(o, a)| *o += w * b[j] * a);
        }
        out
    }
}

/// Logits of each example, and the gradient of each of them.
type Jacobians = (Vec<Vec<f64>>, Vec<Vec<Vec<f64>>>);

/// Logits of a batch and the Jacobian of each, by candle's reverse mode.
fn jacobian(model: &Model, images: &Tensor, mode: Mode) -> Result<Jacobians> {
    let z = model.logits(images, mode)?;
    let (n, classes) = z.dims2()?;
    let mut rows = Vec::new();
    for k in 0..n {
        let mut row = Vec::new();
        for c in 0..classes {
            let one = z.narrow(0, k, 1)?.narrow(1, c, 1)?.sum_all()?;
            row.push(model.params().gradient(&one.backward()?)?.to_f64()?);
        }
        rows.push(row);
    }
    Ok((z.to_dtype(DType::F64)?.to_vec2()?, rows))
}

fn probabilities(z: &[f64]) -> Vec<f64> {
    let total: f64 = z.iter().map(|z| z.exp()).sum();
    z.iter().map(|z| z.exp() / total).collect()
}

/// `(1/n) sum_i J_i^T H_i J_i`.
pub fn gauss_newton(model: &Model, loss: Loss, mode: Mode, batches: &[(Tensor, Tensor)]) -> Result<Factors> {
    let examples: usize = batches.iter().map(|(_, y)| y.elem_count()).sum();
    let mut rows = Vec::new();
    for (x, _) in batches {
        let (z, j) = jacobian(model, x, mode)?;
        for (z, j) in z.iter().zip(&j) {
            let p = probabilities(z);
            let c = z.len();
            for a in 0..c {
                for b in 0..c {
                    let same = f64::from(u8::from(a == b));
                    let h = match loss {
                        Loss::CrossEntropy { .. } => p[a] * (same - p[b]),
                        Loss::Mse => 2.0 / c as f64 * same,
                    };
                    if h != 0.0 {
                        rows.push((h / examples as f64, j[a].clone(), j[b].clone()));
                    }
                }
            }
        }
    }
    Ok(Factors { rows })
}

/// `(1/n) sum_i g_i g_i^T` of the losses at the given labels, by a backward pass an example.
pub fn empirical(model: &Model, loss: Loss, mode: Mode, batches: &[(Tensor, Tensor)]) -> Result<Factors> {
    let examples: usize = batches.iter().map(|(_, y)| y.elem_count()).sum();
    let mut rows = Vec::new();
    for (x, y) in batches {
        let losses = loss.per_example(&model.logits(x, mode)?, y)?;
        for k in 0..y.elem_count() {
            let g = model.params().gradient(&losses.narrow(0, k, 1)?.sum_all()?.backward()?)?.to_f64()?;
            rows.push((1.0 / examples as f64, g.clone(), g));
        }
    }
    Ok(Factors { rows })
}

/// The mean over all labels that the model gives itself. Cross entropy: every class in turn, weighted by its probability.
/// Squared loss of C outputs: the normal distribution of variance C/2 about the logits, by the points at `sqrt(C)` standard
/// deviations on both sides of each axis, which have its second moments exactly.
pub fn fisher(model: &Model, loss: Loss, mode: Mode, batches: &[(Tensor, Tensor)]) -> Result<Factors> {
    let examples: usize = batches.iter().map(|(_, y)| y.elem_count()).sum();
    let mut rows = Vec::new();
    for (x, _) in batches {
        let (z, j) = jacobian(model, x, mode)?;
        for (z, j) in z.iter().zip(&j) {
            let (p, c) = (probabilities(z), z.len());
            let pulled = |slope: &[f64]| -> Vec<f64> {
                let mut g = vec![0.0; j[0].len()];
                for (s, row) in slope.iter().zip(j) {
                    g.iter_mut().zip(row).for_each(|(g, x)| *g += s * x);
                }
                g
            };
            for class in 0..c {
                let hot = |k: usize| f64::from(u8::from(k == class));
                match loss {
                    Loss::CrossEntropy { .. } => {
                        // d/dz of -ln p_class
                        let g = pulled(&(0..c).map(|k| p[k] - hot(k)).collect::<Vec<_>>());
                        rows.push((p[class] / examples as f64, g.clone(), g));
                    }
                    Loss::Mse => {
                        let away = (c as f64).sqrt() * (c as f64 / 2.0).sqrt();
                        for side in [away, -away] {
                            // d/dz of |z - y|^2 / C at y = z + side e_class
                            let g = pulled(&(0..c).map(|k| -2.0 / c as f64 * side * hot(k)).collect::<Vec<_>>());
                            rows.push((0.5 / (c * examples) as f64, g.clone(), g));
                        }
                    }
                }
            }
        }
    }
    Ok(Factors { rows })
}

/// The mean over `samples` empirical Fisher matrices whose labels are drawn here, by the documented streams.
pub fn sampled(
    model: &Model,
    mode: Mode,
    batches: &[(Tensor, Tensor)],
    streams: &Streams,
    samples: u64,
) -> Result<Factors> {
    let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
    let mut rows = Vec::new();
    for s in 0..samples {
        let drawn = batches
            .iter()
            .enumerate()
            .map(|(i, (x, y))| {
                let z: Vec<Vec<f64>> = model.logits(x, mode)?.to_dtype(DType::F64)?.to_vec2()?;
                let u = streams.at2(Purpose::Sample, i as u64, s).uniforms(z.len());
                let labels = z.iter().zip(u).map(|(z, u)| {
                    let mut left = u;
                    probabilities(z)
                        .iter()
                        .take_while(|p| {
                            left -= **p;
                            left >= 0.0
                        })
                        .count() as u32
                });
                Ok((x.clone(), Tensor::from_vec(labels.collect::<Vec<_>>(), y.dims(), y.device())?))
            })
            .collect::<Result<Vec<_>>>()?;
        let part = empirical(model, loss, mode, &drawn)?;
        rows.extend(part.rows.into_iter().map(|(w, a, b)| (w / samples as f64, a, b)));
    }
    Ok(Factors { rows })
}

/// `||a - b|| / ||b||`.
pub fn gap(a: &[f64], b: &[f64]) -> f64 {
    let (mut d, mut s) = (0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        d += (a - b).powi(2);
        s += b * b;
    }
    (d / s).sqrt()
}

/// Largest gap between the products of `operator` and those of `explicit` over some random vectors.
pub fn worst(operator: &mut dyn flat_metrics::LinearOperator, explicit: &Factors) -> Result<f64> {
    let mut worst = 0.0f64;
    for k in 0..3 {
        let v = ParamVec::gaussian(operator.space(), 1.0, &Streams::new(40).at(Purpose::Test, k))?;
        worst = worst.max(gap(&operator.apply(&v)?.to_f64()?, &explicit.apply(&v.to_f64()?)));
    }
    Ok(worst)
}
