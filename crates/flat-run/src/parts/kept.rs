//! BatchNorm's running statistics as they were before a step, for a step that is skipped.

use candle_core::{DType, Result, Tensor, Var};
use flat_nn::Model;

/// Copies of the statistics, which a device puts back by itself where it decides.
pub enum Kept {
    /// A tensor each.
    Copies(Vec<(Var, Tensor)>),
    /// All in one vector, saved and restored by a launch each.
    #[cfg(feature = "cuda")]
    Together(flat_kernels::cuda::words::Saved),
}

impl Kept {
    /// Of a model, as it is.
    ///
    /// # Errors
    /// candle's.
    pub fn of(model: &Model) -> Result<Self> {
        let buffers = || model.buffers().values();
        #[cfg(feature = "cuda")]
        if buffers().next().is_some_and(|b| b.device().is_cuda()) {
            let tensors: Vec<Tensor> = buffers().map(|var| var.as_detached_tensor()).collect();
            if let Some(saved) = flat_kernels::cuda::words::Saved::of(&tensors)? {
                return Ok(Self::Together(saved));
            }
        }
        Ok(Self::Copies(
            buffers().map(|var| Ok((var.clone(), var.as_detached_tensor().copy()?))).collect::<Result<_>>()?,
        ))
    }

    /// Puts them back.
    ///
    /// # Errors
    /// candle's.
    pub fn put_back(self) -> Result<()> {
        match self {
            Self::Copies(copies) => copies.iter().try_for_each(|(var, before)| var.set(before)),
            #[cfg(feature = "cuda")]
            Self::Together(mut saved) => {
                let never = Tensor::zeros(1, DType::U8, saved.device())?;
                saved.restore_unless(&never)
            }
        }
    }

    /// Puts them back unless `taken`, a u8 of no dimension, says that the step was taken.
    ///
    /// # Errors
    /// candle's.
    pub fn put_back_unless(self, taken: &Tensor) -> Result<()> {
        debug_assert_eq!(taken.dtype(), DType::U8);
        match self {
            Self::Copies(copies) => copies.iter().try_for_each(|(var, before)| {
                let flag = taken.broadcast_as(before.shape())?;
                var.set(&flag.where_cond(&var.as_detached_tensor(), before)?)
            }),
            #[cfg(feature = "cuda")]
            Self::Together(mut saved) => saved.restore_unless(taken),
        }
    }
}
