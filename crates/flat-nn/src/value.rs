//! Values that networks are written over: tensors, tensors on the tape, either with derivatives, or shapes alone.

mod plain;

use crate::ops::batch_norm::Source;
use crate::ops::moments::BatchMoments;
use crate::ops::{self, Arrange, Conv2d, Pool2d};
use crate::{Activation, Result};
use candle_core::{Device, Tensor};
use flat_kernels::Split;

/// What layers and networks compute with: a [`Tensor`], one on the tape, either with its derivatives along a line, or a shape
/// alone. A [`crate::Dual`] has the first derivative.
///
/// Methods ending in `_of` take a constant first operand, such as the images, so that no gradient or tangent is
/// computed for it.
pub trait Value: Clone + Sized {
    /// The plain value.
    fn primal(&self) -> &Tensor;

    /// Convolution with bias, see [`Conv2d::forward`].
    ///
    /// # Errors
    /// As there.
    fn conv2d(&self, w: &Self, bias: Option<&Self>, conv: Conv2d) -> Result<Self>;

    /// Convolution of a constant.
    ///
    /// # Errors
    /// As [`Conv2d::forward`].
    fn conv2d_of(x: &Tensor, w: &Self, bias: Option<&Self>, conv: Conv2d) -> Result<Self>;

    /// Convolution with bias, the nonlinearity of the maxima of its windows.
    ///
    /// # Errors
    /// As [`Self::conv2d`] and [`Self::max_pool`].
    fn conv2d_pool(&self, w: &Self, bias: Option<&Self>, conv: Conv2d, pool: Pool2d, then: Activation) -> Result<Self> {
        self.conv2d(w, bias, conv)?.max_pool(pool)?.activate(then)
    }

    /// [`Self::conv2d_pool`] of a constant.
    ///
    /// # Errors
    /// As there.
    fn conv2d_pool_of(
        x: &Tensor,
        w: &Self,
        bias: Option<&Self>,
        conv: Conv2d,
        pool: Pool2d,
        then: Activation,
    ) -> Result<Self> {
        Self::conv2d_of(x, w, bias, conv)?.max_pool(pool)?.activate(then)
    }

    /// Fully connected layer, then the nonlinearity.
    ///
    /// # Errors
    /// As [`Self::linear`].
    fn linear_activate(&self, w: &Self, bias: Option<&Self>, then: Activation) -> Result<Self> {
        self.linear(w, bias)?.activate(then)
    }

    /// Fully connected layer, see [`ops::linear`].
    ///
    /// # Errors
    /// As there.
    fn linear(&self, w: &Self, bias: Option<&Self>) -> Result<Self>;

    /// Fully connected layer of a constant.
    ///
    /// # Errors
    /// As [`ops::linear`].
    fn linear_of(x: &Tensor, w: &Self, bias: Option<&Self>) -> Result<Self>;

    /// Max pooling, see [`Pool2d::max`].
    ///
    /// # Errors
    /// As there.
    fn max_pool(&self, pool: Pool2d) -> Result<Self>;

    /// Average pooling, see [`Pool2d::mean`].
    ///
    /// # Errors
    /// As there.
    fn mean_pool(&self, pool: Pool2d) -> Result<Self>;

    /// Adaptive average pooling as PyTorch has it: `(n, c, h, w)` to `(n, c, side, side)`. The windows cover the image.
    /// It is a product with a constant matrix, and nothing where the images have that side.
    ///
    /// # Errors
    /// Anything but four dimensions.
    fn adaptive_mean(&self, side: usize) -> Result<Self> {
        let (n, c, h, w) = self.primal().dims4()?;
        if (h, w) == (side, side) {
            return Ok(self.clone());
        }
        let means = self.constant(ops::adaptive_means((h, w), side, self.primal())?)?;
        self.reshape(&[n * c, h * w])?.linear(&means, None)?.reshape(&[n, c, side, side])
    }

    /// Mean over rows and columns: `(n, c, h, w)` to `(n, c)`.
    ///
    /// # Errors
    /// Anything but four dimensions.
    fn global_mean(&self) -> Result<Self>;

    /// The same elements in another shape.
    ///
    /// # Errors
    /// Another number of elements.
    fn reshape(&self, shape: &[usize]) -> Result<Self>;

    /// The same elements elsewhere, see [`Arrange`].
    ///
    /// # Errors
    /// A dimension or a place that is not there.
    fn arrange(&self, by: &Arrange) -> Result<Self>;

    /// The dimensions in another order.
    ///
    /// # Errors
    /// As [`Self::arrange`].
    fn permute(&self, dims: &[usize]) -> Result<Self> {
        self.arrange(&Arrange::Permute(dims.to_vec()))
    }

    /// `len` places of a dimension from `start` on.
    ///
    /// # Errors
    /// As [`Self::arrange`].
    fn narrow(&self, dim: usize, start: usize, len: usize) -> Result<Self> {
        self.arrange(&Arrange::Narrow { dim, start, len })
    }

    /// Zeros in front of a dimension and behind it.
    ///
    /// # Errors
    /// As [`Self::arrange`].
    fn pad(&self, dim: usize, before: usize, after: usize) -> Result<Self> {
        self.arrange(&Arrange::Pad { dim, before, after })
    }

    /// The first dimension, of one place, `n` times.
    ///
    /// # Errors
    /// As [`Self::arrange`].
    fn repeat(&self, n: usize) -> Result<Self> {
        self.arrange(&Arrange::Repeat(n))
    }

