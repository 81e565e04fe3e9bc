//! An objective made of closures, for any candle model.

use super::loss::Objective;
use super::outputs::Outputs;
use crate::{Error, Result};
use candle_core::Tensor;
use flat_core::{ParamVec, Params};

type LossFn<'a> = Box<dyn Fn(usize) -> candle_core::Result<Tensor> + Send + Sync + 'a>;
type TangentFn<'a> = Box<dyn Fn(usize, &ParamVec) -> candle_core::Result<Tensor> + Send + Sync + 'a>;

type OutputsFn<'a> = Box<dyn Fn(usize, &ParamVec) -> candle_core::Result<Outputs> + Send + Sync + 'a>;

/// An [`Objective`] whose batch losses come from a closure over candle tensors.
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use flat_core::Params;
/// use flat_metrics::{ClosureObjective, DifferenceHessian, LinearOperator};
///
/// # fn main() -> flat_metrics::Result<()> {
/// // L(x) = mean of x^4 over two elements; the Hessian is diag(6 x^2)
/// let x = Var::from_tensor(&Tensor::new(&[1.0f64, 2.0], &Device::Cpu)?)?;
/// let params = Params::new([("x".to_string(), x.clone())])?;
/// let objective = ClosureObjective::new(params, vec![2], move |_| x.powf(4.0)?.mean_all())?;
/// let mut hessian = DifferenceHessian::new(&objective)?;
/// let v = flat_core::ParamVec::from_f64(hessian.space(), vec![1.0, 1.0])?;
/// let hv = hessian.apply(&v)?.to_f64()?;
/// assert!((hv[0] - 6.0).abs() < 1e-7 && (hv[1] - 24.0).abs() < 1e-7);
/// # Ok(())
/// # }
/// ```
pub struct ClosureObjective<'a> {
    params: Params,
    sizes: Vec<usize>,
    examples: usize,
    loss: LossFn<'a>,
    tangent: Option<TangentFn<'a>>,
    outputs: Option<OutputsFn<'a>>,
    buffers: Vec<(String, Tensor)>,
    bn_mode: Option<&'static str>,
}

impl<'a> ClosureObjective<'a> {
    /// An objective of `sizes.len()` batches; `loss(i)` is the mean loss of the `sizes[i]` examples of batch `i`.
    ///
    /// # Errors
    /// No batch, or a batch without examples.
    pub fn new(
        params: Params,
        sizes: Vec<usize>,
        loss: impl Fn(usize) -> candle_core::Result<Tensor> + Send + Sync + 'a,
    ) -> Result<Self> {
        let examples = count(&sizes)?;
        Ok(Self {
            params,
            sizes,
            examples,
            loss: Box::new(loss),
            tangent: None,
            outputs: None,
            buffers: Vec::new(),
            bn_mode: None,
        })
    }

    /// Adds the directional derivative of each batch, which [`crate::TangentHessian`] needs.
    pub fn with_tangent(
        mut self,
        tangent: impl Fn(usize, &ParamVec) -> candle_core::Result<Tensor> + Send + Sync + 'a,
    ) -> Self {
        self.tangent = Some(Box::new(tangent));
        self
    }

    /// Adds each batch's logits and their derivative along a direction, which the operators of the Gauss-Newton family
    /// need. The mean of `loss` over its rows must be what the loss closure gives.
    pub fn with_outputs(
        mut self,
        outputs: impl Fn(usize, &ParamVec) -> candle_core::Result<Outputs> + Send + Sync + 'a,
    ) -> Self {
        self.outputs = Some(Box::new(outputs));
        self
    }

    /// Names state that evaluating the loss must leave alone, see [`Objective::buffers`].
    pub fn with_buffers(mut self, buffers: Vec<(String, Tensor)>) -> Self {
        self.buffers = buffers;
        self
    }

    /// Notes how BatchNorm is evaluated, for the report.
    pub fn with_bn_mode(mut self, bn_mode: &'static str) -> Self {
        self.bn_mode = Some(bn_mode);
        self
    }
}

/// Total of the batch sizes, none of which may be zero.
pub(crate) fn count(sizes: &[usize]) -> Result<usize> {
    if sizes.is_empty() {
        return Err(Error::BadObjective("there is no batch".into()));
    }
    match sizes.iter().position(|&n| n == 0) {
        Some(i) => Err(Error::BadObjective(format!("batch {i} has no example"))),
        None => Ok(sizes.iter().sum()),
    }
}

impl std::fmt::Debug for ClosureObjective<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClosureObjective")
            .field("sizes", &self.sizes)
            .field("tangent", &self.tangent.is_some())
            .finish_non_exhaustive()
    }
}

impl Objective for ClosureObjective<'_> {
    fn params(&self) -> &Params {
        &self.params
    }
    fn batches(&self) -> usize {
        self.sizes.len()
    }
    fn weight(&self, i: usize) -> f64 {
        self.sizes[i] as f64 / self.examples as f64
    }
    fn examples(&self) -> usize {
        self.examples
    }
    fn loss(&self, i: usize) -> Result<Tensor> {
        Ok((self.loss)(i)?)
    }
    fn loss_tangent(&self, i: usize, v: &ParamVec) -> Result<Tensor> {
        match &self.tangent {
            Some(tangent) => Ok(tangent(i, v)?),
            None => Err(Error::Unsupported {
                what: "the directional derivative of this closure",
                remedy: "give one by `with_tangent`, or use DoubleBackwardHessian or DifferenceHessian",
            }),
        }
    }
    fn outputs(&self, i: usize, directions: &[&ParamVec]) -> Result<Vec<Outputs>> {
        match &self.outputs {
            Some(outputs) => directions.iter().map(|v| Ok(outputs(i, v)?)).collect(),
            None => Err(Error::Unsupported {
                what: "the derivative of this closure's logits",
                remedy: "give them by `with_outputs`, or use an operator of the Hessian, which needs the loss alone",
            }),
        }
    }
    fn buffers(&self) -> Vec<(String, Tensor)> {
        self.buffers.clone()
    }
    fn bn_mode(&self) -> Option<&'static str> {
        self.bn_mode
    }
}
