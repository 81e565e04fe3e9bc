//! The logits of a batch, and the slopes and curvature of the loss in them.

use crate::{Error, Result};
use candle_core::{DType, Tensor};
use flat_core::{ParamVec, Stream};
use flat_nn::Loss;

/// Logits of a batch, their directional derivative, and the loss they go into.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Logits `(n, classes)`, with their graph where candle is to differentiate them.
    pub logits: Tensor,
    /// Their derivative along the direction, `(n, classes)`: `J v`.
    pub along: Tensor,
    /// Labels `(n)`.
    pub labels: Tensor,
    /// The loss of an example is this one's of its row.
    pub loss: Loss,
}

/// `J^T c` for constants `c` of the logits' shape, as many as there were directions.
pub type WayBack<'a> = Box<dyn FnOnce(&[Tensor]) -> Result<Vec<ParamVec>> + 'a>;

/// The rows of [`Outputs`] on the host, in f64: the arithmetic there costs nothing beside the passes through the model,
/// and near a minimum `p - p^2` needs its digits.
pub(crate) struct Rows {
    classes: usize,
    /// Softmax probabilities; the logits themselves for the squared loss.
    p: Vec<f64>,
    along: Vec<f64>,
    labels: Vec<usize>,
    loss: Loss,
}

impl Outputs {
    /// The rows on the host.
    pub(crate) fn rows(&self, batch: usize) -> Result<Rows> {
        let bad = |why: String| Err(Error::BadObjective(format!("batch {batch}: {why}")));
        let (n, classes) = self.logits.dims2()?;
        if self.along.dims() != [n, classes] || self.labels.dims() != [n] || n == 0 || classes == 0 {
            let (along, labels) = (self.along.shape(), self.labels.shape());
            return bad(format!("logits ({n}, {classes}) with derivatives {along:?} and labels {labels:?}"));
        }
        let host = |x: &Tensor| x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        let (logits, along) = (host(&self.logits)?, host(&self.along)?);
        let labels: Vec<usize> =
            self.labels.to_dtype(DType::U32)?.to_vec1::<u32>()?.iter().map(|&l| l as usize).collect();
        if let Some(label) = labels.iter().find(|&&label| label >= classes) {
            return bad(format!("label {label} for {classes} classes"));
        }
        let p = match self.loss {
            Loss::CrossEntropy { .. } => logits.chunks_exact(classes).flat_map(softmax).collect(),
            Loss::Mse => logits,
        };
        Ok(Rows { classes, p, along, labels, loss: self.loss })
    }

    /// `c / n` as constants of the logits' shape, whose product with `J^T` is the batch's.
    pub(crate) fn seed(&self, c: Vec<f64>) -> Result<Tensor> {
        let n = self.logits.dims2()?.0 as f64;
        let c = c.into_iter().map(|c| c / n).collect::<Vec<f64>>();
        Ok(Tensor::from_vec(c, self.logits.shape(), self.logits.device())?.to_dtype(self.logits.dtype())?)
    }
}

fn softmax(z: &[f64]) -> Vec<f64> {
    let max = z.iter().fold(f64::NEG_INFINITY, |m, z| m.max(*z));
    let e: Vec<f64> = z.iter().map(|z| (z - max).exp()).collect();
    let total: f64 = e.iter().sum();
    e.into_iter().map(|e| e / total).collect()
}

impl Rows {
    fn per_row(&self, f: impl Fn(usize, &[f64], &[f64]) -> Vec<f64>) -> Vec<f64> {
        let rows = self.p.chunks_exact(self.classes).zip(self.along.chunks_exact(self.classes));
        rows.enumerate().flat_map(|(k, (p, u))| f(k, p, u)).collect()
    }

    /// `<J v, c> / n` for constants `c` of the logits' shape: the batch's quadratic form where c is its matrix times `J v`.
    pub(crate) fn form(&self, c: &[f64]) -> f64 {
        self.along.iter().zip(c).map(|(u, c)| u * c).sum::<f64>() / self.labels.len() as f64
    }

    /// `H_out J v`, row by row: the loss's second derivative in the logits applied to the derivative of the logits.
    pub(crate) fn curved(&self) -> Vec<f64> {
        match self.loss {
            Loss::CrossEntropy { .. } => self.per_row(|_, p, u| {
                // diag(p) - p p^T does not see a constant: without the likeliest class's part no digits cancel
                let top = (0..p.len()).max_by(|&i, &j| p[i].total_cmp(&p[j])).unwrap_or(0);
                let mean: f64 = p.iter().zip(u).map(|(p, x)| p * (x - u[top])).sum();
                p.iter().zip(u).map(|(p, x)| p * (x - u[top] - mean)).collect()
            }),
            Loss::Mse => self.along.iter().map(|u| 2.0 / self.classes as f64 * u).collect(),
        }
    }

