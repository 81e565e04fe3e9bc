//! The running statistics of batch normalisation as averages over batches.

use crate::scope::MOMENTUM;
use crate::{Mode, Model, Result};
use candle_core::Tensor;
use std::collections::BTreeMap;

/// Running statistics of a model's present weights, averaged over batches. They are the mean of the batches' means
/// and of their unbiased variances, each weighted by its examples (P.
///
/// An average of weights needs them: the statistics along the run are those of the weights before averaging.
pub struct RunningStatistics<'a> {
    model: &'a Model,
    sums: BTreeMap<String, Tensor>,
    examples: f64,
}

impl<'a> RunningStatistics<'a> {
    /// Statistics of no batch yet.
    pub fn new(model: &'a Model) -> Self {
        Self { model, sums: BTreeMap::new(), examples: 0.0 }
    }

    /// Adds a batch of images `(n, channels, height, width)`. One forward pass; the model's running statistics are spoilt until
    /// [`Self::finish`].
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn add(&mut self, images: &Tensor) -> Result<()> {
        let n = images.dim(0)? as f64;
        let moments = || self.model.buffers().iter().filter(|(_, var)| var.dtype().is_float());
        // from 0, the pass leaves MOMENTUM times the batch's own statistics
        for (_, var) in moments() {
            var.set(&var.zeros_like()?)?;
        }
        self.model.logits_no_grad(images, Mode::Train)?;
        for (name, var) in moments() {
            let batch = (var.as_detached_tensor() * (n / MOMENTUM))?;
            let sum = match self.sums.remove(name) {
                Some(sum) => (sum + batch)?,
                None => batch,
            };
            self.sums.insert(name.clone(), sum);
        }
        self.examples += n;
        Ok(())
    }

    /// Puts the averages into the model; leaves it alone where no batch was added.
    ///
    /// # Errors
    /// candle's.
    pub fn finish(self) -> Result<()> {
        for (name, sum) in self.sums {
            if let Some(var) = self.model.buffers().get(&name) {
                var.set(&(sum / self.examples)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelConfig, networks};
    use candle_core::{DType, Device};
    use flat_core::{Purpose, Streams};

    #[test]
    fn refreshed_statistics_are_those_of_the_images() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let config = ModelConfig {
            arch: networks::RESNET20,
            in_channels: 1,
            height: 16,
            width: 16,
            classes: 4,
            hidden: Vec::new(),
            channels: Some(4),
            ..ModelConfig::default()
        };
        let streams = Streams::new(3);
        let model = Model::new(&config, DType::F64, &Device::Cpu, &streams)?;
        let pixels: Vec<f64> = streams.at(Purpose::Test, 0).normals(32 * 256).iter().map(|x| x * 3.0 + 1.0).collect();
        let images = Tensor::from_vec(pixels, (32, 1, 16, 16), &Device::Cpu)?;
        let distance =
            |a: &Tensor, b: &Tensor| -> candle_core::Result<f64> { (a - b)?.abs()?.max_all()?.to_scalar::<f64>() };
        let batch = model.logits_no_grad(&images, Mode::BatchStats)?;
        let before = distance(&model.logits_no_grad(&images, Mode::Eval)?, &batch)?;
        let mut statistics = RunningStatistics::new(&model);
        statistics.add(&images)?;
        statistics.finish()?;
        let after = distance(&model.logits_no_grad(&images, Mode::Eval)?, &batch)?;
        // unbiased and biased variances differ by a part of 1 / (32 4 4) in the last layers, which have the fewest values
        assert!(after < 0.02 * before, "{after} {before}");
        // two equal batches have the mean of one
        let once: Vec<Tensor> =
            model.buffers().values().map(|v| v.as_detached_tensor().copy()).collect::<candle_core::Result<_>>()?;
        let mut statistics = RunningStatistics::new(&model);
        statistics.add(&images)?;
        statistics.add(&images)?;
        statistics.finish()?;
        for (var, once) in model.buffers().values().zip(once).filter(|(v, _)| v.dtype().is_float()) {
            assert!(distance(&var.as_detached_tensor(), &once)? < 1e-12);
        }
        Ok(())
    }
}
