//! Second derivatives along lines: a value and its first two Taylor coefficients along each, carried through a model together.
//!
//! Where the parameters move to `theta + t v`, every value is `x_0 + x_1 t + x_2 t^2 + ...`. A bilinear layer needs five
//! products for three coefficients of its result. Twice the last coefficient of a loss is `<v, H v>`: the quadratic form of its
//! Hessian, without a backward pass and what it keeps.

mod layers;

use candle_core::Tensor;

/// A value that moves along curves: itself and its Taylor coefficients along each, without graphs.
#[derive(Debug, Clone)]
pub(crate) struct Jet {
    /// The value.
    pub value: Tensor,
    /// What it does along each curve.
    pub along: Vec<Line>,
}

/// Taylor coefficients of a value along a curve, of the value's shape.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The first coefficient: the derivative.
    pub first: Tensor,
    /// The second coefficient: half of the second derivative. `None` for zero, as of parameters.
    pub second: Option<Tensor>,
}

impl Line {
    /// A straight line.
    pub(crate) fn straight(first: Tensor) -> Self {
        Self { first, second: None }
    }
}

impl Jet {
    /// Whether it moves along straight lines, as parameters do.
    pub(crate) fn is_straight(&self) -> bool {
        self.along.iter().all(|line| line.second.is_none())
    }
}
