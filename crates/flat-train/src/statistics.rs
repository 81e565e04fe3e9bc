//! BatchNorm's running statistics for weights that were not trained with them, such as an average of weights.

use anyhow::Result;
use flat_data::Loader;
use flat_nn::{Model, RunningStatistics};

/// Images that the statistics are of, at most: more change them by less than a hundredth of a standard deviation.
const IMAGES: usize = 10_000;

/// Replaces the running statistics by those of the model's present weights on the first images of `train`, in file order and
/// without augmentation, as `torch.optim.swa_utils.update_bn` does. Costs one forward pass over them; nothing for a model
/// without batch normalisation.
///
/// # Errors
/// candle's.
pub fn refresh(model: &Model, train: &Loader) -> Result<()> {
    if !model.has_batch_norm() {
        return Ok(());
    }
    let mut statistics = RunningStatistics::new(model);
    for index in 0..train.batches_per_epoch().min(IMAGES.div_ceil(train.options().batch_size)) {
        statistics.add(&train.batch(0, index)?.images)?;
    }
    Ok(statistics.finish()?)
}