    /// `s <s, J v>` with the slope s of each example's loss in its logits.
    pub(crate) fn sloped(&self) -> Vec<f64> {
        self.per_row(|k, p, u| project(&self.slope(k, p), u))
    }

    fn slope(&self, k: usize, p: &[f64]) -> Vec<f64> {
        let (label, classes) = (self.labels[k], self.classes as f64);
        match self.loss {
            Loss::CrossEntropy { label_smoothing } => {
                let mut s = from_label(p, label);
                s.iter_mut().for_each(|s| *s -= label_smoothing / classes);
                s[label] += label_smoothing;
                s
            }
            Loss::Mse => {
                let hot = |j: usize| f64::from(u8::from(j == label));
                p.iter().enumerate().map(|(j, z)| 2.0 / classes * (z - hot(j))).collect()
            }
        }
    }

    /// The mean of `s <s, J v>` over slopes of labels drawn from the model itself, one a stream: from the softmax, and
    /// for the squared loss from the normal distribution whose negative logarithm it is.
    pub(crate) fn sampled(&self, streams: &[Stream]) -> Vec<f64> {
        let (n, mut mean) = (self.labels.len(), vec![0.0; self.p.len()]);
        for stream in streams {
            let part = match self.loss {
                Loss::CrossEntropy { .. } => {
                    let draws = stream.uniforms(n);
                    self.per_row(|k, p, u| project(&from_label(p, pick(p, draws[k])), u))
                }
                Loss::Mse => {
                    // the label is the logit plus sqrt(classes / 2) times a normal number
                    let scale = (2.0 / self.classes as f64).sqrt();
                    let draws = stream.normals(self.p.len());
                    self.per_row(|k, _, u| {
                        let e = &draws[k * self.classes..(k + 1) * self.classes];
                        project(&e.iter().map(|e| -scale * e).collect::<Vec<_>>(), u)
                    })
                }
            };
            mean.iter_mut().zip(part).for_each(|(m, x)| *m += x / streams.len() as f64);
        }
        mean
    }
}

/// `s <s, u>`.
fn project(s: &[f64], u: &[f64]) -> Vec<f64> {
    let along: f64 = s.iter().zip(u).map(|(s, u)| s * u).sum();
    s.iter().map(|s| s * along).collect()
}

/// `p` less the one-hot label, whose own element is minus the sum of the others: no digits cancel where p is near 1.
fn from_label(p: &[f64], label: usize) -> Vec<f64> {
    let mut s = p.to_vec();
    s[label] = -p.iter().enumerate().filter(|(j, _)| *j != label).map(|(_, p)| p).sum::<f64>();
    s
}

/// The class at which the cumulated probabilities pass `u`.
fn pick(p: &[f64], u: f64) -> usize {
    let mut sum = 0.0;
    let passed = p.iter().position(|p| {
        sum += p;
        u < sum
    });
    // rounding may leave the sum below u: the likeliest class then
    passed.unwrap_or_else(|| (0..p.len()).max_by(|&i, &j| p[i].total_cmp(&p[j])).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_picked_with_their_probabilities() {
        let p = [0.2, 0.0, 0.5, 0.3];
        let n = 10_000;
        let mut counts = [0.0; 4];
        (0..n).for_each(|k| counts[pick(&p, (f64::from(k) + 0.5) / f64::from(n))] += 1.0 / f64::from(n));
        for (c, p) in counts.iter().zip(p) {
            assert!((c - p).abs() < 1e-3, "{counts:?}");
        }
        assert_eq!(pick(&[0.4, 0.6 - 1e-16], 1.0 - 1e-17), 1);
    }

    #[test]
    fn the_curvature_of_a_sure_prediction_keeps_its_digits() {
        // p = (1 - 1e-20, 1e-20) up to rounding: the second derivative is 1e-20 (1, -1; -1, 1)
        let z = 20.0 * std::f64::consts::LN_10;
        let rows = Rows {
            classes: 2,
            p: softmax(&[z, 0.0]),
            along: vec![3.0, 1.0],
            labels: vec![0],
            loss: Loss::CrossEntropy { label_smoothing: 0.0 },
        };
        for (c, exact) in rows.curved().into_iter().zip([2e-20, -2e-20]) {
            assert!((c / exact - 1.0).abs() < 1e-12, "{c}");
        }
        let s = rows.slope(0, &rows.p);
        assert!((s[0] / -1e-20 - 1.0).abs() < 1e-12 && (s[1] / 1e-20 - 1.0).abs() < 1e-12, "{s:?}");
    }
}
