//! The running statistics of batch normalisation as averages over batches.

use crate::scope::MOMENTUM;
use crate::{Mode, Model, Result};
use candle_core::{Tensor, Var};

/// Running statistics of a model's present weights, averaged over batches. They are the mean of the batches' means
/// and of their unbiased variances, each weighted by its examples (P.
///
/// An average of weights needs them: the statistics along the run are those of the weights before averaging.
pub struct RunningStatistics<'a> {
    model: &'a Model,
    /// Of the batches' statistics, each times its examples, one after another.
    sum: Option<Tensor>,
    examples: f64,
}

impl<'a> RunningStatistics<'a> {
    /// Statistics of no batch yet.
    pub fn new(model: &'a Model) -> Self {
        Self { model, sum: None, examples: 0.0 }
    }

    /// Adds a batch of images `(n, channels, height, width)`. One forward pass; the model's running statistics are spoilt until
    /// [`Self::finish`].
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn add(&mut self, images: &Tensor) -> Result<()> {
        let batch = self.of_batch(images)?;
        self.take(batch, images.dim(0)?)
    }

    /// The statistics of a batch of images in one row, times its examples: what [`Self::take`] adds, on any rank. One forward pass, as
    /// [`Self::add`].
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn of_batch(&self, images: &Tensor) -> Result<Tensor> {
        let n = images.dim(0)? as f64;
        // from 0, the pass leaves MOMENTUM times the batch's own statistics
        for var in self.moments() {
            var.set(&var.zeros_like()?)?;
        }
        self.model.logits_no_grad(images, Mode::Train)?;
        let rows: Vec<Tensor> =
            self.moments().map(|var| var.as_detached_tensor().flatten_all()).collect::<candle_core::Result<_>>()?;
        Ok((Tensor::cat(&rows, 0)? * (n / MOMENTUM))?)
    }

    /// Adds the statistics of a batch of so many examples. Bits depend on the order of batches.
    ///
    /// # Errors
    /// A row of another model; candle's.
    pub fn take(&mut self, batch: Tensor, examples: usize) -> Result<()> {
        self.sum = Some(match self.sum.take() {
            Some(sum) => (sum + batch)?,
            None => batch,
        });
        self.examples += examples as f64;
        Ok(())
    }

    fn moments(&self) -> impl Iterator<Item = &'a Var> {
        self.model.buffers().values().filter(|var| var.dtype().is_float())
    }

    /// Puts the averages into the model; leaves it alone where no batch was added.
    ///
    /// # Errors
    /// candle's.
    pub fn finish(self) -> Result<()> {
        let Some(sum) = &self.sum else { return Ok(()) };
        let mut at = 0;
        for var in self.moments() {
            let row = sum.narrow(0, at, var.elem_count())?;
            var.set(&(row.reshape(var.shape())? / self.examples)?)?;
            at += var.elem_count();
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
