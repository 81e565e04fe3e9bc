//! The objective of a `flat-nn` model.

use super::closure::count;
use super::loss::Objective;
use super::outputs::{Outputs, WayBack};
use crate::{Error, Result};
use candle_core::Tensor;
use flat_core::{ParamVec, Params};
use flat_nn::{Dual, Loss, Mode, Model};

type Load<'a> = Box<dyn Fn(usize) -> Result<(Tensor, Tensor)> + Send + Sync + 'a>;

/// The mean loss of a [`Model`] over batches of images and labels.
///
/// With BatchNorm the mode is part of the question: in [`Mode::Eval`] the running statistics are constants; in
/// [`Mode::BatchStats`] the statistics depend on the parameters, and the loss on how the examples fall into batches, so
/// measure with the batch size of training.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use flat_core::Streams;
/// use flat_metrics::{Hutchinson, ModelObjective, Silent, TangentHessian, TraceConfig};
/// use flat_nn::{Activation, Loss, Mode, Model, ModelConfig, networks};
///
/// # fn main() -> flat_metrics::Result<()> {
/// let config = ModelConfig {
///     arch: networks::MLP, in_channels: 1, height: 4, width: 4, classes: 3,
///     hidden: vec![8], activation: Activation::Tanh, ..ModelConfig::default()
/// };
/// let model = Model::new(&config, DType::F32, &Device::Cpu, &Streams::new(0))?;
/// let images = Tensor::ones((6, 1, 4, 4), DType::F32, &Device::Cpu)?;
/// let labels = Tensor::new(&[0u32, 1, 2, 0, 1, 1], &Device::Cpu)?;
/// let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
///
/// let objective = ModelObjective::new(&model, loss, Mode::Eval, vec![(images, labels)])?;
/// let mut hessian = TangentHessian::new(&objective)?;
/// let report = Hutchinson::new(TraceConfig::fixed(16))?.run(&mut hessian, &Streams::new(1), &mut Silent)?;
/// println!("tr(H)/d = {} +- {:?}", report.trace_normalized.value, report.trace_normalized.std_error);
/// # Ok(())
/// # }
/// ```
pub struct ModelObjective<'a> {
    model: &'a Model,
    loss: Loss,
    mode: Mode,
    sizes: Vec<usize>,
    /// Groups of the batches; a group each where there are none.
    groups: Vec<usize>,
    examples: usize,
    load: Load<'a>,
}

impl<'a> ModelObjective<'a> {
    /// The objective over batches held in memory: images `(n, channels, height, width)` and labels `(n)`.
    ///
    /// # Errors
    /// [`Mode::Train`], which moves the running statistics; no batch, or one without examples.
    pub fn new(model: &'a Model, loss: Loss, mode: Mode, batches: Vec<(Tensor, Tensor)>) -> Result<Self> {
        let sizes = batches.iter().map(|(_, labels)| labels.elem_count()).collect();
        Self::streamed(model, loss, mode, sizes, move |i| Ok(batches[i].clone()))
    }

    /// The objective over batches that are loaded when they are needed. `load(i)` gives the images and labels of the
    /// `sizes[i]` examples of batch `i`, the same each time, on the model's device. One batch is held at a time.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn streamed(
        model: &'a Model,
        loss: Loss,
        mode: Mode,
        sizes: Vec<usize>,
        load: impl Fn(usize) -> Result<(Tensor, Tensor)> + Send + Sync + 'a,
    ) -> Result<Self> {
        if mode == Mode::Train {
            return Err(Error::BadConfig {
                field: "mode",
                value: "Train".into(),
                remedy: "evaluating it would move the BatchNorm running statistics; use BatchStats or Eval",
            });
        }
        let examples = count(&sizes)?;
        Ok(Self { model, loss, mode, sizes, groups: Vec::new(), examples, load: Box::new(load) })
    }

    /// The same with batch `i` as a part of `groups[i]`. Groups are the clusters from which the error of the choice
    /// of examples comes, so that it does not depend on the batch size; see [`Objective::group`].
    ///
    /// # Errors
    /// Another number of groups than of batches.
    pub fn grouped(self, groups: Vec<usize>) -> Result<Self> {
        if groups.len() != self.sizes.len() {
            let (given, batches) = (groups.len(), self.sizes.len());
            return Err(Error::BadObjective(format!("{given} groups for {batches} batches: name the group of each")));
        }
        Ok(Self { groups, ..self })
    }

    fn of_logits(&self, logits: &[Dual], labels: &Tensor) -> Vec<Outputs> {
        let of = |z: &Dual| {
            let (logits, along) = (z.value.clone(), z.tangent.clone());
            Outputs { logits, along, labels: labels.clone(), loss: self.loss }
        };
        logits.iter().map(of).collect()
    }

    fn batch(&self, i: usize) -> Result<(Tensor, Tensor)> {
        let (images, labels) = (self.load)(i)?;
        if labels.elem_count() == self.sizes[i] {
            Ok((images, labels))
        } else {
            let (given, said) = (labels.elem_count(), self.sizes[i]);
            Err(Error::BadObjective(format!("batch {i} was loaded with {given} examples, `sizes` says {said}")))
        }
    }
}

