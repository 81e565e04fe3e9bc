//! BatchNorm's running statistics for weights that were not trained with them, such as an average of weights.

use crate::signal;
use anyhow::Result;
use flat_core::Streams;
use flat_data::{Loader, LoaderOptions};
use flat_nn::{Model, RunningStatistics};

/// Images that the statistics are of, at most: more change them by less than a hundredth of a standard deviation.
const IMAGES: usize = 10_000;

/// Images that [`refresh`] takes.
pub fn images(train: &Loader) -> usize {
    let whole = train.options().batch_size * batches(train);
    whole.min(train.split().len())
}

fn batches(train: &Loader) -> usize {
    train.batches_per_epoch().min(IMAGES.div_ceil(train.options().batch_size))
}

/// Replaces the running statistics by those of the model's present weights on images of `train` without augmentation.
/// The images come in an order of their own: batches of a sorted file would each hold one class. As
/// `torch.optim.swa_utils.update_bn` does. False, with the statistics as they were, where a signal asked to stop.
/// Costs one forward pass over [`images`]; nothing for a model without batch normalisation.
///
/// # Errors
/// candle's.
pub fn refresh(model: &Model, train: &Loader) -> Result<bool> {
    if !model.has_batch_norm() {
        return Ok(true);
    }
    let batch_size = train.options().batch_size;
    let options = LoaderOptions { batch_size, shuffle: true, ..LoaderOptions::default() };
    let train = train.beside(options, Streams::new(0))?;
    let before: Vec<_> =
        model.buffers().values().map(|var| var.as_detached_tensor().copy()).collect::<candle_core::Result<_>>()?;
    let mut statistics = RunningStatistics::new(model);
    for index in 0..batches(&train) {
        if signal::stop_requested() {
            model.buffers().values().zip(&before).try_for_each(|(var, before)| var.set(before))?;
            return Ok(false);
        }
        statistics.add(&train.batch(0, index)?.images)?;
    }
    statistics.finish()?;
    Ok(true)
}
