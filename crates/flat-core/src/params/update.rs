//! Recurrences over the variables and vectors, in place.

use super::Params;
use crate::vector::read;
use crate::whole::Whole;
use crate::{ParamVec, Result, Update};
use candle_core::Tensor;
use flat_kernels::cpu::vector as kernel;
use flat_kernels::{dispatch, host};
use rayon::prelude::*;

impl Params {
    /// Carries out a recurrence over the variables and vectors, element by element and in place: one pass over memory
    /// for all of it. `of` gives the recurrence for the parameter of each index, whose constants may differ.
    ///
    /// On the host nothing is written unless all is.
    ///
    /// # Errors
    /// Vectors of another space; candle's.
    pub fn update<const M: usize, const N: usize, U: Update<M, N>>(
        &self,
        inputs: [&ParamVec; M],
        state: [&mut ParamVec; N],
        of: impl Fn(usize) -> U + Sync,
    ) -> Result<()> {
        self.update_scaled(inputs, state, of, None)
    }

    /// [`Self::update`] with one of the inputs multiplied by a number that lies on the CUDA device.
    pub(super) fn update_scaled<const M: usize, const N: usize, U: Update<M, N>>(
        &self,
        inputs: [&ParamVec; M],
        mut state: [&mut ParamVec; N],
        of: impl Fn(usize) -> U + Sync,
        scaled: Option<(usize, &Tensor)>,
    ) -> Result<()> {
        for x in inputs.iter().copied().chain(state.iter().map(|s| &**s)) {
            x.check_space(&self.space)?;
        }
        for s in &mut state {
            s.forget_square();
            inputs.iter().try_for_each(|x| s.check_unaliased(x))?;
        }
        #[cfg(feature = "cuda")]
        if self.space.device.is_cuda() {
            let vars: Vec<&Tensor> = self.vars.iter().map(|v| v.as_tensor()).collect();
            let (inputs, state) = (inputs.map(ParamVec::flat), state.map(|s| &*s).map(ParamVec::flat));
            let decided = flat_kernels::cuda::parameters::Decided { keep: self.keep.as_ref(), scaled };
            return Ok(
                dispatch!("a vector", self.space.dtype, T => flat_kernels::cuda::parameters::update::<T, M, N, U>(&vars, inputs, state, of, decided))?,
            );
        }
        debug_assert!(scaled.is_none(), "a number left on CUDA alone");
        if !self.space.device.is_cpu() {
            return self.update_whole(inputs, state, of);
        }
        if !self.keeps()? {
            return Ok(());
        }
        let state = state.map(|s| &*s);
        dispatch!("a vector", self.space.dtype, T => read(inputs, |inputs: [&[T]; M]| {
            let empty = std::array::from_fn(|_| &mut [][..]);
            host::with_slices_mut(state.map(ParamVec::flat), 0, empty, &mut |mut state: [&mut [T]; N]| {
                let pieces = self.vars.iter().zip(self.layout().entries()).enumerate().map(|(i, (var, e))| {
                    let inputs = inputs.map(|x| &x[e.offset..e.offset + e.len]);
                    // the variables lie one after the other in the vectors
                    let state = state.each_mut().map(|rest| rest.split_off_mut(..e.len).unwrap_or_default());
                    (i, var.as_tensor(), inputs, state)
                });
                let piece = |(i, var, inputs, state): (usize, &Tensor, [&[T]; M], [&mut [T]; N])| {
                    host::with_slice_mut(var, |w: &mut [T]| {
                        kernel::update(w, inputs, state, &of(i));
                        Ok(())
                    })
                };
                if self.layout().len() <= kernel::SERIAL {
                    return pieces.into_iter().try_for_each(piece);
                }
                pieces.collect::<Vec<_>>().into_par_iter().try_for_each(piece)
            })
        }))??;
        Ok(())
    }

    /// Whether updates take place, on the CPU.
    #[expect(clippy::disallowed_methods, reason = "on the CPU, where a read is free")]
    fn keeps(&self) -> Result<bool> {
        Ok(match &self.keep {
            None => true,
            Some(flag) => flag.flatten_all()?.get(0)?.to_scalar::<u8>()? != 0,
        })
    }

    /// [`Self::update`] with the operations of the tensors, for devices whose memory the host does not see.
    pub(super) fn update_whole<const M: usize, const N: usize, U: Update<M, N>>(
        &self,
        inputs: [&ParamVec; M],
        state: [&mut ParamVec; N],
        of: impl Fn(usize) -> U,
    ) -> Result<()> {
        let chosen = |new: Tensor, old: &Tensor| match &self.keep {
            None => Ok(new),
            Some(flag) => flag.reshape(())?.broadcast_as(new.shape())?.where_cond(&new, old),
        };
        let mut parts: [Vec<Tensor>; N] = std::array::from_fn(|_| Vec::with_capacity(self.vars.len()));
        for (i, var) in self.vars.iter().enumerate() {
            let whole = |x: &ParamVec| Whole::new(x.part(i).map_err(candle_core::Error::wrap));
            let old = var.as_detached_tensor().copy()?;
            let states: [Whole; N] = std::array::from_fn(|k| whole(state[k]));
            let (new, kept) = of(i).update(Whole::new(Ok(old.clone())), inputs.map(whole), states.clone());
            for ((parts, kept), was) in parts.iter_mut().zip(kept).zip(states) {
                parts.push(chosen(kept.tensor()?, &was.tensor()?)?.flatten_all()?);
            }
            var.set(&chosen(new.tensor()?, &old)?)?;
        }
        for (state, parts) in state.into_iter().zip(&parts) {
            state.set_flat(Tensor::cat(parts, 0)?.copy()?);
        }
        Ok(())
    }
}
