//! The element-wise formulas of vector algebra that `ParamVec` and `Params` run in one pass.

use crate::{Number, Update};

/// `name<inputs>(constants): |w, [inputs]| new w`.
macro_rules! algebra {
    ($($(#[$doc:meta])* $name:ident<$m:literal>($($constant:ident),*): |$w:pat_param, [$($x:ident),*]| $new:expr;)+) => {
        $($(#[$doc])*
        pub(crate) struct $name {
            $(pub $constant: f64),*
        }

        impl Update<$m, 0> for $name {
            #[inline(always)]
            fn update<E: Number>(&self, $w: E, [$($x),*]: [E; $m], _: [E; 0]) -> (E, [E; 0]) {
                let Self { $($constant),* } = *self;
                ($new, [])
            }
        })+
    };
}

algebra! {
    /// `w <- x`.
    Copied<1>(): |_, [x]| x;
    /// `w <- a w`.
    Scale<0>(a): |w, []| w * a;
    /// `w <- a x`.
    Scaled<1>(a): |_, [x]| x * a;
    /// `w <- w + a x`.
    AddScaled<1>(a): |w, [x]| w + x * a;
    /// `w <- x + a y`.
    Sum<2>(a): |_, [x, y]| x + y * a;
    /// `w <- x + a (y z)`.
    SumOfProduct<3>(a): |_, [x, y, z]| x + y * z * a;
    /// `w <- x y`.
    Product<2>(): |_, [x, y]| x * y;
}

/// `kept <- w; w <- w + a x`, or `w + a (x mask)`: moves a point and remembers it.
pub(crate) struct Displace {
    pub a: f64,
}

impl Update<1, 1> for Displace {
    #[inline(always)]
    fn update<E: Number>(&self, w: E, [x]: [E; 1], _: [E; 1]) -> (E, [E; 1]) {
        (w.clone() + x * self.a, [w])
    }
}

impl Update<2, 1> for Displace {
    #[inline(always)]
    fn update<E: Number>(&self, w: E, [x, mask]: [E; 2], _: [E; 1]) -> (E, [E; 1]) {
        (w.clone() + x * mask * self.a, [w])
    }
}
