//! BatchNorm's running statistics for weights that were not trained with them, such as an average of weights.

use crate::ranks;
use crate::signal;
use anyhow::Result;
use candle_core::{DType, Tensor};
use flat_comm::Ranks;
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
/// Costs one forward pass over [`images`], of which each rank takes some batches; nothing for a model without batch normalisation. The
/// statistics are added up in the order of batches, so that they are those of one process.
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
    let (ranks, mut statistics, mut found) = (ranks::here(), RunningStatistics::new(model), Vec::new());
    for index in ranks.own(batches(&train)) {
        if signal::stop_requested() {
            model.buffers().values().zip(&before).try_for_each(|(var, before)| var.set(before))?;
            return Ok(false);
        }
        let images = train.batch(0, index)?.images;
        let batch = statistics.of_batch(&images)?;
        match ranks.is_alone() {
            true => statistics.take(batch, images.dim(0)?)?,
            false => found.push((batch, images.dim(0)?)),
        }
    }
    for (batch, examples) in of_all_ranks(&ranks, found, batches(&train), model)? {
        statistics.take(batch, examples)?;
    }
    statistics.finish()?;
    // the counts of batches are those of one process, too
    for (var, before) in model.buffers().values().zip(&before).filter(|(var, _)| !var.dtype().is_float()) {
        var.set(&(before + batches(&train) as f64)?)?;
    }
    Ok(true)
}

/// The statistics of all batches, of which every rank has found its own, and the examples of each.
fn of_all_ranks(
    ranks: &Ranks,
    own: Vec<(Tensor, usize)>,
    batches: usize,
    model: &Model,
) -> Result<Vec<(Tensor, usize)>> {
    if ranks.is_alone() {
        return Ok(own);
    }
    let mut numbers = Vec::new();
    for (batch, examples) in own {
        numbers.push(examples as f64);
        numbers.extend(batch.to_dtype(DType::F64)?.to_vec1::<f64>()?);
    }
    let all = ranks.join(&numbers)?;
    let space = model.params().space();
    let batch = |numbers: &[f64]| -> Result<(Tensor, usize)> {
        let row = Tensor::new(&numbers[1..], &space.device)?.to_dtype(space.dtype)?;
        Ok((row, numbers[0] as usize))
    };
    all.chunks(all.len() / batches).map(batch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use flat_comm::Threads;
    use flat_data::{DatasetKind, Split};
    use flat_nn::{ModelConfig, networks};
    use std::sync::Arc;

    #[test]
    fn statistics_found_anew_over_ranks_have_the_bits_of_one_process() -> Result<()> {
        let found = || -> Result<Vec<f64>> {
            let images = (0..50 * 64usize).map(|i| (i * i % 251) as u8).collect();
            let split = Arc::new(Split::new(images, (0..50).map(|i| i % 3).collect(), [1, 8, 8], 3)?);
            let options = LoaderOptions { batch_size: 8, ..LoaderOptions::default() };
            let (dtype, device) = (DType::F32, Device::Cpu);
            let train = Loader::new(
                split,
                DatasetKind::Mnist.normalisation(),
                options,
                Streams::new(4),
                dtype,
                device.clone(),
            )?;
            let config = ModelConfig {
                arch: networks::RESNET20,
                in_channels: 1,
                height: 8,
                width: 8,
                classes: 3,
                hidden: Vec::new(),
                channels: Some(4),
                ..ModelConfig::default()
            };
            let model = Model::new(&config, dtype, &device, &Streams::new(3))?;
            assert!(refresh(&model, &train)?);
            let mut bits = Vec::new();
            for var in model.buffers().values() {
                bits.extend(var.as_detached_tensor().to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?);
            }
            Ok(bits)
        };
        let expected = found()?;
        assert!(expected.iter().any(|x| *x != 0.0 && *x != 1.0));
        for size in [2, 3, 8] {
            for bits in Threads::run(size, |engine| ranks::with(Ranks::new(engine), found)) {
                assert!(bits? == expected, "{size} ranks");
            }
        }
        Ok(())
    }
}
