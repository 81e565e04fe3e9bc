//! Derivatives of a normalisation layer and of its gradients along directions. On a CPU one kernel makes all, on CUDA one each.

use super::batch_norm::{Found, Normed, norm_gradients};
use candle_core::{Result, Tensor, bail};
use flat_kernels::cpu::norm::{self as kernel, Along, Direction, Layer, Mask, Moved};
use flat_kernels::host::with_all_slices;
use flat_kernels::{Float, Split, dispatch};

const OP: &str = "norm-along";

/// What a tangent takes away, which the gradients' derivatives need.
pub(crate) enum Taken {
    Host(Vec<Along>),
    /// `(2, channels)` in f64.
    #[cfg(feature = "cuda")]
    Device(Tensor),
}

/// A direction of a layer's operands.
pub(crate) struct Dot {
    pub x: Tensor,
    pub gain: Tensor,
    pub bias: Tensor,
    pub skip: Option<Tensor>,
}

impl Dot {
    fn all(&self) -> impl Iterator<Item = &Tensor> {
        [&self.x, &self.gain, &self.bias].into_iter().chain(&self.skip)
    }
}

/// A normalisation layer that has run.
pub(crate) struct NormLayer {
    x: Tensor,
    gain: Tensor,
    bias: Tensor,
    /// The value, where relu and a residual went into it.
    y: Option<Tensor>,
    relu: bool,
    batch: bool,
    found: Found,
}

impl NormLayer {
    /// The layer `[x, gain, bias]` that gave `normed`, with a residual or without.
    pub(crate) fn new(of: [&Tensor; 3], residual: bool, relu: bool, batch: bool, normed: &Normed) -> Self {
        let [x, gain, bias] = of.map(Tensor::clone);
        let y = (residual && relu).then(|| normed.y.clone());
        Self { x, gain, bias, y, relu, batch, found: normed.found.clone() }
    }

