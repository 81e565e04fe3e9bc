//! Vectors from given numbers and from random numbers, computed on the host or, to the same bits, on a CUDA device.

use super::ParamVec;
use crate::{Error, Result, Space, Stream, rng};
use candle_core::Device;
use flat_kernels::cpu::vector as kernel;
use flat_kernels::cuda::draw::{self, Law};
use flat_kernels::{Float, dispatch, host};

impl ParamVec {
    /// A vector of the given numbers, rounded to the space's element type.
    ///
    /// # Errors
    /// A wrong number of elements; candle's.
    pub fn from_f64(space: &Space, x: Vec<f64>) -> Result<Self> {
        if x.len() != space.layout.len() {
            return Err(Error::LayoutMismatch(format!("{} elements for d = {}", x.len(), space.layout.len())));
        }
        Self::quotient(space, &x, 1.0)
    }

    /// `x / by`, computed in f64 and then rounded.
    fn quotient(space: &Space, x: &[f64], by: f64) -> Result<Self> {
        dispatch!("a vector", space.dtype, T => Self::filled(space, |begin, out: &mut [T]| {
            for (out, x) in out.iter_mut().zip(&x[begin..]) {
                *out = T::from_f64(*x / by);
            }
        }))
    }

    /// The same numbers as on the host, drawn by a kernel; none where there is no kernel for the device.
    fn drawn_there(space: &Space, law: Law, stream: &Stream) -> Result<Option<Self>> {
        const { assert!(draw::CHUNK == rng::CHUNK) };
        #[cfg(feature = "cuda")]
        if let (true, Some(key)) = (space.device.is_cuda(), stream.key()) {
            let (len, device) = (space.layout.len(), &space.device);
            let flat = dispatch!("a vector", space.dtype, T => flat_kernels::cuda::parameters::drawn::<T>(law, key, len, device))?;
            return Ok(Some(Self::own(space.layout.clone(), flat)));
        }
        let _ = (space, law, stream);
        Ok(None)
    }

    /// Independent numbers, drawn in parallel from the sub-streams of `stream`.
    fn drawn(space: &Space, stream: &Stream, draw: impl Fn(&mut Stream) -> f64 + Sync) -> Result<Self> {
        const { assert!(kernel::CHUNK == rng::CHUNK) };
        dispatch!("a vector", space.dtype, T => Self::filled(space, |begin, out: &mut [T]| {
            let mut part = stream.part(begin / rng::CHUNK);
            out.iter_mut().for_each(|x| *x = T::from_f64(draw(&mut part)));
        }))
    }

    /// A vector whose chunks `f` fills on the host, given the place where the chunk begins.
    pub(super) fn filled<T: Float>(space: &Space, f: impl Fn(usize, &mut [T]) + Sync) -> Result<Self> {
        Ok(Self::filled_and(space, f)?.0)
    }

    /// The same with what `f` returns for each chunk.
    fn filled_and<T: Float, R: Send>(space: &Space, f: impl Fn(usize, &mut [T]) -> R + Sync) -> Result<(Self, Vec<R>)> {
        let host = Space { device: Device::Cpu, ..space.clone() };
        let mut out = Self::scratch(&host)?;
        let found = host::with_slice_mut(&out.flat, |out: &mut [T]| Ok(kernel::fill(out, f)))?;
        if !space.device.is_cpu() {
            out = Self::own(space.layout.clone(), out.flat.to_device(&space.device)?);
        }
        Ok((out, found))
    }

    /// Uniform on the unit sphere of all parameters together: N(0, I_d) divided by its norm.
    ///
    /// # Errors
    /// candle's.
    pub fn sphere(space: &Space, stream: &Stream) -> Result<Self> {
        let x = stream.normals(space.layout.len());
        let norm = kernel::dot(&x, &x).sqrt();
        Self::quotient(space, &x, if norm > 0.0 { norm } else { 1.0 })
    }

    /// N(0, sigma^2 I_d).
    ///
    /// # Errors
    /// candle's.
    pub fn gaussian(space: &Space, sigma: f64, stream: &Stream) -> Result<Self> {
        Self::drawn(space, stream, |part| part.normal() * sigma)
    }

