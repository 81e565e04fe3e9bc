//! Layers by name: parameters as values, buffers as variables.

use crate::ops::Conv2d;
use crate::{BatchMoments, Error, Mode, ModelConfig, Norm, Result, Value};
use candle_core::{DType, Tensor, Var};
use std::collections::BTreeMap;

/// PyTorch's constant under the square root of normalisation layers.
const EPS: f64 = 1e-5;
/// Weight of the batch in the running statistics.
pub(crate) const MOMENTUM: f64 = 0.1;

/// What a forward pass needs besides its input.
pub(crate) struct Scope<'a, V> {
    pub config: &'a ModelConfig,
    pub mode: Mode,
    pub params: BTreeMap<&'a str, V>,
    pub buffers: &'a BTreeMap<String, Var>,
}

impl<V: Value> Scope<'_, V> {
    fn get(&self, layer: &str, part: &str) -> Result<&V> {
        let name = format!("{layer}.{part}");
        self.params.get(name.as_str()).ok_or_else(|| Error::BadState(format!("the parameter `{name}` is missing")))
    }

    fn bias(&self, layer: &str) -> Option<&V> {
        self.params.get(format!("{layer}.bias").as_str())
    }

    fn buffer(&self, layer: &str, part: &str) -> Result<&Var> {
        let name = format!("{layer}.{part}");
        self.buffers.get(&name).ok_or_else(|| Error::BadState(format!("the buffer `{name}` is missing")))
    }

    /// The convolution called `layer`.
    pub(crate) fn conv(&self, layer: &str, x: &V, stride: usize, padding: usize) -> Result<V> {
        x.conv2d(self.get(layer, "weight")?, self.bias(layer), Conv2d { stride, padding })
    }

    /// The convolution called `layer` of the images.
    pub(crate) fn conv_of(&self, layer: &str, x: &Tensor, stride: usize, padding: usize) -> Result<V> {
        V::conv2d_of(x, self.get(layer, "weight")?, self.bias(layer), Conv2d { stride, padding })
    }

    /// The fully connected layer called `layer`.
    pub(crate) fn linear(&self, layer: &str, x: &V) -> Result<V> {
        x.linear(self.get(layer, "weight")?, self.bias(layer))
    }

    /// The fully connected layer called `layer` of the images.
    pub(crate) fn linear_of(&self, layer: &str, x: &Tensor) -> Result<V> {
        V::linear_of(x, self.get(layer, "weight")?, self.bias(layer))
    }

    /// The nonlinearity.
    pub(crate) fn activate(&self, x: &V) -> Result<V> {
        x.activate(self.config.activation)
    }

    /// The normalisation called `layer`, then the nonlinearity.
    pub(crate) fn norm_activate(&self, layer: &str, x: &V) -> Result<V> {
        self.norm_then(layer, x, None, true)
    }

    /// The normalisation called `layer`.
    pub(crate) fn norm(&self, layer: &str, x: &V) -> Result<V> {
        self.norm_then(layer, x, None, false)
    }

    /// The normalisation called `layer`, the sum with `skip`, then the nonlinearity.
    pub(crate) fn norm_add_activate(&self, layer: &str, x: &V, skip: &V) -> Result<V> {
        self.norm_then(layer, x, Some(skip), true)
    }

    fn norm_then(&self, layer: &str, x: &V, skip: Option<&V>, activate: bool) -> Result<V> {
        let (gain, bias) = (self.get(layer, "weight")?, self.get(layer, "bias")?);
        let activation = activate.then_some(self.config.activation);
        match (self.config.norm, self.mode) {
            (Norm::Group, _) => {
                let channels = x.primal().dim(1)?;
                x.group_norm_add(self.config.groups_of(channels), gain, bias, EPS, skip, activation)
            }
            (Norm::Batch, Mode::Eval) => {
                let mean = self.buffer(layer, "running_mean")?.as_detached_tensor();
                let var = self.buffer(layer, "running_var")?.as_detached_tensor();
                let inv_std = (var + EPS)?.sqrt()?.recip()?;
                x.fixed_norm_add(gain, bias, (&mean, &inv_std), skip, activation)
            }
            (Norm::Batch, Mode::Train | Mode::BatchStats) => {
                let (y, moments) = x.batch_norm_add(gain, bias, EPS, skip, activation)?;
                if moments.count < 2 {
                    return Err(Error::BadInput(format!(
                        "batch normalisation `{layer}` sees one value a channel: use more than one example, larger images or norm group"
                    )));
                }
                if self.mode == Mode::Train {
                    self.update_running(layer, &moments)?;
                }
                Ok(y)
            }
        }
    }

    /// `running <- 0.9 running + 0.1 batch`, with the unbiased variance.
    fn update_running(&self, layer: &str, moments: &BatchMoments) -> Result<()> {
        let unbiased = moments.count as f64 / (moments.count - 1) as f64;
        let tracked = self.buffer(layer, "num_batches_tracked")?;
        if !tracked.device().is_cpu() {
            let [mean, var] = moments.tensors(self.buffer(layer, "running_mean")?)?;
            for (part, batch, by) in [("running_mean", mean, 1.0), ("running_var", var, unbiased)] {
                let buffer = self.buffer(layer, part)?;
                let old = (buffer.as_detached_tensor() * (1.0 - MOMENTUM))?;
                buffer.set(&(old + (batch * (by * MOMENTUM))?)?)?;
            }
            tracked.set(&(tracked.as_detached_tensor() + Tensor::new(1i64, tracked.device())?)?)?;
            return Ok(());
        }
        let [mean, mut var] = moments.to_host()?;
        var.iter_mut().for_each(|v| *v *= unbiased);
        for (part, batch) in [("running_mean", &mean), ("running_var", &var)] {
            let buffer = self.buffer(layer, part)?;
            let old: Vec<f64> = buffer.as_detached_tensor().to_dtype(DType::F64)?.to_vec1()?;
            let new = old.iter().zip(batch).map(|(o, b)| (1.0 - MOMENTUM) * o + MOMENTUM * b).collect::<Vec<f64>>();
            buffer.set(&Tensor::from_vec(new, buffer.shape(), buffer.device())?.to_dtype(buffer.dtype())?)?;
        }
        let seen: i64 = tracked.as_detached_tensor().to_scalar()?;
        tracked.set(&Tensor::new(seen + 1, tracked.device())?)?;
        Ok(())
    }
}
