//! Fully connected layers: the three products that are each other's derivatives.
//!
//! With `NT(a, b) = a b^T`, `NN(a, b) = a b` and `TN(a, b) = a^T b`, the derivatives of each are given by the two
//! others, so any order of derivative is exact.

use super::backward_graph::released;
use super::channel::{channel_shift, channel_sum};
use crate::precision::{Precision, in_precision};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use flat_kernels::cpu::matrix::{View, multiply, rows, transposed};
use flat_kernels::host::contiguous;
use flat_kernels::{Float, dispatch};

/// Which operand is transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `a (n, k)`, `b (m, k)` -> `a b^T (n, m)`.
    NT,
    /// `a (n, k)`, `b (k, m)` -> `a b (n, m)`.
    NN,
    /// `a (k, n)`, `b (k, m)` -> `a^T b (n, m)`.
    TN,
}

struct Product(Kind);

/// Sizes `(n, m, k)` and operands of `(n, k)` times `(k, m)`.
type Operands<'a, T> = ((usize, usize, usize), View<&'a [T]>, View<&'a [T]>);

fn operands<'a, T: Float>(
    kind: Kind,
    (s1, l1): (&'a CpuStorage, &Layout),
    (s2, l2): (&'a CpuStorage, &Layout),
) -> Result<Operands<'a, T>> {
    let (a, b) = (contiguous::<T>("linear", s1, l1)?, contiguous::<T>("linear", s2, l2)?);
    let ((a0, a1), (b0, b1)) = (l1.shape().dims2()?, l2.shape().dims2()?);
    let (n, m, k, other, a, b) = match kind {
        Kind::NT => (a0, b0, a1, b1, rows(a, a1), transposed(b, b1)),
        Kind::NN => (a0, b1, a1, b0, rows(a, a1), rows(b, b1)),
        Kind::TN => (a1, b1, a0, b0, transposed(a, a1), rows(b, b1)),
    };
    if k != other {
        bail!("linear: shapes {:?} and {:?} do not fit", l1.shape(), l2.shape());
    }
    Ok(((n, m, k), a, b))
}

fn run<T: Float>(
    kind: Kind,
    (s1, l1): (&CpuStorage, &Layout),
    (s2, l2): (&CpuStorage, &Layout),
    bias: Option<(&CpuStorage, &Layout)>,
) -> Result<(CpuStorage, Shape)> {
    let ((n, m, k), a, b) = operands::<T>(kind, (s1, l1), (s2, l2))?;
    let bias = match bias {
        Some((s, l)) => Some(contiguous::<T>("linear", s, l)?),
        None => None,
    };
    if bias.is_some_and(|b| b.len() != m) {
        bail!("linear: the bias must have {m} elements");
    }
    Ok((T::storage(multiply((n, m, k), a, b, bias)), Shape::from((n, m))))
}

fn apply(kind: Kind, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.device().is_cpu() {
        return a.contiguous()?.apply_op2(&b.contiguous()?, Product(kind));
    }
    in_precision(a, b, |a, b| match kind {
        Kind::NT => a.matmul(&b.t()?),
        Kind::NN => a.matmul(b),
        Kind::TN => a.t()?.matmul(b),
    })
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "linear"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        if let Some(by) = Precision::rounds_by(s1.dtype()) {
            let ((n, m, k), a, b) = operands::<f32>(self.0, (s1, l1), (s2, l2))?;
            return Ok((CpuStorage::F32(by.multiply((n, m, k), a, b)), Shape::from((n, m))));
        }
        dispatch!("linear", s1.dtype(), T => run::<T>(self.0, (s1, l1), (s2, l2), None))
    }
    fn bwd(&self, a: &Tensor, b: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (da, db) = match self.0 {
            Kind::NT => ((Kind::NN, g, b), (Kind::TN, g, a)),
            Kind::NN => ((Kind::NT, g, b), (Kind::TN, a, g)),
            Kind::TN => ((Kind::NT, b, g), (Kind::NN, a, g)),
        };
        let grad = |wanted: &Tensor, (kind, x, y)| wanted.track_op().then(|| released(apply(kind, x, y)?)).transpose();
        Ok((grad(a, da)?, grad(b, db)?))
    }
}

/// `x w^T + bias` in one pass.
struct Biased;

impl CustomOp3 for Biased {
    fn name(&self) -> &'static str {
        "linear-bias"
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        dispatch!("linear", s1.dtype(), T => run::<T>(Kind::NT, (s1, l1), (s2, l2), Some((s3, l3))))
    }
    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        bias: &Tensor,
        res: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = Product(Kind::NT).bwd(x, w, res, g)?;
        let db = bias.track_op().then(|| channel_sum(g)).transpose()?;
        Ok((dx, dw, db))
    }
}

/// `y = x w^T + bias` for `x (n, in)`, `w (out, in)`, `bias (out)`.
///
/// No gradient is computed for an operand that depends on no variable.
///
/// # Errors
/// Shapes that do not fit.
pub fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    match bias {
        None => apply(Kind::NT, x, w),
        // the bias is no part of a rounded product
        Some(bias) if x.device().is_cpu() && !Precision::rounds(x.dtype()) => {
            x.contiguous()?.apply_op3(&w.contiguous()?, &bias.contiguous()?, Biased)
        }
        Some(bias) => channel_shift(&apply(Kind::NT, x, w)?, bias),
    }
}

/// The gradient for `x` of `<g, x w^T>`.
pub(crate) fn linear_grad_input(w: &Tensor, g: &Tensor) -> Result<Tensor> {
    apply(Kind::NN, g, w)
}

/// The gradient for `w` of `<g, x w^T>`.
pub(crate) fn linear_grad_weight(x: &Tensor, g: &Tensor) -> Result<Tensor> {
    apply(Kind::TN, g, x)
}
