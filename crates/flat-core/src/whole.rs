//! A tensor as a [`Number`]: how a recurrence runs on a device whose memory the host does not see.

use candle_core::{Error, Result, Tensor};
use flat_kernels::Number;
use std::ops::{Add, Div, Mul, Sub};
use std::sync::Arc;

/// A tensor, or the first error on the way to it.
#[derive(Clone)]
pub(crate) struct Whole(std::result::Result<Tensor, Arc<Error>>);

impl Whole {
    pub(crate) fn new(x: Result<Tensor>) -> Self {
        Self(x.map_err(Arc::new))
    }

    pub(crate) fn tensor(self) -> Result<Tensor> {
        self.0.map_err(|e| Arc::try_unwrap(e).unwrap_or_else(|e| Error::Msg(e.to_string())))
    }

    fn map(self, f: impl FnOnce(Tensor) -> Result<Tensor>) -> Self {
        Self(self.0.and_then(|x| f(x).map_err(Arc::new)))
    }
}

macro_rules! whole {
    ($($trait:ident $name:ident),+) => {
        $(impl $trait for Whole {
            type Output = Self;
            fn $name(self, other: Self) -> Self {
                self.map(|x| x.$name(&other.tensor()?))
            }
        })+
    };
}
whole!(Add add, Sub sub, Mul mul, Div div);

impl Add<f64> for Whole {
    type Output = Self;
    fn add(self, a: f64) -> Self {
        self.map(|x| x.affine(1.0, a))
    }
}

impl Mul<f64> for Whole {
    type Output = Self;
    fn mul(self, a: f64) -> Self {
        self.map(|x| x.affine(a, 0.0))
    }
}

impl Div<f64> for Whole {
    type Output = Self;
    fn div(self, a: f64) -> Self {
        self.map(|x| x.affine(1.0 / a, 0.0))
    }
}

impl Number for Whole {
    fn sqrt(self) -> Self {
        self.map(|x| x.sqrt())
    }
    fn abs(self) -> Self {
        self.map(|x| x.abs())
    }
}
