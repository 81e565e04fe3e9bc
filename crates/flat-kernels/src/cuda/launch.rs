//! Sources of kernels and descriptions of launches: plain data, the same on a device and in a test on the host.

use std::borrow::Cow;

/// Threads of every block; `BLOCK` in the sources.
pub const BLOCK: u32 = 256;
/// Elements of a flat vector that a block takes; `CHUNK` in the sources.
pub const CHUNK: usize = 4096;

/// A file of kernels, complete: what they share stands before it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// A name for the compiled module; two sources have two names.
    pub name: Cow<'static, str>,
    /// The text in CUDA C++, without includes.
    pub text: Cow<'static, str>,
}

macro_rules! source {
    ($name:literal, $($file:literal),+) => {
        Source {
            name: Cow::Borrowed($name),
            text: Cow::Borrowed(concat!(include_str!("source/common.cuh"), $(include_str!(concat!("source/", $file))),+)),
        }
    };
}

/// Random draws.
pub const DRAW: Source = source!("flat_draw", "draw.cu");
/// Batches.
pub const GATHER: Source = source!("flat_gather", "gather.cu");
/// Normalisation by channel.
pub const NORM: Source = source!("flat_norm", "channel.cuh", "norm.cu");
/// The tangent of normalisation.
pub const NORM_TANGENT: Source = source!("flat_norm_tangent", "channel.cuh", "norm_tangent.cu");
/// Relu, and shifts and sums by channel.
pub const POINTWISE: Source = source!("flat_pointwise", "pointwise.cu");
/// Max pooling.
pub const POOL: Source = source!("flat_pool", "pool.cu");
/// The numbers of a step.
pub const SCALAR: Source = source!("flat_scalar", "scalar.cu");
/// Softmax and cross entropy.
pub const SOFTMAX: Source = source!("flat_softmax", "softmax.cu");
/// Sums and passes over vectors of parameters.
pub const VECTOR: Source = source!("flat_vector", "table.cuh", "vector.cu");
/// What stands before the generated kernel of a recurrence.
pub const PRELUDE: &str = concat!(include_str!("source/common.cuh"), include_str!("source/table.cuh"));

/// Every source that is known before the program runs.
pub const ALL: [Source; 9] = [DRAW, GATHER, NORM, NORM_TANGENT, POINTWISE, POOL, SCALAR, SOFTMAX, VECTOR];

/// Element type of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Real {
    /// `float`.
    F32,
    /// `double`.
    F64,
}

impl Real {
    /// The end of a kernel's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// The type in CUDA C++.
    pub fn c_name(self) -> &'static str {
        match self {
            Self::F32 => "float",
            Self::F64 => "double",
        }
    }
}

/// One launch: a kernel, the blocks of [`BLOCK`] threads, and arguments of 64 bits each (addresses, counts, bits of a
/// double).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The kernel's name in its source.
    pub kernel: String,
    /// Blocks in both directions; where one is zero there is nothing to do.
    pub grid: [u32; 2],
    /// The arguments, in order.
    pub args: Vec<u64>,
}

impl Launch {
    pub(crate) fn new(kernel: &str, real: Real, grid: [u32; 2], args: &[u64]) -> Self {
        Self { kernel: format!("{kernel}_{}", real.suffix()), grid, args: args.to_vec() }
    }

    /// One thread an element, or several elements a thread where there are very many.
    pub(crate) fn over(kernel: &str, real: Real, elements: usize, args: &[u64]) -> Self {
        Self::new(kernel, real, [elements.div_ceil(BLOCK as usize).min(1 << 20) as u32, 1], args)
    }

    /// A block a chunk of a flat vector.
    pub(crate) fn chunks(kernel: &str, real: Real, elements: usize, args: &[u64]) -> Self {
        Self::new(kernel, real, [chunks(elements) as u32, 1], args)
    }
}

/// Chunks of a flat vector, hence partial sums of it.
pub fn chunks(elements: usize) -> usize {
    elements.div_ceil(CHUNK)
}
