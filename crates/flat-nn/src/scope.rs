//! The layers of a network by name, which its forward pass calls.

use crate::kinds::Mode;
use crate::ops::moments::BatchMoments;
use crate::ops::{Conv2d, Pool2d};
use crate::specs::NormSpec;
use crate::value::Value;
use crate::{Activation, Error, Result};
use candle_core::{DType, Tensor, Var};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Weight of the batch in the running statistics.
pub(crate) const MOMENTUM: f64 = 0.1;

/// The layers of a network by their names in [`crate::Specs`]: parameters as values, buffers as variables.
pub struct Scope<'a, V> {
    pub(crate) mode: Mode,
    pub(crate) params: BTreeMap<&'a str, V>,
    pub(crate) norms: &'a BTreeMap<String, NormSpec>,
    pub(crate) buffers: &'a BTreeMap<String, Var>,
    /// Name and input of the fully connected layer that came last, where somebody asks for it.
    pub(crate) last: Option<RefCell<(String, Option<Tensor>)>>,
    /// What batches had in the layers whose running statistics are still to move, on a device where all move together.
    pub(crate) due: RefCell<Vec<(String, BatchMoments)>>,
}

impl<V: Value> Scope<'_, V> {
    /// The parameter called `name`.
    ///
    /// # Errors
    /// [`Error::BadState`] where the network's specs do not name it.
    pub fn param(&self, name: &str) -> Result<&V> {
        self.params.get(name).ok_or_else(|| Error::BadState(format!("the parameter `{name}` is missing")))
    }

    fn weight(&self, layer: &str) -> Result<&V> {
        self.param(&format!("{layer}.weight"))
    }

    fn bias(&self, layer: &str) -> Option<&V> {
        self.params.get(format!("{layer}.bias").as_str())
    }

    fn buffer(&self, layer: &str, part: &str) -> Result<&Var> {
        let name = format!("{layer}.{part}");
        self.buffers.get(&name).ok_or_else(|| Error::BadState(format!("the buffer `{name}` is missing")))
    }

    /// The convolution called `layer`.
    ///
    /// # Errors
    /// As [`Conv2d::forward`]; a layer that the specs do not name.
    pub fn conv(&self, layer: &str, x: &V, stride: usize, padding: usize) -> Result<V> {
        x.conv2d(self.weight(layer)?, self.bias(layer), Conv2d { stride, padding })
    }

    /// The convolution called `layer` of the images.
    ///
    /// # Errors
    /// As [`Self::conv`].
    pub fn conv_of(&self, layer: &str, x: &Tensor, stride: usize, padding: usize) -> Result<V> {
        V::conv2d_of(x, self.weight(layer)?, self.bias(layer), Conv2d { stride, padding })
    }

    /// The convolution called `layer`, then the nonlinearity of the maxima of its windows, without padding.
    ///
    /// # Errors
    /// As [`Self::conv`]; windows that do not fit.
    pub fn conv_pool(&self, layer: &str, x: &V, pool: Pool2d, then: Activation) -> Result<V> {
        x.conv2d_pool(self.weight(layer)?, self.bias(layer), Conv2d { stride: 1, padding: 0 }, pool, then)
    }

    /// [`Self::conv_pool`] of the images.
    ///
    /// # Errors
    /// As there.
    pub fn conv_pool_of(&self, layer: &str, x: &Tensor, pool: Pool2d, then: Activation) -> Result<V> {
        V::conv2d_pool_of(x, self.weight(layer)?, self.bias(layer), Conv2d { stride: 1, padding: 0 }, pool, then)
    }

    /// The fully connected layer called `layer`, then the nonlinearity.
    ///
    /// # Errors
    /// As [`Self::linear`].
    pub fn linear_activate(&self, layer: &str, x: &V, then: Activation) -> Result<V> {
        self.note(layer, x.primal());
        x.linear_activate(self.weight(layer)?, self.bias(layer), then)
    }

    /// The fully connected layer called `layer`.
    ///
    /// # Errors
    /// As [`crate::ops::linear`]; a layer that the specs do not name.
    pub fn linear(&self, layer: &str, x: &V) -> Result<V> {
        self.note(layer, x.primal());
        x.linear(self.weight(layer)?, self.bias(layer))
    }

    /// The fully connected layer called `layer` of the inputs.
    ///
    /// # Errors
    /// As [`Self::linear`].
    pub fn linear_of(&self, layer: &str, x: &Tensor) -> Result<V> {
        self.note(layer, x);
        V::linear_of(x, self.weight(layer)?, self.bias(layer))
    }

    fn note(&self, layer: &str, x: &Tensor) {
        if let Some(last) = &self.last {
            last.replace((layer.to_string(), Some(x.clone())));
        }
    }

    /// The normalisation called `layer`, the sum with `skip`, then the nonlinearity, where they are given.
    ///
    /// # Errors
    /// Shapes that do not fit; a layer that the specs do not name; batch normalisation of one value a channel.
    pub fn norm(&self, layer: &str, x: &V, skip: Option<&V>, then: Option<Activation>) -> Result<V> {
        let (gain, bias) = (self.weight(layer)?, self.param(&format!("{layer}.bias"))?);
        let missing = || Error::BadState(format!("the normalisation `{layer}` is missing"));
        let NormSpec { groups, eps, .. } = *self.norms.get(layer).ok_or_else(missing)?;
        match (groups, self.mode) {
            (Some(groups), _) => x.group_norm_add(groups, gain, bias, eps, skip, then),
            (None, Mode::Eval) => {
                let mean = self.buffer(layer, "running_mean")?.as_detached_tensor();
                let var = self.buffer(layer, "running_var")?.as_detached_tensor();
                let inv_std = (var + eps)?.sqrt()?.recip()?;
                x.fixed_norm_add(gain, bias, (&mean, &inv_std), skip, then)
            }
            (None, Mode::Train | Mode::BatchStats) => {
                let (y, moments) = x.batch_norm_add(gain, bias, eps, skip, then)?;
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
    #[expect(clippy::disallowed_methods, reason = "the way of other devices has returned before")]
    fn update_running(&self, layer: &str, moments: &BatchMoments) -> Result<()> {
        let unbiased = unbiased(moments);
        let tracked = self.buffer(layer, "num_batches_tracked")?;
        #[cfg(feature = "cuda")]
        if moments.on_device().is_some() {
            self.due.borrow_mut().push((layer.to_string(), moments.clone()));
            return Ok(());
        }
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

    /// Moves the running statistics that are due. To be called at the end of a forward pass.
    pub(crate) fn settle(&self) -> Result<()> {
        let due = self.due.take();
        #[cfg(feature = "cuda")]
        {
            let mut layers = Vec::with_capacity(due.len());
            for (layer, moments) in &due {
                let Some(stats) = moments.on_device() else { continue };
                layers.push(flat_kernels::cuda::layers::Running {
                    stats,
                    mean: self.buffer(layer, "running_mean")?,
                    var: self.buffer(layer, "running_var")?,
                    seen: self.buffer(layer, "num_batches_tracked")?,
                    unbiased: unbiased(moments),
                });
            }
            flat_kernels::cuda::layers::running(&layers, MOMENTUM)?;
        }
        drop(due);
        Ok(())
    }
}

/// What makes a batch's variance an unbiased one.
fn unbiased(moments: &BatchMoments) -> f64 {
    moments.count as f64 / (moments.count - 1) as f64
}
