//! The tangent of normalisation on candle's tensors of a CUDA device.

use super::device::{New, run, tensor, touch};
use super::launch::NORM_TANGENT;
use super::layers::{device, plain};
use super::norm::{Layer, Mask};
use super::norm_tangent::{Gradients, Tangent, partial};
use crate::{Float, Split, dispatch};
use candle_core::{Result, Tensor, bail};

/// A layer that has run, and the directions of its operands. The directions of gain and bias are constants.
#[derive(Debug, Clone, Copy)]
pub struct Along<'a> {
    /// `x`, gain and bias.
    pub of: [&'a Tensor; 3],
    /// Their directions.
    pub dot: [&'a Tensor; 3],
    /// The residual's direction, where there is one.
    pub skip_dot: Option<&'a Tensor>,
    /// The output, where relu and a residual went into it.
    pub y: Option<&'a Tensor>,
    /// Whether relu went into it.
    pub relu: bool,
    /// Whether the statistics are those of `x`.
    pub batch: bool,
    /// `(3, channels)` in f64, as the layer found them.
    pub stats: &'a Tensor,
}

impl Along<'_> {
    /// The tangent, and `(2, channels)` in f64 that its gradients need.
    ///
    /// # Errors
    /// Shapes that do not fit, an empty tensor; the driver's.
    pub fn tangent(&self) -> Result<(Tensor, Tensor)> {
        dispatch!("norm-tangent", self.of[0].dtype(), T => self.with::<T, _>(|s, at| {
            let device = device("norm-tangent", self.of[0])?;
            let (mut out, mut along) = (New::<T>::new(&device, s.elements())?, New::<f64>::new(&device, 2 * s.channels)?);
            let mut room = New::<f64>::new(&device, partial(s))?;
            let launches = at.forward(T::REAL, s, room.address(), along.address(), out.address());
            // SAFETY: the operands' sizes were compared; room for every element, channel and partial sum.
            unsafe { run(&device, &NORM_TANGENT, &launches) }?;
            Ok((tensor(out, self.of[0].shape()), tensor(along, (2, s.channels))))
        }))
    }

    /// The gradients of [`Self::tangent`], which gave `along`: for `x`, the gain, the direction of `x`, and that of the residual.
    ///
    /// # Errors
    /// As there.
    pub fn gradients(&self, along: &Tensor, g: &Tensor) -> Result<[Option<Tensor>; 4]> {
        let g = plain(g)?;
        if g.shape() != self.of[0].shape() {
            bail!("norm-tangent: a gradient {:?} for {:?}", g.shape(), self.of[0].shape());
        }
        dispatch!("norm-tangent", g.dtype(), T => self.with::<T, _>(|s, at| {
            let device = device("norm-tangent", &g)?;
            let new = |n| New::<T>::new(&device, n);
            let (mut x, mut gain, mut x_dot) = (new(s.elements())?, new(s.channels)?, new(s.elements())?);
            let mut skip_dot = self.skip_dot.map(|_| new(s.elements())).transpose()?;
            let mut room = New::<f64>::new(&device, partial(s))?;
            let to = Gradients {
                x: x.address(),
                gain: gain.address(),
                x_dot: x_dot.address(),
                skip_dot: skip_dot.as_mut().map_or(0, New::address),
            };
            let launches = at.gradient(T::REAL, s, room.address(), touch::<f64>(along)?, touch::<T>(&g)?, to);
            // SAFETY: as in `tangent`.
            unsafe { run(&device, &NORM_TANGENT, &launches) }?;
            let like = self.of[0].shape();
            Ok([
                Some(tensor(x, like)),
                Some(tensor(gain, self.of[1].shape())),
                Some(tensor(x_dot, like)),
                skip_dot.map(|s| tensor(s, like)),
            ])
        }))
    }

    /// Calls `f` with the sizes and the operands' addresses.
    fn with<T: Float, R>(&self, f: impl FnOnce(Split, Tangent) -> Result<R>) -> Result<R> {
        let split = Split::of(self.of[0].shape())?;
        let channels = [self.of[1], self.of[2], self.dot[1], self.dot[2]].map(Tensor::elem_count);
        let like = [Some(self.dot[0]), self.skip_dot, self.y].into_iter().flatten();
        if split.elements() == 0
            || channels != [split.channels; 4]
            || like.clone().any(|t| t.shape() != self.of[0].shape())
            || self.stats.elem_count() != 3 * split.channels
        {
            bail!("norm-tangent: directions that do not fit their values");
        }
        let ([x, gain, bias], [x_dot, gain_dot, bias_dot]) = (self.of.map(plain), self.dot.map(plain));
        let operands = [x?, gain?, bias?, x_dot?, gain_dot?, bias_dot?];
        let (skip_dot, y) = (self.skip_dot.map(plain).transpose()?, self.y.map(plain).transpose()?);
        let optional = |t: &Option<Tensor>| t.as_ref().map_or(Ok(0), touch::<T>);
        let at = |i: usize| touch::<T>(&operands[i]);
        let mask = match (self.relu, &y) {
            (false, _) => Mask::All,
            (true, None) => Mask::Again,
            (true, Some(_)) => Mask::Output(optional(&y)?),
        };
        let layer = Layer { x: at(0)?, gain: at(1)?, bias: at(2)?, stats: touch::<f64>(self.stats)? };
        let skip = optional(&skip_dot)?;
        f(split, Tangent { layer, mask, batch: self.batch, x: at(3)?, gain: at(4)?, bias: at(5)?, skip })
    }
}
