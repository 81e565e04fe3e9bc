//! One-pass arithmetic on flat CPU buffers, in parallel over chunks of a fixed size.
//!
//! Sums are accumulated in f64 a chunk at a time and combined in order: the result does not depend on the number of
//! threads.

use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, InplaceOp3, Layout, Result, bail};
use rayon::prelude::*;

const CHUNK: usize = 1 << 14;
const LANES: usize = 8;

/// f32 or f64, seen as f64.
pub(crate) trait Real: Copy + Send + Sync + 'static {
    fn to_f64(self) -> f64;
    fn from_f64(x: f64) -> Self;
    fn axpby(a: Self, x: Self, b: Self, y: Self) -> Self;
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            fn axpby(a: Self, x: Self, b: Self, y: Self) -> Self {
                a * x + b * y
            }
        }
    };
}
real!(f32);
real!(f64);

/// `<x, y>`, accumulated in f64.
pub(crate) fn dot<T: Real>(x: &[T], y: &[T]) -> f64 {
    let partial: Vec<f64> = x
        .par_chunks(CHUNK)
        .zip(y.par_chunks(CHUNK))
        .map(|(x, y)| {
            let mut lanes = [0.0f64; LANES];
            let (xc, yc) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
            let tail: f64 = xc.remainder().iter().zip(yc.remainder()).map(|(a, b)| a.to_f64() * b.to_f64()).sum();
            for (x, y) in xc.zip(yc) {
                for i in 0..LANES {
                    lanes[i] += x[i].to_f64() * y[i].to_f64();
                }
            }
            lanes.iter().sum::<f64>() + tail
        })
        .collect();
    partial.iter().sum()
}

fn zip_mut<T: Real>(x: &mut [T], y: &[T], f: impl Fn(T, T) -> T + Sync) {
    x.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK)).for_each(|(x, y)| {
        for (x, y) in x.iter_mut().zip(y) {
            *x = f(*x, *y);
        }
    });
}

/// `x <- a x + b y`, or `x <- a x + b y^2`.
pub(crate) struct Axpby {
    pub a: f64,
    pub b: f64,
    pub squared: bool,
}

impl Axpby {
    fn run<T: Real + std::ops::Mul<Output = T>>(&self, x: &mut [T], y: &[T]) {
        let (a, b) = (T::from_f64(self.a), T::from_f64(self.b));
        if self.squared {
            zip_mut(x, y, |x, y| T::axpby(a, x, b, y * y));
        } else {
            zip_mut(x, y, |x, y| T::axpby(a, x, b, y));
        }
    }
}

fn whole(layout: &Layout) -> Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!("flat vectors are contiguous"),
    }
}

impl InplaceOp2 for Axpby {
    fn name(&self) -> &'static str {
        "axpby"
    }
    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        let (r1, r2) = (whole(l1)?, whole(l2)?);
        match (s1, s2) {
            (CpuStorage::F32(x), CpuStorage::F32(y)) => self.run(&mut x[r1], &y[r2]),
            (CpuStorage::F64(x), CpuStorage::F64(y)) => self.run(&mut x[r1], &y[r2]),
            _ => bail!("axpby: f32 or f64, both alike"),
        }
        Ok(())
    }
}

/// `x <- a x`.
pub(crate) struct Scale(pub f64);

impl InplaceOp1 for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }
    fn cpu_fwd(&self, s: &mut CpuStorage, l: &Layout) -> Result<()> {
        fn run<T: Real + std::ops::Mul<Output = T>>(x: &mut [T], a: f64) {
            let a = T::from_f64(a);
            x.par_chunks_mut(CHUNK).for_each(|x| x.iter_mut().for_each(|x| *x = *x * a));
        }
        let r = whole(l)?;
        match s {
            CpuStorage::F32(x) => run(&mut x[r], self.0),
            CpuStorage::F64(x) => run(&mut x[r], self.0),
            _ => bail!("scale: f32 or f64"),
        }
        Ok(())
    }
}

fn zip3_mut<T: Real>(x: &mut [T], y: &[T], z: &[T], f: impl Fn(T, T, T) -> T + Sync) {
    x.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK).zip(z.par_chunks(CHUNK))).for_each(|(x, (y, z))| {
        for (x, (y, z)) in x.iter_mut().zip(y.iter().zip(z)) {
            *x = f(*x, *y, *z);
        }
    });
}

/// `x <- x + alpha y z`, or `x <- x + alpha y / (sqrt(z) / root + eps)`, element by element.
pub(crate) enum Combine3 {
    Product { alpha: f64 },
    Ratio { alpha: f64, root: f64, eps: f64 },
}

macro_rules! combine3 {
    ($op:expr, $t:ty, $x:expr, $y:expr, $z:expr) => {
        match *$op {
            Combine3::Product { alpha } => {
                let alpha = alpha as $t;
                zip3_mut($x, $y, $z, |x, y, z| x + alpha * (y * z));
            }
            Combine3::Ratio { alpha, root, eps } => {
                let (alpha, root, eps) = (alpha as $t, root as $t, eps as $t);
                zip3_mut($x, $y, $z, |x, y, z| x + alpha * (y / (z.sqrt() / root + eps)));
            }
        }
    };
}

impl InplaceOp3 for Combine3 {
    fn name(&self) -> &'static str {
        "combine3"
    }
    fn cpu_fwd(
        &self,
        s1: &mut CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<()> {
        let (r1, r2, r3) = (whole(l1)?, whole(l2)?, whole(l3)?);
        match (s1, s2, s3) {
            (CpuStorage::F32(x), CpuStorage::F32(y), CpuStorage::F32(z)) => {
                combine3!(self, f32, &mut x[r1], &y[r2], &z[r3])
            }
            (CpuStorage::F64(x), CpuStorage::F64(y), CpuStorage::F64(z)) => {
                combine3!(self, f64, &mut x[r1], &y[r2], &z[r3])
            }
            _ => bail!("combine3: f32 or f64, all alike"),
        }
        Ok(())
    }
}