impl std::fmt::Debug for ModelObjective<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelObjective")
            .field("arch", &self.model.name())
            .field("loss", &self.loss)
            .field("mode", &self.mode)
            .field("sizes", &self.sizes)
            .finish_non_exhaustive()
    }
}

impl Objective for ModelObjective<'_> {
    fn params(&self) -> &Params {
        self.model.params()
    }
    fn batches(&self) -> usize {
        self.sizes.len()
    }
    fn weight(&self, i: usize) -> f64 {
        self.sizes[i] as f64 / self.examples as f64
    }
    fn group(&self, i: usize) -> usize {
        self.groups.get(i).copied().unwrap_or(i)
    }
    fn examples(&self) -> usize {
        self.examples
    }
    fn loss(&self, i: usize) -> Result<Tensor> {
        let (images, labels) = self.batch(i)?;
        Ok(self.loss.mean(&self.model.logits(&images, self.mode)?, &labels)?)
    }
    fn loss_tangent(&self, i: usize, v: &ParamVec) -> Result<Tensor> {
        let (images, labels) = self.batch(i)?;
        Ok(self.loss.mean(&self.model.logits_tangent(&images, v, self.mode)?, &labels)?.tangent)
    }
    fn loss_and_gradient(&self, i: usize) -> Result<(f64, ParamVec)> {
        let (images, labels) = self.batch(i)?;
        let (value, grad) = self.model.loss_and_gradient(self.loss, &images, &labels, self.mode)?;
        if !value.is_finite() {
            return Err(Error::NonFinite { quantity: format!("the loss of batch {i}"), value });
        }
        Ok((value, grad))
    }
    fn hessian_product(&self, i: usize, v: &ParamVec) -> Result<ParamVec> {
        let (images, labels) = self.batch(i)?;
        Ok(self.model.hessian_product(self.loss, &images, &labels, v, self.mode)?)
    }
    fn hessian_products(&self, i: usize, directions: &[&ParamVec]) -> Result<Vec<ParamVec>> {
        let (images, labels) = self.batch(i)?;
        Ok(self.model.hessian_products(self.loss, &images, &labels, directions, self.mode)?)
    }
    fn hessian_forms(&self, i: usize, directions: &[ParamVec]) -> Result<Vec<f64>> {
        let (images, labels) = self.batch(i)?;
        Ok(self.model.hessian_forms(self.loss, &images, &labels, directions, self.mode)?)
    }
    fn outputs(&self, i: usize, directions: &[&ParamVec]) -> Result<Vec<Outputs>> {
        let (images, labels) = self.batch(i)?;
        Ok(self.of_logits(&self.model.logits_along(&images, directions, self.mode)?, &labels))
    }
    fn outputs_and_way_back(&self, i: usize, directions: &[&ParamVec]) -> Result<(Vec<Outputs>, WayBack<'_>)> {
        let (images, labels) = self.batch(i)?;
        let pass = self.model.pullback_along(&images, directions, self.mode)?;
        let outputs = self.of_logits(pass.logits(), &labels);
        Ok((outputs, Box::new(move |c| Ok(pass.gradients(c)?))))
    }
    fn buffers(&self) -> Vec<(String, Tensor)> {
        self.model.buffers().iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
    }
    fn bn_mode(&self) -> Option<&'static str> {
        if !self.model.has_batch_norm() {
            return None;
        }
        Some(match self.mode {
            Mode::Train => "train",
            Mode::BatchStats => "batch",
            Mode::Eval => "eval",
        })
    }
}
