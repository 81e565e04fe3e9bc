//! New vectors from the caller's element-wise recurrences, with an inner product computed in the same pass.

use super::{ParamVec, read};
use crate::{Result, Scalar, Stream, Update};
use candle_core::Tensor;
use flat_kernels::cpu::vector as kernel;
use flat_kernels::{Float, dispatch, host};

impl ParamVec {
    /// A new vector from an element-wise recurrence over vectors, and its product with `inputs[with]`. The recurrence
    /// may change `state` in place. `with: None` asks for the product with itself. One pass over memory on the host.
    ///
    /// `of` gives the recurrence for the parameter of each index, whose constants may differ; its `w` is arbitrary. The
    /// product is left on another device than the CPU, and on the CPU where `on_device`.
    ///
    /// ```
    /// use candle_core::{DType, Device, Shape};
    /// use flat_core::{Layout, Number, ParamVec, Space, Update};
    ///
    /// /// `m <- 0.9 m + 0.1 g; w <- g - m`
    /// struct Rest;
    /// impl Update<1, 1> for Rest {
    ///     fn update<E: Number>(&self, _: E, [g]: [E; 1], [m]: [E; 1]) -> (E, [E; 1]) {
    ///         let m = m * 0.9 + g.clone() * 0.1;
    ///         (g - m.clone(), [m])
    ///     }
    /// }
    ///
    /// # fn main() -> flat_core::Result<()> {
    /// let layout = Layout::new([("w".into(), Shape::from(2))])?;
    /// let space = Space { layout: layout.into(), dtype: DType::F64, device: Device::Cpu };
    /// let (g, mut m) = (ParamVec::from_f64(&space, vec![1.0, 2.0])?, ParamVec::zeros(&space)?);
    /// let (rest, square) = ParamVec::recur([&g], [&mut m], |_| Rest, None, false)?;
    /// assert_eq!((rest.to_f64()?, m.to_f64()?), (vec![0.9, 1.8], vec![0.1, 0.2]));
    /// assert_eq!(square.host(), Some(0.9 * 0.9 + 1.8 * 1.8));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn recur<const M: usize, const N: usize, U: Update<M, N>>(
        inputs: [&Self; M],
        state: [&mut Self; N],
        of: impl Fn(usize) -> U + Sync,
        with: Option<usize>,
        on_device: bool,
    ) -> Result<(Self, Scalar)> {
        Self::recur_from(None, inputs, state, of, with, on_device)
    }

    /// A new vector from an element-wise recurrence whose `w` is noise: independent numbers from N(0, 1), which are never stored.
    /// One pass over memory on the host.
    ///
    /// Many numbers are drawn at a time, in a third of the time of [`Self::gaussian`], whose numbers are others.
    ///
    /// ```
    /// use candle_core::{DType, Device, Shape};
    /// use flat_core::{Layout, Number, ParamVec, Purpose, Space, Streams, Update};
    ///
    /// /// Noise in proportion.
    /// struct Relative;
    /// impl Update<1, 0> for Relative {
    ///     fn update<E: Number>(&self, z: E, [x]: [E; 1], _: [E; 0]) -> (E, [E; 0]) {
    ///         (x.clone() + x * z * 0.01, [])
    ///     }
    /// }
    ///
    /// # fn main() -> flat_core::Result<()> {
    /// let layout = Layout::new([("w".into(), Shape::from(2))])?;
    /// let space = Space { layout: layout.into(), dtype: DType::F64, device: Device::Cpu };
    /// let x = ParamVec::from_f64(&space, vec![0.0, 100.0])?;
    /// let noisy = ParamVec::recur_noise(&Streams::new(0).at(Purpose::Test, 0), [&x], [], |_| Relative)?.to_f64()?;
    /// assert!(noisy[0] == 0.0 && noisy[1] != 100.0 && (noisy[1] - 100.0).abs() < 10.0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn recur_noise<const M: usize, const N: usize, U: Update<M, N>>(
        stream: &Stream,
        inputs: [&Self; M],
        state: [&mut Self; N],
        of: impl Fn(usize) -> U + Sync,
    ) -> Result<Self> {
        Ok(Self::recur_from(Some(stream), inputs, state, of, None, false)?.0)
    }

    fn recur_from<const M: usize, const N: usize, U: Update<M, N>>(
        noise: Option<&Stream>,
        inputs: [&Self; M],
        mut state: [&mut Self; N],
        of: impl Fn(usize) -> U + Sync,
        with: Option<usize>,
        on_device: bool,
    ) -> Result<(Self, Scalar)> {
        const { assert!(M > 0, "a recurrence reads a vector") };
        let space = inputs[0].space();
        for x in inputs.iter().copied().chain(state.iter().map(|s| &**s)) {
            x.check_space(&space)?;
        }
        for s in &mut state {
            s.forget_square();
            inputs.iter().try_for_each(|x| s.check_unaliased(x))?;
        }
        if !space.device.is_cpu() {
            let mut new = noise.map_or_else(|| Self::scratch(&space), |stream| Self::noise(&space, stream))?;
            new.recur_elsewhere(inputs, state, of)?;
            let product = Scalar::on_device(&new.dot_tensor(with.map_or(&new, |k| inputs[k]))?)?;
            return Ok((new, product));
        }
        let mut new = Self::scratch(&space)?;
        let ends: Vec<usize> = space.layout.entries().iter().map(|e| e.offset + e.len).collect();
        let state = state.map(|s| &*s);
        let mut product = 0.0;
        dispatch!("a vector", space.dtype, T => read(inputs, |inputs: [&[T]; M]| {
            let empty = std::array::from_fn(|_| &mut [][..]);
            host::with_slices_mut(state.map(Self::flat), 0, empty, &mut |state: [&mut [T]; N]| {
                host::with_slice_mut(&new.flat, |out: &mut [T]| {
                    let start = |i: usize, out: &mut [T]| noise.into_iter().for_each(|stream| stream.noise(i, out));
                    product = kernel::recur(out, start, inputs, state, &ends, &of, with);
                    Ok(())
                })
            })
        }))??;
        if with.is_none() {
            new.know_square(product);
        }
        let product =
            if on_device { Scalar::on_device(&Tensor::new(product, &space.device)?)? } else { product.into() };
        Ok((new, product))
    }

    /// The same in the operations of another device.
    fn recur_elsewhere<const M: usize, const N: usize, U: Update<M, N>>(
        &mut self,
        inputs: [&Self; M],
        state: [&mut Self; N],
        of: impl Fn(usize) -> U,
    ) -> Result<()> {
        let entries = self.layout.entries().iter();
        let parts = entries.map(|e| self.flat.narrow(0, e.offset, e.len)).collect::<candle_core::Result<Vec<_>>>()?;
        #[cfg(feature = "cuda")]
        if self.on_cuda() {
            let parts: Vec<&Tensor> = parts.iter().collect();
            let (inputs, state) = (inputs.map(Self::flat), state.map(|s| &*s).map(Self::flat));
            return Ok(
                dispatch!("a vector", self.dtype(), T => flat_kernels::cuda::parameters::update::<T, M, N, U>(&parts, inputs, state, of, Default::default()))?,
            );
        }
        let mut new = Vec::with_capacity(parts.len());
        let mut kept: [Vec<Tensor>; N] = std::array::from_fn(|_| Vec::with_capacity(parts.len()));
        for (i, part) in parts.into_iter().enumerate() {
            let whole = |x: &Self| {
                crate::whole::Whole::new(x.part(i).and_then(|x| Ok(x.flatten_all()?)).map_err(candle_core::Error::wrap))
            };
            let old = crate::whole::Whole::new(Ok(part));
            let (out, after) = of(i).update(old, inputs.map(whole), std::array::from_fn(|k| whole(state[k])));
            new.push(out.tensor()?);
            for (kept, after) in kept.iter_mut().zip(after) {
                kept.push(after.tensor()?);
            }
        }
        self.set_flat(Tensor::cat(&new, 0)?.copy()?);
        for (state, kept) in state.into_iter().zip(&kept) {
            state.set_flat(Tensor::cat(kept, 0)?.copy()?);
        }
        Ok(())
    }

    /// The norm of the filter that each element belongs to. In a parameter with two dimensions or more a filter is
    /// the part of one first index, an output channel or unit; any other parameter is one filter. Two passes; no
    /// number comes to the host.
    ///
    /// # Errors
    /// candle's.
    pub fn filter_norms(&self) -> Result<Self> {
        let filters = |e: &crate::Entry| if e.shape.rank() < 2 { 1 } else { e.shape.dims()[0].max(1) };
        let entries = self.layout.entries().iter().filter(|e| e.len > 0);
        if !self.on_cpu() {
            let norms = entries.map(|e| {
                let rows = self.flat.narrow(0, e.offset, e.len)?.reshape((filters(e), ()))?;
                rows.sqr()?.sum_keepdim(1)?.sqrt()?.broadcast_as(rows.shape())?.contiguous()?.flatten_all()
            });
            let flat = Tensor::cat(&norms.collect::<candle_core::Result<Vec<_>>>()?, 0)?.copy()?;
            return Ok(Self::own(self.layout.clone(), flat));
        }
        let new = Self::scratch(&self.space())?;
        dispatch!("a vector", self.dtype(), T => read([self], |[x]: [&[T]; 1]| {
            host::with_slice_mut(&new.flat, |out: &mut [T]| {
                for e in entries {
                    let (range, filter) = (e.offset..e.offset + e.len, e.len / filters(e));
                    for (out, x) in out[range.clone()].chunks_mut(filter).zip(x[range].chunks(filter)) {
                        out.fill(T::from_f64(kernel::dot(x, x).sqrt()));
                    }
                }
                Ok(())
            })
        }))??;
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layout, Number, Purpose, Space, Streams};
    use candle_core::{DType, Device, Shape};

    /// `w <- c |x| - y s; s <- s + c x`, with a constant of each parameter.
    struct Mixed(f64);

    impl Update<2, 1> for Mixed {
        fn update<E: Number>(&self, _: E, [x, y]: [E; 2], [s]: [E; 1]) -> (E, [E; 1]) {
            (x.clone().abs() * self.0 - y * s.clone(), [s + x * self.0])
        }
    }

    #[test]
    fn a_recurrence_is_that_of_each_element_with_the_constants_of_its_parameter_and_finds_the_product() -> Result<()> {
        // parameters that begin and end on and off the borders of the chunks of 2^14
        for shapes in [vec![3, 16_381, 16_384, 1, 40_000], vec![5]] {
            for dtype in [DType::F32, DType::F64] {
                let named = shapes.iter().enumerate().map(|(i, n)| (format!("p{i}"), Shape::from(*n)));
                let space = Space { layout: Layout::new(named)?.into(), dtype, device: Device::Cpu };
                let draw = |i| ParamVec::gaussian(&space, 1.0, &Streams::new(5).at(Purpose::Test, i));
                let (x, y) = (draw(0)?, draw(1)?);
                let of = |i: usize| Mixed(1.0 + i as f64);
                for with in [None, Some(0), Some(1)] {
                    let (mut s, mut t) = (draw(2)?, draw(2)?);
                    let before = s.to_f64()?;
                    let (new, product) = ParamVec::recur([&x, &y], [&mut s], of, with, false)?;
                    let mut slow = ParamVec::zeros(&space)?;
                    slow.recur_elsewhere([&x, &y], [&mut t], of)?;
                    let tolerance = if dtype == DType::F32 { 1e-5 } else { 1e-14 };
                    for (fast, slow) in [(&new, &slow), (&s, &t)] {
                        for (a, b) in fast.to_f64()?.into_iter().zip(slow.to_f64()?) {
                            // a few roundings of numbers up to about 30
                            assert!((a - b).abs() < tolerance * (1.0 + a.abs()), "{a} against {b}");
                        }
                    }
                    let other = with.map_or(&new, |k| [&x, &y][k]);
                    assert_eq!(product.host().map(f64::to_bits), Some(new.dot(other)?.to_bits()));
                    assert_ne!(before, s.to_f64()?);
                }
            }
        }
        Ok(())
    }

    /// `w <- c x + w`, and what w was.
    struct Noisy(f64);

    impl Update<1, 1> for Noisy {
        fn update<E: Number>(&self, w: E, [x]: [E; 1], _: [E; 1]) -> (E, [E; 1]) {
            (x * self.0 + w.clone(), [w])
        }
    }

    #[test]
    fn noise_is_that_of_its_stream_in_every_recurrence_and_for_any_number_of_threads() -> Result<()> {
        for dtype in [DType::F32, DType::F64] {
            let named = [3, 16_381, 40_000].iter().enumerate().map(|(i, n)| (format!("p{i}"), Shape::from(*n)));
            let space = Space { layout: Layout::new(named)?.into(), dtype, device: Device::Cpu };
            let streams = Streams::new(5);
            let x = ParamVec::gaussian(&space, 1.0, &streams.at(Purpose::Test, 0))?;
            let run = |threads, index| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                pool.install(|| {
                    let (mut z, stream) = (ParamVec::zeros(&space)?, streams.at(Purpose::Test, index));
                    let sum = ParamVec::recur_noise(&stream, [&x], [&mut z], |i| Noisy(i as f64))?;
                    Ok::<_, crate::Error>((sum.to_f64()?, z.to_f64()?))
                })
            };
            let (sum, z) = run(1, 1)?;
            assert_eq!(run(3, 1)?, (sum.clone(), z.clone()));
            assert_eq!(z, ParamVec::noise(&space, &streams.at(Purpose::Test, 1))?.to_f64()?);
            assert!(z.iter().zip(&run(1, 2)?.1).filter(|(a, b)| a == b).count() < 10, "another stream");
            // the chunks are apart, and five standard errors of 56,384 numbers
            assert_ne!(z[..1000], z[1 << 14..(1 << 14) + 1000]);
            let n = z.len() as f64;
            let (mean, square) = (z.iter().sum::<f64>() / n, z.iter().map(|z| z * z).sum::<f64>() / n);
            assert!(mean.abs() < 5.0 / n.sqrt() && (square - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{mean} {square}");
            for (i, (sum, (z, x))) in sum.iter().zip(z.iter().zip(x.to_f64()?)).enumerate() {
                let c = [0.0, 1.0, 2.0][usize::from(i >= 3) + usize::from(i >= 16_384)];
                assert!((sum - (c * x + z)).abs() < 3e-6, "{i}"); // roundings in f32 of numbers up to about 10
            }
        }
        Ok(())
    }

    #[test]
    fn norms_of_filters_are_those_of_rows_and_of_whole_vectors() -> Result<()> {
        let shapes = [("a", vec![2, 1, 2]), ("b", vec![2]), ("c", vec![])];
        let layout = Layout::new(shapes.map(|(name, dims)| (name.to_string(), Shape::from(dims))))?;
        let space = Space { layout: layout.into(), dtype: DType::F64, device: Device::Cpu };
        let x = ParamVec::from_f64(&space, vec![3.0, 4.0, 0.0, 0.0, 5.0, 12.0, -2.0])?;
        assert_eq!(x.filter_norms()?.to_f64()?, [5.0, 5.0, 0.0, 0.0, 13.0, 13.0, 2.0]);
        Ok(())
    }
}
