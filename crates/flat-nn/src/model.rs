//! A model: a network with its parameters and buffers.

use crate::count::{Count, Shaped, Traffic};
use crate::network::{AnyNetwork, Instance};
use crate::scope::Scope;
use crate::specs::{Init, Spec, Specs};
use crate::tensor_file::finite;
use crate::{Dual, Error, Mode, ModelConfig, Network, Result, networks};
use candle_core::{DType, Device, Tensor, Var};
use flat_core::{ParamVec, Params, Purpose, Streams, memory};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// A classifier: images `(n, in_channels, height, width)` to logits `(n, classes)`.
///
/// Parameters are ordinary candle variables, named as in PyTorch; running statistics of batch normalisation are buffers
/// apart from them.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use flat_core::Streams;
/// use flat_nn::{Activation, Loss, Mode, Model, ModelConfig, networks};
///
/// # fn main() -> flat_nn::Result<()> {
/// let config = ModelConfig {
///     arch: networks::MLP, in_channels: 1, height: 28, width: 28, classes: 10,
///     hidden: vec![32], ..ModelConfig::default()
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
pub struct Model {
    network: Arc<dyn AnyNetwork>,
    config: Option<ModelConfig>,
    specs: Specs,
    params: Params,
    buffers: BTreeMap<String, Var>,
    count: Count,
    classes: usize,
    last_layer: String,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("name", &self.name()).field("config", &self.config).finish_non_exhaustive()
    }
}

impl Model {
    /// The same model once more: both have the same variables.
    #[must_use]
    pub fn handle(&self) -> Self {
        Self {
            network: Arc::clone(&self.network),
            config: self.config.clone(),
            specs: self.specs.clone(),
            params: self.params.clone(),
            buffers: self.buffers.clone(),
            count: self.count,
            classes: self.classes,
            last_layer: self.last_layer.clone(),
        }
    }

    /// Builds a built-in network with PyTorch's default initial weights. Weights and biases of convolutions and
    /// linear layers are uniform within `1 / sqrt(fan_in)`; normalisation gains are 1 and biases 0. Each parameter
    /// draws from a stream of its own name, so that a further layer changes no other's weights.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for sizes that the network cannot take; candle's.
    pub fn new(config: &ModelConfig, dtype: DType, device: &Device, streams: &Streams) -> Result<Self> {
        Self::build(networks::build(config)?, Some(config.clone()), dtype, device, streams)
    }

    /// Builds a network of your own, with the same initial weights by name.
    ///
    /// # Errors
    /// Layers that its specs do not name or that do not fit each other: its forward pass is run over shapes; candle's.
    pub fn of(network: impl Network, dtype: DType, device: &Device, streams: &Streams) -> Result<Self> {
        Self::build(Arc::new(network), None, dtype, device, streams)
    }

    /// The same network with new weights.
    ///
    /// # Errors
    /// candle's.
    pub fn again(&self, streams: &Streams) -> Result<Self> {
        let space = self.params.space();
        Self::build(self.network.clone(), self.config.clone(), space.dtype, &space.device, streams)
    }

    fn build(
        network: Arc<dyn AnyNetwork>,
        config: Option<ModelConfig>,
        dtype: DType,
        device: &Device,
        streams: &Streams,
    ) -> Result<Self> {
        let specs = network.specs()?;
        for (layer, norm) in &specs.norms {
            if let Some(groups) = norm.groups.filter(|groups| *groups == 0 || norm.channels % groups != 0) {
                return Err(Error::BadConfig(format!(
                    "{groups} groups do not divide the {} channels of `{layer}`: give a divisor of every layer's channels",
                    norm.channels
                )));
            }
        }
        check_size(&specs, config.as_ref(), dtype)?;
        let params = Params::new(variables(&specs, dtype, device, streams)?)?;
        let buffers = running(&specs, dtype, device)?;
        let (count, classes, last_layer) = (Count::default(), 0, String::new());
        let mut model = Self { network, config, specs, params, buffers, count, classes, last_layer };
        model.measure()?;
        Ok(model)
    }

    /// Runs the forward pass over the shape of one example.
    fn measure(&mut self) -> Result<()> {
        let count = Rc::new(Cell::new(Count::default()));
        let one = [vec![1], self.network.input()].concat();
        let x = Tensor::zeros((), self.params.space().dtype, &Device::Cpu)?.broadcast_as(one)?;
        let mut scope = self.scope(&x, Mode::Eval, |_, var| Shaped::new(var.shape(), &count))?;
        scope.last = Some(RefCell::default());
        let logits = Shaped::forward(&*self.network, &scope, &x)?;
        let (last_layer, _) = scope.last.take().map(RefCell::into_inner).unwrap_or_default();
        (self.classes, self.last_layer, self.count) = (logits.classes()?, last_layer, count.get());
        Ok(())
    }

    /// The configuration of a built-in network.
    pub fn config(&self) -> Option<&ModelConfig> {
        self.config.as_ref()
    }

    /// The network's name.
    pub fn name(&self) -> String {
        self.network.name()
    }

    /// Length of the logits.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Name of the fully connected layer that gives the logits, of parameters `NAME.weight` and `NAME.bias`.
    pub fn last_layer(&self) -> &str {
        &self.last_layer
    }

    /// Whether the loss has kinks in the parameters, from relu or max pooling: second differences count them, while the
    /// Hessian does not see them.
    pub fn has_kinks(&self) -> bool {
        self.count.kinks
    }

