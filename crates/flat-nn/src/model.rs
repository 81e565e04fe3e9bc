//! A model: a network with its parameters and buffers.

use crate::models::residual::Plan;
use crate::models::scope::Scope;
use crate::models::specs::{Init, Specs};
use crate::models::{lenet, mlp};
use crate::{Arch, Dual, Error, Mode, ModelConfig, Norm, Result, Value};
use candle_core::{DType, Device, Tensor, Var};
use flat_core::{ParamVec, Params, Purpose, Streams};
use std::collections::BTreeMap;

/// A classifier: images `(n, in_channels, height, width)` to logits `(n, classes)`.
///
/// Parameters are ordinary candle variables, named as in PyTorch; running statistics of batch normalisation are buffers
/// apart from them.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use flat_core::Streams;
/// use flat_nn::{Activation, Arch, Loss, Mode, Model, ModelConfig, Norm};
///
/// # fn main() -> flat_nn::Result<()> {
/// let config = ModelConfig {
///     arch: Arch::Mlp, in_channels: 1, height: 28, width: 28, classes: 10,
///     hidden: vec![32], channels: None, groups: None, activation: Activation::Relu, norm: Norm::Batch,
/// };
/// let model = Model::new(&config, DType::F32, &Device::Cpu, &Streams::new(0))?;
/// let x = Tensor::zeros((4, 1, 28, 28), DType::F32, &Device::Cpu)?;
/// let labels = Tensor::new(&[0u32, 1, 2, 3], &Device::Cpu)?;
/// let loss = Loss::CrossEntropy { label_smoothing: 0.0 }.mean(&model.logits(&x, Mode::Train)?, &labels)?;
/// let grad = model.params().gradient(&loss.backward()?)?;
/// assert_eq!(grad.layout().len(), 784 * 32 + 32 + 32 * 10 + 10);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Model {
    config: ModelConfig,
    params: Params,
    buffers: BTreeMap<String, Var>,
}

impl Model {
    /// Builds the network with PyTorch's default initial weights: convolutions and linear layers uniform within
    /// `1 / sqrt(fan_in)`, weight and bias; normalisation gains 1 and biases 0. Each parameter draws from a stream of
    /// its own name, so that a further layer changes no other's weights.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for sizes that the network cannot take; candle's.
    pub fn new(config: &ModelConfig, dtype: DType, device: &Device, streams: &Streams) -> Result<Self> {
        config.validate()?;
        let specs = match config.arch {
            Arch::Mlp => mlp::specs(config),
            Arch::LeNet => lenet::specs(config)?,
            _ => Plan::of(config)?.specs(config),
        };
        if let Some(groups) = config.groups
            && let Some((layer, channels)) = specs.norms.iter().find(|(_, c)| groups == 0 || c % groups != 0)
        {
            return Err(Error::BadConfig(format!(
                "{groups} groups do not divide the {channels} channels of `{layer}`: give a divisor of every layer's channels"
            )));
        }
        let params = Params::new(variables(&specs, dtype, device, streams)?)?;
        let buffers = if config.norm == Norm::Batch { running(&specs, dtype, device)? } else { BTreeMap::new() };
        Ok(Self { config: config.clone(), params, buffers })
    }

    /// What the model is.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The trainable parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The buffers of batch normalisation: `running_mean`, `running_var` and `num_batches_tracked` (i64) of each layer.
    pub fn buffers(&self) -> &BTreeMap<String, Var> {
        &self.buffers
    }

    /// Whether [`Mode`] makes a difference.
    pub fn has_batch_norm(&self) -> bool {
        !self.buffers.is_empty()
    }

    /// Logits `(n, classes)` of images `(n, in_channels, height, width)`, ready for `backward`. One forward pass.
    ///
    /// # Errors
    /// [`Error::BadInput`] for images of another shape or element type; candle's.
    pub fn logits(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.forward(x, mode, |_, var| Ok(var.as_tensor().clone()))
    }

    /// The same without a graph: no `backward`, and each layer's memory is free as soon as the next is done.
    ///
    /// # Errors
    /// As [`Self::logits`].
    pub fn logits_no_grad(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.forward(x, mode, |_, var| Ok(var.as_detached_tensor()))
    }

    /// Logits and their directional derivative along `v`, ready for `backward` of either: the gradient of
    /// `Loss::mean(..).tangent` is the product of the loss's Hessian with `v`. Two forward passes.
    ///
    /// # Errors
    /// As [`Self::logits`], and a direction of another layout.
    pub fn logits_tangent(&self, x: &Tensor, v: &ParamVec, mode: Mode) -> Result<Dual> {
        self.params.layout().same_as(v.layout())?;
        self.forward(x, mode, |i, var| Ok(Dual::new(var.as_tensor().clone(), v.entry(i)?)))
    }

    /// Hidden states `(n, width)` that the last layer takes, without a graph: `width` is the last hidden width of an
    /// mlp (its inputs where it has none), the hidden units of lenet, the channels of the last stage for residual networks. One
    /// forward pass.
    ///
    /// # Errors
    /// As [`Self::logits`].
    pub fn features(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let scope = self.scope(x, mode, |_, var| Ok(var.as_detached_tensor()))?;
        match self.config.arch {
            Arch::Mlp if self.config.hidden.is_empty() => Ok(x.flatten_from(1)?),
            Arch::Mlp => mlp::features(&scope, x),
            Arch::LeNet => lenet::features(&scope, x),
            _ => Plan::of(&self.config)?.features(&scope, x),
        }
    }

