//! The element types of the kernels, and their slices of candle's storage.

use crate::Precision;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Device, Layout, Result, Shape, Storage, Tensor, bail};
use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::{Add, AddAssign, Mul, Sub};

/// f32 or f64.
pub(crate) trait Float:
    Copy
    + Default
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + AddAssign
    + 'static
{
    const ONE: Self;
    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
    /// The nearest number that bf16 can hold, ties to even; f64 as it is.
    fn to_bf16(self) -> Self;
    fn slice(storage: &CpuStorage) -> Option<&[Self]>;
    fn storage(data: Vec<Self>) -> CpuStorage;
    /// A tensor on CPU that no gradient goes through.
    fn tensor(data: Vec<Self>, shape: &Shape) -> Result<Tensor>;
    /// Runs `f` on a buffer of `len` numbers that this thread keeps for the next call; its contents are arbitrary.
    fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [Self]) -> R) -> R;
}

macro_rules! float {
    ($t:ty, $variant:ident, $to_bf16:expr) => {
        impl Float for $t {
            const ONE: Self = 1.0;
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn to_bf16(self) -> Self {
                $to_bf16(self)
            }
            fn slice(storage: &CpuStorage) -> Option<&[Self]> {
                match storage {
                    CpuStorage::$variant(data) => Some(data),
                    _ => None,
                }
            }
            fn storage(data: Vec<Self>) -> CpuStorage {
                CpuStorage::$variant(data)
            }
            fn tensor(data: Vec<Self>, shape: &Shape) -> Result<Tensor> {
                Tensor::from_vec(data, shape.clone(), &Device::Cpu)
            }
            fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [Self]) -> R) -> R {
                thread_local! {
                    static SCRATCH: RefCell<Vec<$t>> = const { RefCell::new(Vec::new()) };
                }
                // taken out while in use, so that a nested call gets a buffer of its own
                let mut buffer = SCRATCH.with(RefCell::take);
                if buffer.len() < len {
                    buffer.resize(len, 0.0);
                }
                let result = f(&mut buffer[..len]);
                SCRATCH.with(|s| s.replace(buffer));
                result
            }
        }
    };
}
float!(f32, F32, nearest_bf16);
float!(f64, F64, |x| x);

fn nearest_bf16(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let bits = x.to_bits();
    // half of the last place kept, less one where that place is even; a carry moves the exponent, up to infinity
    f32::from_bits(bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000)
}

/// The contiguous elements of an operand.
pub(crate) fn contiguous<'a, T: Float>(op: &str, storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let Some(data) = T::slice(storage) else { bail!("{op}: the operands must have one element type") };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => bail!("{op}: the operands must be contiguous"),
    }
}

/// The contiguous elements of an operand of a product, rounded where [`Precision`] asks for it.
pub(crate) fn operand<'a, T: Float>(op: &str, storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [T]>> {
    let x = contiguous(op, storage, layout)?;
    Ok(match Precision::rounds(storage.dtype()) {
        true => Cow::Owned(x.iter().map(|x: &T| x.to_bf16()).collect()),
        false => Cow::Borrowed(x),
    })
}

/// The result of a product, rounded where [`Precision`] asks for it.
pub(crate) fn result<T: Float>(mut x: Vec<T>) -> Vec<T> {
    if Precision::current() == Precision::Bf16 {
        x.iter_mut().for_each(|x| *x = x.to_bf16());
    }
    x
}

/// The contiguous elements of a tensor on CPU whose storage and layout were borrowed.
pub(crate) fn elements<'a, T: Float>(op: &str, storage: &'a Storage, layout: &Layout) -> Result<&'a [T]> {
    match storage {
        Storage::Cpu(storage) => contiguous(op, storage, layout),
        _ => bail!("{op}: the operands must be on one device"),
    }
}

/// Calls a generic kernel with the element type of a storage.
macro_rules! dispatch {
    ($op:expr, $storage:expr, $T:ident => $body:expr) => {
        match $storage {
            candle_core::CpuStorage::F32(_) => {
                type $T = f32;
                $body
            }
            candle_core::CpuStorage::F64(_) => {
                type $T = f64;
                $body
            }
            _ => candle_core::bail!("{}: f32 or f64", $op),
        }
    };
}
pub(crate) use dispatch;