    /// The tangents for directions, and what each takes away.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub(crate) fn tangents(&self, dots: &[Dot]) -> Result<Vec<(Tensor, Taken)>> {
        for dot in dots {
            let like = [Some(&dot.x), dot.skip.as_ref()].into_iter().flatten().all(|t| t.shape() == self.x.shape());
            if !like || dot.gain.shape() != self.gain.shape() || dot.bias.shape() != self.bias.shape() {
                bail!("{OP}: directions that do not fit their values");
            }
        }
        #[cfg(feature = "cuda")]
        if self.x.device().is_cuda() {
            let tangent = |dot| {
                let (t, along) = self.on_device(dot)?.tangent()?;
                Ok((t, Taken::Device(along)))
            };
            return dots.iter().map(tangent).collect();
        }
        dispatch!(OP, self.x.dtype(), T => self.tangents_of::<T>(dots))
    }

    fn tangents_of<T: Float>(&self, dots: &[Dot]) -> Result<Vec<(Tensor, Taken)>> {
        let Some(stats) = self.found.get() else { bail!("{OP}: the value comes first") };
        let each = dots.first().map_or(1, |dot| dot.all().count());
        let operands: Vec<&Tensor> = dots.iter().flat_map(Dot::all).collect();
        let found = self.with::<T, _>(&operands, |layer, mask, slices| {
            let dots: Vec<_> = slices.chunks_exact(each).map(direction_of).collect();
            kernel::tangents(layer, mask, &dots, stats)
        })?;
        found.into_iter().map(|(t, along)| Ok((T::tensor(t, self.x.shape())?, Taken::Host(along)))).collect()
    }

    /// The gradients of `<g, layer>` for `x`, gain, bias and the residual, then their derivatives along directions of the operands
    /// and of `g`. `wanted` are the residual's, of which there is one where relu stands between, and those of gain and bias, which
    /// may be left out on CUDA.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub(crate) fn gradients(
        &self,
        g: &Tensor,
        moved: &[(&Dot, &Taken, &Tensor)],
        wanted: [bool; 2],
    ) -> Result<Vec<[Option<Tensor>; 4]>> {
        let with_skip = wanted[0];
        if g.device().is_cpu() && !moved.is_empty() {
            return dispatch!(OP, g.dtype(), T => self.gradients_of::<T>(g, moved, with_skip && self.relu));
        }
        let plain = |g: &Tensor| {
            let of = [&self.x, &self.gain, &self.bias];
            norm_gradients(of, self.y.as_ref(), self.relu, self.batch, &self.found, &g.contiguous()?, with_skip)
        };
        #[cfg(feature = "cuda")]
        if !moved.is_empty() {
            let mut all = if wanted[1] { vec![plain(g)?] } else { Vec::new() };
            for (dot, taken, g_dot) in moved {
                let Taken::Device(along) = taken else { bail!("{OP}: directions of another device") };
                let [bent_x, bent_gain, of_x, of_skip] = self.on_device(dot)?.gradients(along, g)?;
                if all.is_empty() {
                    // the gradients come with the first direction's, but for those of gain and bias
                    all.push([of_x, None, None, of_skip.filter(|_| with_skip && self.relu)]);
                }
                let [x, gain, bias, skip] = plain(g_dot)?;
                let sum = |a: Option<Tensor>, b: Option<Tensor>| a.zip(b).map(|(a, b)| a + b).transpose();
                all.push([sum(x, bent_x)?, sum(gain, bent_gain)?, bias, skip]);
            }
            return Ok(all);
        }
        Ok(vec![plain(g)?])
    }

    fn gradients_of<T: Float>(
        &self,
        g: &Tensor,
        moved: &[(&Dot, &Taken, &Tensor)],
        with_skip: bool,
    ) -> Result<Vec<[Option<Tensor>; 4]>> {
        let Some(stats) = self.found.get() else { bail!("{OP}: no forward pass") };
        let mut operands = vec![g];
        let mut taken: Vec<&[Along]> = Vec::with_capacity(moved.len());
        for (dot, along, g_dot) in moved {
            operands.extend([&dot.x, &dot.gain, &dot.bias, *g_dot]);
            match along {
                Taken::Host(along) => taken.push(along),
                #[cfg(feature = "cuda")]
                Taken::Device(_) => bail!("{OP}: directions of another device"),
            }
        }
        let found = self.with::<T, _>(&operands, |layer, mask, slices| {
            let each = slices[1..].chunks_exact(4).zip(&taken);
            let moved: Vec<_> =
                each.map(|(of, along)| Moved { dot: direction_of(&of[..3]), along, g: of[3] }).collect();
            kernel::backward_along(layer, mask, slices[0], stats, with_skip, &moved)
        })?;
        let tensors = |of: kernel::Gradients<T>| {
            Ok([
                Some(T::tensor(of.x, self.x.shape())?),
                Some(T::tensor(of.gain, self.gain.shape())?),
                Some(T::tensor(of.bias, self.bias.shape())?),
                of.skip.map(|s| T::tensor(s, self.x.shape())).transpose()?,
            ])
        };
        found.into_iter().map(tensors).collect()
    }

    /// Calls `f` with the layer, its mask and the elements of further operands.
    fn with<T: Float, R>(
        &self,
        operands: &[&Tensor],
        f: impl FnOnce(Layer<'_, T>, Mask<'_, T>, &[&[T]]) -> R,
    ) -> Result<R> {
        let split = Split::of(self.x.shape())?;
        let own = [&self.x, &self.gain, &self.bias].into_iter().chain(&self.y);
        let all: Vec<Tensor> = own.chain(operands.iter().copied()).map(Tensor::contiguous).collect::<Result<_>>()?;
        with_all_slices(OP, &all.iter().collect::<Vec<_>>(), |all: &[&[T]]| {
            let (y, operands) = all[3..].split_at(usize::from(self.y.is_some()));
            let layer = Layer { split, x: all[0], gain: all[1], bias: all[2], batch: self.batch };
            f(layer, Mask::of(self.relu, y.first().copied()), operands)
        })
    }

    /// The layer for the kernels of CUDA.
    #[cfg(feature = "cuda")]
    fn on_device<'a>(&'a self, dot: &'a Dot) -> Result<flat_kernels::cuda::tangents::Along<'a>> {
        Ok(flat_kernels::cuda::tangents::Along {
            of: [&self.x, &self.gain, &self.bias],
            dot: [&dot.x, &dot.gain, &dot.bias],
            skip_dot: dot.skip.as_ref(),
            y: self.y.as_ref(),
            relu: self.relu,
            batch: self.batch,
            stats: self.found.on_device()?,
        })
    }
}

/// The directions of `x`, gain, bias and, where it is there, the residual.
fn direction_of<'a, T>(of: &[&'a [T]]) -> Direction<'a, T> {
    Direction { x: of[0], gain: of[1], bias: of[2], skip: of.get(3).copied() }
}
