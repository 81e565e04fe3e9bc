//! The losses of classification.

use crate::{Error, Result, Value};
use candle_core::{DType, Tensor};
use std::fmt;

/// A loss of logits `(n, classes)` and labels `(n)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// Softmax cross entropy with targets `(1 - label_smoothing) onehot + label_smoothing / classes` (Szegedy et al.
    /// 2016, arXiv 1512.00567), as PyTorch's `cross_entropy`.
    CrossEntropy {
        /// 0 for none, below 1.
        label_smoothing: f64,
    },
    /// Squared distance to the one-hot label, mean over examples and classes, as PyTorch's `mse_loss` of the raw logits.
    Mse,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CrossEntropy { label_smoothing: 0.0 } => f.write_str("cross-entropy"),
            Self::CrossEntropy { label_smoothing } => write!(f, "cross-entropy, label smoothing {label_smoothing}"),
            Self::Mse => f.write_str("mse"),
        }
    }
}

impl Loss {
    /// The mean loss of a batch, a scalar. For [`crate::Dual`] logits its tangent is the directional derivative, and
    /// `tangent.backward()` gives Hessian-vector products.
    ///
    /// # Errors
    /// [`Error::BadInput`] for labels outside the classes, a wrong number of labels, no example. Labels on a device other
    /// than the CPU are not looked at, because that would wait for the device: whoever put them there has checked them.
    pub fn mean<V: Value>(&self, logits: &V, labels: &Tensor) -> Result<V> {
        let targets = self.targets(logits.primal(), labels)?;
        match self {
            Self::CrossEntropy { .. } => logits.cross_entropy(&targets)?.scaled_mean(1.0),
            Self::Mse => logits.squared_error(&targets)?.scaled_mean(1.0 / targets.dims2()?.1 as f64),
        }
    }

    /// The loss of each example, `(n)`; their mean is [`Self::mean`].
    ///
    /// # Errors
    /// As [`Self::mean`].
    pub fn per_example(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let targets = self.targets(logits, labels)?;
        match self {
            Self::CrossEntropy { .. } => logits.cross_entropy(&targets),
            Self::Mse => Ok((logits.squared_error(&targets)? / targets.dims2()?.1 as f64)?),
        }
    }

    /// What the targets hold in the column of the label, and elsewhere.
    fn on_and_off(&self, classes: usize) -> Result<(f64, f64)> {
        match self {
            Self::CrossEntropy { label_smoothing: s } if (0.0..1.0).contains(s) => {
                Ok((1.0 - s + s / classes as f64, s / classes as f64))
            }
            Self::CrossEntropy { label_smoothing } => {
                Err(Error::BadInput(format!("label smoothing {label_smoothing} is not in 0..1")))
            }
            Self::Mse => Ok((1.0, 0.0)),
        }
    }

    /// The same as CUDA's kernel takes it.
    #[cfg(feature = "cuda")]
    pub(crate) fn kind(&self, classes: usize) -> Result<flat_kernels::cuda::softmax::Kind> {
        use flat_kernels::cuda::softmax::Kind;
        let (on, off) = self.on_and_off(classes)?;
        Ok(match self {
            Self::CrossEntropy { .. } => Kind::CrossEntropy { on, off },
            Self::Mse => Kind::SquaredError,
        })
    }

    /// The constant targets `(n, classes)`.
    #[expect(clippy::disallowed_methods, reason = "labels that are on the host already")]
    fn targets(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let (n, classes) = logits.dims2()?;
        if labels.dims() != [n] || n == 0 || classes == 0 {
            return Err(Error::BadInput(format!("labels {:?} for logits {:?}", labels.shape(), logits.shape())));
        }
        let (on, off) = self.on_and_off(classes)?;
        if !labels.device().is_cpu() {
            return chosen(labels, classes, on, off, logits.dtype());
        }
        let labels: Vec<u32> = labels.to_dtype(DType::U32)?.to_vec1()?;
        let mut targets = vec![off; n * classes];
        for (row, &label) in targets.chunks_exact_mut(classes).zip(&labels) {
            match row.get_mut(label as usize) {
                Some(t) => *t = on,
                None => {
                    return Err(Error::BadInput(format!("label {label} for {classes} classes (0 to {})", classes - 1)));
                }
            }
        }
        let device = logits.device();
        Ok(match logits.dtype() {
            DType::F32 => {
                Tensor::from_vec(targets.into_iter().map(|t| t as f32).collect::<Vec<f32>>(), (n, classes), device)?
            }
            dtype => Tensor::from_vec(targets, (n, classes), device)?.to_dtype(dtype)?,
        })
    }
}

/// `on` in the column of each row's label and `off` elsewhere, where the labels are: no number comes to the host.
fn chosen(labels: &Tensor, classes: usize, on: f64, off: f64, dtype: DType) -> Result<Tensor> {
    let (n, device) = (labels.dims1()?, labels.device());
    let columns = Tensor::arange(0u32, classes as u32, device)?.unsqueeze(0)?;
    let hit = labels.to_dtype(DType::U32)?.unsqueeze(1)?.broadcast_eq(&columns)?;
    let filled = |x: f64| Tensor::new(x, device)?.to_dtype(dtype)?.broadcast_as((n, classes));
    Ok(hit.where_cond(&filled(on)?, &filled(off)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn targets_made_on_the_device_are_those_of_the_host_bit_for_bit() -> Result<()> {
        let labels = Tensor::new(&[3u32, 0, 6, 2, 6], &Device::Cpu)?;
        for dtype in [DType::F32, DType::F64] {
            let logits = Tensor::zeros((5, 7), dtype, &Device::Cpu)?;
            for s in [0.0, 0.1, 0.3] {
                let host = Loss::CrossEntropy { label_smoothing: s }.targets(&logits, &labels)?;
                let there = chosen(&labels, 7, 1.0 - s + s / 7.0, s / 7.0, dtype)?;
                assert_eq!((there.dims(), there.dtype()), (host.dims(), host.dtype()));
                let bits = |t: &Tensor| -> Result<Vec<f64>> { Ok(t.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?) };
                assert_eq!(bits(&there)?, bits(&host)?);
            }
        }
        Ok(())
    }
}
