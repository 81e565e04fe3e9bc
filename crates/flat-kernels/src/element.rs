//! f32 and f64: the element types of all kernels.

use crate::cuda::launch::Real;
use crate::number::{Element, Number};
use candle_core::{CpuStorage, Device, Result, Shape, Tensor};
use std::cell::RefCell;
use std::ops::{Add, AddAssign, Mul, Sub};

/// What a device asks of its elements: nothing without the feature `cuda`.
#[cfg(not(feature = "cuda"))]
pub trait OnDevice {}
/// What a device asks of its elements.
#[cfg(feature = "cuda")]
pub trait OnDevice: candle_core::cuda::CudaDType + candle_core::cuda::cudarc::driver::DeviceRepr {}
impl OnDevice for f32 {}
impl OnDevice for f64 {}

/// f32 or f64.
pub trait Float:
    OnDevice
    + Copy
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
    /// This type as a [`Number`].
    type Number: Number;
    /// 1.
    const ONE: Self;
    /// Which of the two.
    const REAL: Real;
    /// The nearest number of this type.
    fn from_f64(x: f64) -> Self;
    /// Exact.
    fn to_f64(self) -> f64;
    /// The nearest number that bf16 can hold, ties to even; f64 as it is.
    fn to_bf16(self) -> Self;
    /// As a [`Number`].
    fn number(self) -> Self::Number;
    /// From a [`Number`].
    fn value(x: Self::Number) -> Self;
    /// The elements of a storage of this type.
    fn slice(storage: &CpuStorage) -> Option<&[Self]>;
    /// The same, to be written.
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
    /// Elements as candle holds them.
    fn storage(data: Vec<Self>) -> CpuStorage;
    /// A tensor on CPU that no gradient goes through.
    ///
    /// # Errors
    /// A wrong number of elements.
    fn tensor(data: Vec<Self>, shape: &Shape) -> Result<Tensor>;
    /// Runs `f` on a buffer of `len` numbers that this thread keeps for the next call; its contents are arbitrary.
    fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [Self]) -> R) -> R;
}

macro_rules! float {
    ($t:ty, $variant:ident, $to_bf16:expr) => {
        impl Float for $t {
            type Number = Element<$t>;
            const ONE: Self = 1.0;
            const REAL: Real = Real::$variant;
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
            #[inline(always)]
            fn number(self) -> Element<$t> {
                Element(self)
            }
            #[inline(always)]
            fn value(x: Element<$t>) -> Self {
                x.0
            }
            fn slice(storage: &CpuStorage) -> Option<&[Self]> {
                if let CpuStorage::$variant(data) = storage { Some(data) } else { None }
            }
            fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
                if let CpuStorage::$variant(data) = storage { Some(data) } else { None }
            }
            fn storage(data: Vec<Self>) -> CpuStorage {
                CpuStorage::$variant(data)
            }
            fn tensor(data: Vec<Self>, shape: &Shape) -> Result<Tensor> {
                Tensor::from_vec(data, shape.clone(), &Device::Cpu)
            }
            fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [Self]) -> R) -> R {
                thread_local! {
                    static SCRATCH: RefCell<Vec<Vec<$t>>> = const { RefCell::new(Vec::new()) };
                }
                // taken out while in use, so that a nested call gets a buffer of its own, the same every time
                let mut buffer = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
                if buffer.len() < len {
                    buffer.resize(len, 0.0);
                }
                let result = f(&mut buffer[..len]);
                SCRATCH.with_borrow_mut(|s| s.push(buffer));
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

/// Evaluates an expression with `$T` as the element type that a `DType` names; returns an error from the function
/// around it for another type than f32 and f64.
#[macro_export]
macro_rules! dispatch {
    ($op:expr, $dtype:expr, $T:ident => $body:expr) => {{
        #[allow(unused_imports)] // the `dtype` of a storage is this trait's
        use candle_core::backend::BackendStorage as _;
        match $dtype {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => {
                return Err(candle_core::Error::Msg(format!("{}: f32 or f64, not {other:?}", $op)).into());
            }
        }
    }};
}
