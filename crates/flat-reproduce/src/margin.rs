//! The Hessian trace of the cross entropy at unit mean margin, which the size of the logits does not change.

use crate::flags::Flags;
use crate::images::Images;
use anyhow::Result;
use candle_core::DType;
use flat_data::Loader;
use flat_nn::{Mode, Model};
use flat_run::Ui;
use flat_run::measure::{TraceSettings, trace};
use flat_run::parts::{self, RunParts};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Probes of a trace along a run, and of one at unit margin.
pub(super) const PROBES: u64 = 8;

/// What is found once the last layer's weights and biases are divided by the mean margin, the label's logit less the
/// largest other one: the network answers as before, its mean margin is 1.
///
/// Cross entropy has no minimum once all images are classified rightly: it falls as the logits grow, and its Hessian with
/// it. Of two sets of weights that differ in the size of the last layer alone, this number is the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct UnitMargin {
    /// The mean margin before.
    pub margin: f64,
    /// Trace of the training loss's Hessian over the number of parameters, after.
    pub trbar: f64,
    /// Its 95 % interval over the probes.
    pub trbar_ci95: Option<[f64; 2]>,
}

/// Measures the weights in `file`, on the training images that the Hessian is of. `None` where the mean margin is not
/// above 0, so that the network does not fit, and where a signal asked to stop. Costs a forward pass and the products of
/// the probes.
///
/// # Errors
/// A missing or damaged file; candle's.
pub(super) fn at_unit_margin(flags: &Flags, images: &Images, file: PathBuf, ui: Ui) -> Result<Option<UnitMargin>> {
    let config = flags.with("init", file.display().to_string()).config()?;
    let opened = parts::open(&config)?;
    let (train, test, dir) = (images.train.clone(), images.test.clone(), images.dir.clone());
    let data = parts::data_of(&config, train, test, dir, &opened.device)?;
    let parts = RunParts::on(&config, data, opened, true)?;
    let margin = mean_margin(&parts.model, &parts.data.along)?;
    if !(margin.is_finite() && margin > 0.0) {
        return Ok(None);
    }
    divide_last_layer(&parts.model, margin)?;
    let settings = TraceSettings::of_training(&config, PROBES);
    let found = trace(&parts.model, parts.loss, &parts.data.along, &settings, ui)?;
    Ok(found.map(|trace| UnitMargin { margin, trbar: trace.trace_normalized, trbar_ci95: trace.trace_normalized_ci95 }))
}

/// The label's logit less the largest other one, over all images.
fn mean_margin(model: &Model, data: &Loader) -> Result<f64> {
    let (mut sum, mut seen) = (0.0, 0);
    for index in 0..data.batches_per_epoch() {
        let batch = data.batch(0, index)?;
        let logits = model.logits_no_grad(&batch.images, Mode::Eval)?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        for (logits, label) in logits.iter().zip(batch.labels.to_vec1::<u32>()?) {
            let label = label as usize;
            let others = logits.iter().enumerate().filter(|(class, _)| *class != label);
            sum += logits[label] - others.fold(f64::NEG_INFINITY, |most, (_, x)| most.max(*x));
        }
        seen += batch.len();
    }
    Ok(sum / seen as f64)
}

fn divide_last_layer(model: &Model, by: f64) -> Result<()> {
    let mut state = model.state()?;
    for kind in ["weight", "bias"] {
        if let Some(tensor) = state.get_mut(&format!("{}.{kind}", model.last_layer())) {
            *tensor = (&*tensor / by)?;
        }
    }
    Ok(model.set_state(&state)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use flat_core::Streams;
    use flat_data::{DatasetKind, Split};
    use flat_nn::{Loss, ModelConfig};
    use std::sync::Arc;

    /// A small network on noise and its loader.
    fn fixture(channels: usize) -> Result<(Model, Loader)> {
        let config = ModelConfig {
            channels: Some(channels),
            ..parts::model_config(flat_nn::networks::LENET, DatasetKind::Mnist)
        };
        let model = Model::new(&config, DType::F64, &Device::Cpu, &Streams::new(3))?;
        let pixels = (0..6 * 784).map(|i| (i * 37 % 251) as u8).collect();
        let split = Arc::new(Split::new(pixels, vec![0, 1, 2, 3, 4, 5], [1, 28, 28], 10)?);
        let data = parts::plain_loader(split, DatasetKind::Mnist.normalisation(), 4, DType::F64, &Device::Cpu)?;
        Ok((model, data))
    }

    #[test]
    fn the_last_layer_alone_decides_the_margin_and_its_size_does_not_count() -> Result<()> {
        let (model, data) = fixture(2)?;
        let settings = TraceSettings::of_training(&Flags::default().config()?, 4);
        let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
        let measured = || -> Result<f64> {
            let found = trace(&model, loss, &data, &settings, Ui::NONE)?;
            Ok(found.map_or(f64::NAN, |t| t.trace_normalized))
        };
        let margin = mean_margin(&model, &data)?;
        // by hand: logits of the first batch's first image
        assert!(margin < 0.0 && margin > -1.0, "weights at random know nothing: {margin}");
        divide_last_layer(&model, -margin)?;
        assert!((mean_margin(&model, &data)? + 1.0).abs() < 1e-12);
        let once = measured()?;
        divide_last_layer(&model, 0.01)?;
        assert!((measured()? / once - 1.0).abs() > 0.1, "a hundred times the logits, another trace");
        let margin = mean_margin(&model, &data)?;
        assert!((margin + 100.0).abs() < 1e-9, "{margin}");
        divide_last_layer(&model, -margin)?;
        assert!((measured()? / once - 1.0).abs() < 1e-9, "{} {once}", measured()?);
        Ok(())
    }
}