    pub(crate) fn forward<V: Value>(
        &self,
        x: &Tensor,
        mode: Mode,
        value: impl Fn(usize, &Var) -> Result<V>,
    ) -> Result<V> {
        let scope = self.scope(x, mode, value)?;
        match self.config.arch {
            Arch::Mlp => mlp::forward(&scope, x),
            Arch::LeNet => lenet::forward(&scope, x),
            _ => Plan::of(&self.config)?.forward(&scope, x),
        }
    }

    fn scope<V: Value>(
        &self,
        x: &Tensor,
        mode: Mode,
        value: impl Fn(usize, &Var) -> Result<V>,
    ) -> Result<Scope<'_, V>> {
        self.check_input(x)?;
        let entries = self.params.layout().entries().iter();
        let params = entries
            .zip(self.params.vars())
            .enumerate()
            .map(|(i, (entry, var))| Ok((entry.name.as_str(), value(i, var)?)))
            .collect::<Result<BTreeMap<&str, V>>>()?;
        Ok(Scope { config: &self.config, mode, params, buffers: &self.buffers })
    }

    fn check_input(&self, x: &Tensor) -> Result<()> {
        let c = &self.config;
        let wanted = [c.in_channels, c.height, c.width];
        if x.rank() != 4 || x.dims()[1..] != wanted || x.dims()[0] == 0 {
            return Err(Error::BadInput(format!(
                "images {:?} for a model of (n, {wanted:?}), n at least 1",
                x.shape()
            )));
        }
        if x.dtype() != self.params.space().dtype {
            return Err(Error::BadInput(format!(
                "images of {:?} for a model of {:?}",
                x.dtype(),
                self.params.space().dtype
            )));
        }
        Ok(())
    }

    /// Copies of all parameters and buffers by name.
    ///
    /// # Errors
    /// candle's.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.named().map(|(name, var)| Ok((name.to_string(), var.as_detached_tensor().copy()?))).collect()
    }

    /// Sets all parameters and buffers, all or none.
    ///
    /// # Errors
    /// [`Error::BadState`] naming the first tensor that is missing, unexpected or of another shape;
    /// [`Error::NotFinite`] naming the first with a NaN or an infinity.
    pub fn set_state(&self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let known: BTreeMap<&str, &Var> = self.named().collect();
        if let Some(name) = state.keys().find(|name| !known.contains_key(name.as_str())) {
            return Err(Error::BadState(format!("`{name}` is not in this model ({})", self.config.arch)));
        }
        if let Some(name) = known.keys().find(|name| !state.contains_key(**name)) {
            return Err(Error::BadState(format!("`{name}` is missing, which this model ({}) has", self.config.arch)));
        }
        let mut fitting = Vec::with_capacity(known.len());
        for (name, tensor) in state {
            let Some(var) = known.get(name.as_str()) else { continue };
            if tensor.shape() != var.shape() {
                let (given, wanted) = (tensor.shape(), var.shape());
                return Err(Error::BadState(format!("`{name}` has shape {given:?} where this model has {wanted:?}")));
            }
            let tensor = tensor.to_device(var.device())?.to_dtype(var.dtype())?.contiguous()?;
            if var.dtype().is_float() && !finite(&tensor)? {
                return Err(Error::NotFinite { name: name.clone() });
            }
            fitting.push((*var, tensor));
        }
        for (var, tensor) in fitting {
            // a tensor of a variable's own storage could not be copied onto it
            var.set(&tensor.copy()?)?;
        }
        Ok(())
    }

    /// All parameters and buffers.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, &Var)> {
        let params = self.params.layout().entries().iter().map(|e| e.name.as_str()).zip(self.params.vars());
        params.chain(self.buffers.iter().map(|(n, v)| (n.as_str(), v)))
    }
}

fn finite(t: &Tensor) -> Result<bool> {
    // |x| times 0 is 0 for finite x alone, and sums of zeros do not overflow
    let zeros: f64 = t.flatten_all()?.affine(0.0, 0.0)?.sum_all()?.to_dtype(DType::F64)?.to_scalar()?;
    Ok(zeros == 0.0)
}

fn variables(specs: &Specs, dtype: DType, device: &Device, streams: &Streams) -> Result<Vec<(String, Var)>> {
    let variable = |spec: &crate::models::specs::Spec| {
        let n: usize = spec.shape.iter().product();
        let data = match spec.init {
            Init::Constant(c) => vec![c; n],
            Init::Uniform(bound) => {
                let mut data = streams.named(Purpose::Init, &spec.name).uniforms(n);
                data.iter_mut().for_each(|u| *u = (2.0 * *u - 1.0) * bound);
                data
            }
        };
        let tensor = Tensor::from_vec(data, spec.shape.as_slice(), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?;
        Ok((spec.name.clone(), Var::from_tensor(&tensor)?))
    };
    specs.params.iter().map(variable).collect()
}

/// Mean 0, variance 1, nothing seen.
fn running(specs: &Specs, dtype: DType, device: &Device) -> Result<BTreeMap<String, Var>> {
    let mut buffers = BTreeMap::new();
    for (layer, channels) in &specs.norms {
        let mut add = |part: &str, var: Var| buffers.insert(format!("{layer}.{part}"), var);
        add("running_mean", Var::zeros(*channels, dtype, device)?);
        add("running_var", Var::ones(*channels, dtype, device)?);
        add("num_batches_tracked", Var::from_tensor(&Tensor::new(0i64, device)?)?);
    }
    Ok(buffers)
}