    /// N(0, I_d) by the draws of [`Self::recur_noise`]: many numbers at a time, so other ones than
    /// [`Self::gaussian`]'s, in a third of the time. On the host its norm is found on the way.
    ///
    /// # Errors
    /// candle's.
    pub fn noise(space: &Space, stream: &Stream) -> Result<Self> {
        if let Some(drawn) = Self::drawn_there(space, Law::Normal, stream)? {
            return Ok(drawn);
        }
        dispatch!("a vector", space.dtype, T => {
            let (mut noise, squares) = Self::filled_and(space, |begin, out: &mut [T]| {
                stream.noise(begin / rng::CHUNK, out);
                kernel::dot(out, out)
            })?;
            if space.device.is_cpu() {
                noise.know_square(squares.iter().sum());
            }
            Ok(noise)
        })
    }

    /// Independent entries: 1 with probability `p`, otherwise 0.
    ///
    /// # Errors
    /// candle's.
    pub fn bernoulli(space: &Space, p: f64, stream: &Stream) -> Result<Self> {
        match Self::drawn_there(space, Law::Mask(p), stream)? {
            Some(drawn) => Ok(drawn),
            None => Self::drawn(space, stream, |part| f64::from(u8::from(part.uniform() < p))),
        }
    }

    /// Independent signs, -1 or +1.
    ///
    /// # Errors
    /// candle's.
    pub fn rademacher(space: &Space, stream: &Stream) -> Result<Self> {
        match Self::drawn_there(space, Law::Sign, stream)? {
            Some(drawn) => Ok(drawn),
            None => dispatch!("a vector", space.dtype, T => Self::filled(space, |begin, out: &mut [T]| {
                stream.write_signs(begin / rng::CHUNK, out);
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::space;
    use super::*;
    use crate::{Purpose, Streams, Update};
    use candle_core::DType;

    #[test]
    fn sphere_is_uniform_in_the_mean() -> Result<()> {
        let space = space(20, DType::F64)?;
        let s = Streams::new(4);
        let (n, d) = (2000, 20.0);
        let mut second = vec![0.0; 20];
        for i in 0..n {
            let u = ParamVec::sphere(&space, &s.at(Purpose::Perturb, i))?;
            assert!((u.norm()? - 1.0).abs() < 1e-12);
            for (m, x) in second.iter_mut().zip(u.to_f64()?) {
                *m += x * x / n as f64;
            }
        }
        // E u_i^2 = 1/d with variance below 2/d^2: five standard errors
        for m in second {
            assert!((m - 1.0 / d).abs() < 5.0 * (2.0f64 / n as f64).sqrt() / d, "{m}");
        }
        Ok(())
    }

    /// The noise itself.
    struct Alone;
    impl Update<1, 0> for Alone {
        fn update<E: crate::Number>(&self, z: E, _: [E; 1], _: [E; 0]) -> (E, [E; 0]) {
            (z, [])
        }
    }

    #[test]
    fn draws_are_those_of_the_stream_rounded_once() -> Result<()> {
        let n = 40_001;
        let stream = Streams::new(6).at(Purpose::Test, 0);
        let (normals, signs, uniforms) = (stream.normals(n), stream.signs(n), stream.uniforms(n));
        let norm = kernel::dot(&normals, &normals).sqrt();
        for dtype in [DType::F32, DType::F64] {
            let space = space(n, dtype)?;
            let round = |x: f64| if dtype == DType::F32 { f64::from(x as f32) } else { x };
            let check = |v: ParamVec, expected: &dyn Fn(usize) -> f64| -> Result<()> {
                assert!(v.to_f64()?.into_iter().enumerate().all(|(i, x)| x == round(expected(i))));
                Ok(())
            };
            check(ParamVec::gaussian(&space, 0.3, &stream)?, &|i| normals[i] * 0.3)?;
            let noise = ParamVec::noise(&space, &stream)?;
            assert_eq!(noise.norm()?, noise.duplicate()?.norm()?);
            let numbers = noise.to_f64()?;
            let zeros = ParamVec::zeros(&space)?;
            assert_eq!(ParamVec::recur_noise(&stream, [&zeros], [], |_| Alone)?.to_f64()?, numbers);
            check(ParamVec::sphere(&space, &stream)?, &|i| normals[i] / norm)?;
            check(ParamVec::rademacher(&space, &stream)?, &|i| signs[i])?;
            check(ParamVec::bernoulli(&space, 0.3, &stream)?, &|i| if uniforms[i] < 0.3 { 1.0 } else { 0.0 })?;
        }
        Ok(())
    }
}
