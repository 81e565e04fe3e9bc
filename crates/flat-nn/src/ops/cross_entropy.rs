//! Softmax cross entropy, a loss a row.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor, bail};
use flat_kernels::cpu::softmax as kernel;
use flat_kernels::host::contiguous;
use flat_kernels::{Float, dispatch, has_kernels};

/// `(n, k)` logits -> probabilities.
struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, k) = l.shape().dims2()?;
        dispatch!("softmax", s.dtype(), T => {
            let z = contiguous::<T>("softmax", s, l)?;
            Ok((T::storage(kernel::softmax(z, k)), l.shape().clone()))
        })
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s: &CudaStorage, l: &Layout) -> Result<(CudaStorage, Shape)> {
        flat_kernels::cuda::losses::softmax((s, l))
    }
    fn bwd(&self, _: &Tensor, p: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some((p * g.broadcast_sub(&(g * p)?.sum_keepdim(D::Minus1)?)?)?))
    }
}

/// Probabilities of logits `(n, k)`, row by row; exact derivatives of any order.
///
/// # Errors
/// Anything but two dimensions.
pub fn softmax(z: &Tensor) -> Result<Tensor> {
    if has_kernels(z.device()) {
        return z.contiguous()?.apply_op1(Softmax);
    }
    let e = z.broadcast_sub(&z.max_keepdim(D::Minus1)?.detach())?.exp()?;
    e.broadcast_div(&e.sum_keepdim(D::Minus1)?)
}

/// `(n, k)` logits, `(n, k)` constant targets that sum to one in a row -> `(n)`.
struct CrossEntropy;

impl CustomOp2 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, k) = l1.shape().dims2()?;
        if l1.shape() != l2.shape() {
            bail!("cross-entropy: logits {:?} for targets {:?}", l1.shape(), l2.shape());
        }
        dispatch!("cross-entropy", s1.dtype(), T => {
            let (z, t) = (contiguous::<T>("cross-entropy", s1, l1)?, contiguous::<T>("cross-entropy", s2, l2)?);
            Ok((T::storage(kernel::cross_entropy(z, t, k)), Shape::from(n)))
        })
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        flat_kernels::cuda::losses::cross_entropy((s1, l1), (s2, l2))
    }
    fn bwd(&self, z: &Tensor, t: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        if t.track_op() {
            bail!("cross-entropy: the targets must be constants");
        }
        #[cfg(feature = "cuda")]
        if z.device().is_cuda() && !super::backward_graph::keeps_graph()? {
            return Ok((Some(flat_kernels::cuda::losses::cross_entropy_gradient(z, t, g)?), None));
        }
        Ok((Some((softmax(z)? - t)?.broadcast_mul(&g.unsqueeze(1)?)?), None))
    }
}

/// `-sum_j t_ij log softmax(z)_ij` for logits `z (n, k)` and constant targets `t (n, k)`, rows summing to one.
///
/// # Errors
/// Different shapes.
pub(crate) fn cross_entropy(z: &Tensor, t: &Tensor) -> Result<Tensor> {
    if has_kernels(z.device()) {
        return z.contiguous()?.apply_op2(&t.contiguous()?, CrossEntropy);
    }
    let z = z.broadcast_sub(&z.max_keepdim(D::Minus1)?.detach())?;
    z.exp()?.sum(D::Minus1)?.log()? - (z * t)?.sum(D::Minus1)?
}
