//! The number type of an element-wise recurrence: one element of a host buffer, or a whole tensor on another device.

use std::ops::{Add, Div, Mul, Sub};

/// A number in an [`Update`]: an f32 or f64 of the host, or a tensor of another device. On the host the update is
/// compiled into one loop over all elements; elsewhere every operation is one of the device's.
///
/// Numbers combine with each other and with f64 constants, which are rounded to the element type first.
pub trait Number:
    Clone
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Add<f64, Output = Self>
    + Mul<f64, Output = Self>
    + Div<f64, Output = Self>
{
    /// Square root.
    fn sqrt(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
}

/// An element-wise recurrence over parameters `w`, `M` inputs and `N` vectors of state: the new `w` and the new state.
///
/// ```
/// use flat_kernels::{Number, Update};
///
/// /// `m <- mu m + g; w <- w - lr m`
/// struct Momentum {
///     lr: f64,
///     mu: f64,
/// }
///
/// impl Update<1, 1> for Momentum {
///     fn update<E: Number>(&self, w: E, [g]: [E; 1], [m]: [E; 1]) -> (E, [E; 1]) {
///         let m = m * self.mu + g;
///         (w - m.clone() * self.lr, [m])
///     }
/// }
/// ```
pub trait Update<const M: usize, const N: usize>: Sync {
    /// The new `w` and state of one element.
    fn update<E: Number>(&self, w: E, inputs: [E; M], state: [E; N]) -> (E, [E; N]);
}

impl<const M: usize, const N: usize, U: Update<M, N>> Update<M, N> for &U {
    #[inline(always)]
    fn update<E: Number>(&self, w: E, inputs: [E; M], state: [E; N]) -> (E, [E; N]) {
        (**self).update(w, inputs, state)
    }
}

/// One element of a host buffer.
#[derive(Clone, Copy)]
pub struct Element<T>(pub(crate) T);

macro_rules! element {
    ($t:ty) => {
        element!($t, Add add +, Sub sub -, Mul mul *, Div div /);
        impl Add<f64> for Element<$t> {
            type Output = Self;
            #[inline(always)]
            fn add(self, a: f64) -> Self {
                Self(self.0 + a as $t)
            }
        }
        impl Mul<f64> for Element<$t> {
            type Output = Self;
            #[inline(always)]
            fn mul(self, a: f64) -> Self {
                Self(self.0 * a as $t)
            }
        }
        impl Div<f64> for Element<$t> {
            type Output = Self;
            #[inline(always)]
            fn div(self, a: f64) -> Self {
                Self(self.0 / a as $t)
            }
        }
        impl Number for Element<$t> {
            #[inline(always)]
            fn sqrt(self) -> Self {
                Self(self.0.sqrt())
            }
            #[inline(always)]
            fn abs(self) -> Self {
                Self(self.0.abs())
            }
        }
    };
    ($t:ty, $($trait:ident $name:ident $op:tt),+) => {
        $(impl $trait for Element<$t> {
            type Output = Self;
            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                Self(self.0 $op other.0)
            }
        })+
    };
}
element!(f32);
element!(f64);
