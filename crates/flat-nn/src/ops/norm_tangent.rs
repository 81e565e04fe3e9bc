//! The tangent of a normalisation layer, and its gradient, each as one kernel of the CPU or of CUDA.

use super::batch_norm::{Found, Normed};
use candle_core::{Result, Tensor, bail};
use flat_kernels::cpu::norm::{self as kernel, Along, Direction, Layer, Mask};
use flat_kernels::host::elements;
use flat_kernels::{Float, Split, dispatch};

const OP: &str = "norm-tangent";

/// What the way back needs of a tangent, where it was computed.
pub(crate) enum Moved {
    Host(Vec<Along>),
    /// `(2, channels)` in f64.
    #[cfg(feature = "cuda")]
    Device(Tensor),
}

/// A normalisation layer that has run, and the directions of all that went into it but `x`.
pub(crate) struct NormTangent {
    x: Tensor,
    gain: Tensor,
    bias: Tensor,
    gain_dot: Tensor,
    bias_dot: Tensor,
    skip_dot: Option<Tensor>,
    /// The value, where relu and a residual went into it.
    y: Option<Tensor>,
    relu: bool,
    batch: bool,
    found: Found,
}

impl NormTangent {
    /// The layer `[x, gain, bias]` that gave `normed`, and the directions of gain and bias and of the residual.
    pub(crate) fn new(
        [x, gain, bias]: [&Tensor; 3],
        [gain_dot, bias_dot]: [&Tensor; 2],
        skip_dot: Option<&Tensor>,
        relu: bool,
        batch: bool,
        normed: &Normed,
    ) -> Self {
        let y = skip_dot.filter(|_| relu).map(|_| normed.y.clone());
        let [x, gain, bias, gain_dot, bias_dot] = [x, gain, bias, gain_dot, bias_dot].map(Tensor::clone);
        Self {
            x,
            gain,
            bias,
            gain_dot,
            bias_dot,
            skip_dot: skip_dot.cloned(),
            y,
            relu,
            batch,
            found: normed.found.clone(),
        }
    }

    /// The layer for the kernels of CUDA.
    #[cfg(feature = "cuda")]
    fn on_device<'a>(&'a self, x_dot: &'a Tensor) -> Result<flat_kernels::cuda::tangents::Along<'a>> {
        Ok(flat_kernels::cuda::tangents::Along {
            of: [&self.x, &self.gain, &self.bias],
            dot: [x_dot, &self.gain_dot, &self.bias_dot],
            skip_dot: self.skip_dot.as_ref(),
            y: self.y.as_ref(),
            relu: self.relu,
            batch: self.batch,
            stats: self.found.on_device()?,
        })
    }

    /// Calls `f` with the layer, its mask and direction.
    fn with<T: Float, R>(
        &self,
        x_dot: &Tensor,
        f: impl FnOnce(Layer<'_, T>, Mask<'_, T>, Direction<'_, T>) -> Result<R>,
    ) -> Result<R> {
        let split = Split::of(self.x.shape())?;
        let ((s, l), (sd, ld)) = (self.x.storage_and_layout(), x_dot.storage_and_layout());
        let ((s1, l1), (s2, l2)) = (self.gain.storage_and_layout(), self.bias.storage_and_layout());
        let ((s3, l3), (s4, l4)) = (self.gain_dot.storage_and_layout(), self.bias_dot.storage_and_layout());
        let (y, skip) =
            (self.y.as_ref().map(Tensor::storage_and_layout), self.skip_dot.as_ref().map(Tensor::storage_and_layout));
        let x = elements::<T>(OP, &s, l)?;
        let (gain, bias) = (elements::<T>(OP, &s1, l1)?, elements::<T>(OP, &s2, l2)?);
        let dot = Direction {
            x: elements::<T>(OP, &sd, ld)?,
            gain: elements::<T>(OP, &s3, l3)?,
            bias: elements::<T>(OP, &s4, l4)?,
            skip: skip.as_ref().map(|(s, l)| elements::<T>(OP, s, l)).transpose()?,
        };
        let y = y.as_ref().map(|(s, l)| elements::<T>(OP, s, l)).transpose()?;
        let channels = [gain.len(), bias.len(), dot.gain.len(), dot.bias.len()];
        if channels != [split.channels; 4] || dot.x.len() != x.len() || dot.skip.is_some_and(|s| s.len() != x.len()) {
            bail!("{OP}: directions that do not fit their values");
        }
        f(Layer { split, x, gain, bias, batch: self.batch }, Mask::of(self.relu, y), dot)
    }

    /// The tangent for the direction `x_dot`, and what the way back needs of it.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub(crate) fn forward(&self, x_dot: &Tensor) -> Result<(Tensor, Moved)> {
        #[cfg(feature = "cuda")]
        if x_dot.device().is_cuda() {
            let (t, along) = self.on_device(x_dot)?.tangent()?;
            return Ok((t, Moved::Device(along)));
        }
        dispatch!(OP, x_dot.dtype(), T => self.forward_of::<T>(x_dot))
    }

    fn forward_of<T: Float>(&self, x_dot: &Tensor) -> Result<(Tensor, Moved)> {
        let Some(stats) = self.found.get() else { bail!("{OP}: the value comes first") };
        self.with::<T, _>(x_dot, |layer, mask, dot| {
            let (t, along) = kernel::tangent(layer, mask, dot, stats);
            Ok((T::tensor(t, x_dot.shape())?, Moved::Host(along)))
        })
    }

    /// The tangent's gradients for `x`, the gain, `x_dot` and, where there is one, the residual's direction.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub(crate) fn backward(&self, x_dot: &Tensor, along: &Moved, g: &Tensor) -> Result<[Option<Tensor>; 4]> {
        match along {
            Moved::Host(along) => dispatch!(OP, x_dot.dtype(), T => self.backward_of::<T>(x_dot, along, g)),
            #[cfg(feature = "cuda")]
            Moved::Device(along) => self.on_device(x_dot)?.gradients(along, g),
        }
    }

    fn backward_of<T: Float>(&self, x_dot: &Tensor, along: &[Along], g: &Tensor) -> Result<[Option<Tensor>; 4]> {
        let Some(stats) = self.found.get() else { bail!("{OP}: no forward pass") };
        let (s, l) = g.storage_and_layout();
        let g = elements::<T>(OP, &s, l)?;
        let found =
            self.with(x_dot, |layer, mask, dot| Ok(kernel::tangent_backward(layer, mask, dot, g, stats, along)))?;
        let shape = self.x.shape();
        Ok([
            Some(T::tensor(found.x, shape)?),
            Some(T::tensor(found.gain, self.gain.shape())?),
            Some(T::tensor(found.x_dot, shape)?),
            found.skip_dot.map(|s| T::tensor(s, shape)).transpose()?,
        ])
    }
}