    /// The matrix products of two batches: `(b, m, k)` times `(b, k, n)`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn products(&self, other: &Self) -> Result<Self>;

    /// The softmax of `factor` times the last dimension.
    ///
    /// # Errors
    /// No dimension.
    fn softmax(&self, factor: f64) -> Result<Self>;

    /// A constant to compute with.
    ///
    /// # Errors
    /// candle's.
    fn constant(&self, x: Tensor) -> Result<Self>;

    /// Everything but the first dimension in one: `(n, ...)` to `(n, d)`.
    ///
    /// # Errors
    /// No dimension.
    fn flatten(&self) -> Result<Self> {
        let n = self.primal().dim(0)?;
        self.reshape(&[n, self.primal().elem_count() / n.max(1)])
    }

    /// The nonlinearity of every element.
    ///
    /// # Errors
    /// candle's.
    fn activate(&self, activation: Activation) -> Result<Self>;

    /// The sum, then the nonlinearity.
    ///
    /// # Errors
    /// Different shapes.
    fn add_activate(&self, other: &Self, activation: Activation) -> Result<Self>;

    /// The sum.
    ///
    /// # Errors
    /// Different shapes.
    fn plus(&self, other: &Self) -> Result<Self>;

    /// The sum with `skip`, then the nonlinearity, where they are given.
    ///
    /// # Errors
    /// Different shapes.
    fn finish(self, skip: Option<&Self>, then: Option<Activation>) -> Result<Self> {
        match (skip, then) {
            (None, None) => Ok(self),
            (None, Some(activation)) => self.activate(activation),
            (Some(skip), None) => self.plus(skip),
            (Some(skip), Some(activation)) => self.add_activate(skip, activation),
        }
    }

    /// `gain (x - mean) / sqrt(var + eps) + bias` with the mean and biased variance of each channel of `(n, c, ...)` over
    /// the batch, then the nonlinearity where one is given.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn batch_norm(&self, gain: &Self, bias: &Self, eps: f64, then: Option<Activation>) -> Result<(Self, BatchMoments)> {
        self.batch_norm_add(gain, bias, eps, None, then)
    }

    /// [`Self::batch_norm`] with `skip` added before the nonlinearity, as a residual block ends: one operation with relu.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn batch_norm_add(
        &self,
        gain: &Self,
        bias: &Self,
        eps: f64,
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<(Self, BatchMoments)>;

    /// Group normalisation: mean and variance over each of `groups` groups of channels of each example, then a gain and a
    /// bias a channel, `skip` and the nonlinearity, where they are given.
    ///
    /// The groups of all examples are standardised as the channels of one.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn group_norm_add(
        &self,
        groups: usize,
        gain: &Self,
        bias: &Self,
        eps: f64,
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<Self> {
        let x = self.primal();
        let Split { outer, channels, inner } = group_split(x, groups)?;
        let all = |value: f64, count: usize, device: &Device| Tensor::full(value, count, device)?.to_dtype(x.dtype());
        let one = self.constant(all(1.0, channels, x.device())?)?;
        let zero = self.constant(all(0.0, channels, x.device())?)?;
        let (normal, _) = self.reshape(&[outer, channels, inner])?.batch_norm_add(&one, &zero, eps, None, None)?;
        let of_channels = |value| all(value, gain.primal().elem_count(), x.device());
        let (mean, inv_std) = (of_channels(0.0)?, of_channels(1.0)?);
        normal.reshape(x.dims())?.fixed_norm_add(gain, bias, (&mean, &inv_std), skip, then)
    }

    /// `factor (self - mean) + bias`, with a constant mean a channel and `factor = gain * constant`: normalisation by
    /// running statistics.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn fixed_norm(&self, gain: &Self, bias: &Self, mean: &Tensor, inv_std: &Tensor) -> Result<Self> {
        self.fixed_norm_add(gain, bias, (mean, inv_std), None, None)
    }

    /// [`Self::fixed_norm`] by `(mean, inv_std)`, with `skip` added and then the nonlinearity, where they are given.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn fixed_norm_add(
        &self,
        gain: &Self,
        bias: &Self,
        statistics: (&Tensor, &Tensor),
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<Self>;

    /// `-sum_j t_ij log softmax(self)_ij` a row, for constant targets whose rows sum to one.
    ///
    /// # Errors
    /// Different shapes.
    fn cross_entropy(&self, targets: &Tensor) -> Result<Self>;

    /// `sum_j (self_ij - t_ij)^2` a row.
    ///
    /// # Errors
    /// Different shapes.
    fn squared_error(&self, targets: &Tensor) -> Result<Self>;

    /// Mean of all elements times a number, a scalar.
    ///
    /// # Errors
    /// candle's.
    fn scaled_mean(&self, factor: f64) -> Result<Self>;
}

/// Which elements group normalisation standardises together.
pub(crate) fn group_split(x: &Tensor, groups: usize) -> Result<Split> {
    let split = Split::of(x.shape())?;
    if groups == 0 || !split.channels.is_multiple_of(groups) {
        return Err(crate::Error::BadInput(format!("{} channels do not split into {groups} groups", split.channels)));
    }
    Ok(Split { outer: 1, channels: split.outer * groups, inner: split.channels / groups * split.inner })
}

/// Statistics that are constants.
pub(crate) fn fixed((mean, inv_std): (&Tensor, &Tensor)) -> Source {
    Source::Fixed(mean.detach(), inv_std.detach())
}