    /// Multiplications with additions of the convolutions and fully connected layers in one example's forward pass.
    /// They are counted by the layers' definition: what an algorithm such as Winograd's saves is not subtracted.
    /// Normalisation, activation and pooling (a few percent) are left out. A gradient takes three times as many: the
    /// backward pass has two products for each of the forward pass.
    pub fn multiply_adds(&self) -> u64 {
        self.count.multiply_adds
    }

    /// Numbers that the layers read and write for one gradient, counted as [`Traffic`] says.
    pub fn traffic(&self) -> Traffic {
        self.count.traffic
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

    /// Logits and their directional derivative along `v`, with graphs for `backward` of either. The gradient of
    /// `Loss::mean(..).tangent` is the product of the loss's Hessian with `v`. Two forward passes.
    ///
    /// # Errors
    /// As [`Self::logits`], and a direction of another layout.
    pub fn logits_tangent(&self, x: &Tensor, v: &ParamVec, mode: Mode) -> Result<Dual> {
        self.params.layout().same_as(v.layout())?;
        self.forward(x, mode, |i, var| Ok(Dual::new(var.as_tensor().clone(), v.entry(i)?)))
    }

    /// Hidden states `(n, width)` that the last fully connected layer takes, without a graph. `width` is the last
    /// hidden width of an mlp (its inputs where it has none), the hidden units of lenet, or the channels of a
    /// residual network's last stage. One forward pass.
    ///
    /// # Errors
    /// As [`Self::logits`]; a network without a fully connected layer.
    pub fn features(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut scope = self.scope(x, mode, |_, var| Ok(var.as_detached_tensor()))?;
        scope.last = Some(RefCell::default());
        Tensor::forward(&*self.network, &scope, x)?;
        scope.settle()?;
        let (_, features) = scope.last.take().map(RefCell::into_inner).unwrap_or_default();
        features.ok_or_else(|| Error::BadInput(format!("{} has no fully connected layer", self.name())))
    }

    pub(crate) fn forward<V: Instance>(
        &self,
        x: &Tensor,
        mode: Mode,
        value: impl Fn(usize, &Var) -> Result<V>,
    ) -> Result<V> {
        let scope = self.scope(x, mode, value)?;
        let logits = V::forward(&*self.network, &scope, x)?;
        scope.settle()?;
        Ok(logits)
    }

    fn scope<V: Instance>(
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
        Ok(Scope {
            mode,
            params,
            norms: &self.specs.norms,
            buffers: &self.buffers,
            last: None,
            due: RefCell::default(),
        })
    }

    fn check_input(&self, x: &Tensor) -> Result<()> {
        let wanted = self.network.input();
        if x.rank() != 1 + wanted.len() || x.dims()[1..] != wanted || x.dims()[0] == 0 {
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
            return Err(Error::BadState(format!("`{name}` is not in this model ({})", self.name())));
        }
        if let Some(name) = known.keys().find(|name| !state.contains_key(**name)) {
            return Err(Error::BadState(format!("`{name}` is missing, which this model ({}) has", self.name())));
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

/// Refuses a model whose weights do not fit into memory before one of them is made.
fn check_size(specs: &Specs, config: Option<&ModelConfig>, dtype: DType) -> Result<()> {
    /// Models that take less are made without a look at the free memory.
    const SMALL: u64 = 64 << 20;
    let numbers = specs.numbers();
    // initial weights are drawn a layer at a time, as f64
    let drawn = specs.largest().saturating_mul(size_of::<f64>() as u128);
    let needed = numbers.saturating_mul(dtype.size_in_bytes() as u128).saturating_add(drawn);
    let needed = u64::try_from(needed).unwrap_or(u64::MAX);
    match memory::available().filter(|free| needed > SMALL && needed > *free) {
        None => Ok(()),
        Some(available) => {
            let setting = config.map_or_else(|| "its layers".into(), ModelConfig::size);
            Err(Error::TooLarge { numbers, needed, available, setting })
        }
    }
}

fn variables(specs: &Specs, dtype: DType, device: &Device, streams: &Streams) -> Result<Vec<(String, Var)>> {
    let variable = |spec: &Spec| {
        let n: usize = spec.shape.iter().product();
        let data = match spec.init {
            Init::Constant(c) => vec![c; n],
            Init::Uniform(bound) => {
                let mut data = streams.named(Purpose::Init, &spec.name).uniforms(n);
                data.iter_mut().for_each(|u| *u = (2.0 * *u - 1.0) * bound);
                data
            }
            Init::Normal(std) => {
                let mut data = streams.named(Purpose::Init, &spec.name).normals(n);
                data.iter_mut().for_each(|x| *x *= std);
                data
            }
        };
        let tensor = Tensor::from_vec(data, spec.shape.as_slice(), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?;
        Ok((spec.name.clone(), Var::from_tensor(&tensor)?))
    };
    specs.params.iter().map(variable).collect()
}

/// The buffers of batch normalisation: mean 0, variance 1, nothing seen.
fn running(specs: &Specs, dtype: DType, device: &Device) -> Result<BTreeMap<String, Var>> {
    let mut buffers = BTreeMap::new();
    for (layer, norm) in specs.norms.iter().filter(|(_, norm)| norm.groups.is_none()) {
        let mut add = |part: &str, var: Var| buffers.insert(format!("{layer}.{part}"), var);
        add("running_mean", Var::zeros(norm.channels, dtype, device)?);
        add("running_var", Var::ones(norm.channels, dtype, device)?);
        add("num_batches_tracked", Var::from_tensor(&Tensor::new(0i64, device)?)?);
    }
    Ok(buffers)
}
