//! Loss and accuracy of a model over a part of a data set.

use crate::parts::group_score::GroupScore;
use crate::parts::tally::right_answers;
use crate::ranks;
use crate::signal;
use crate::ui::Ui;
use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use flat_comm::Ranks;
use flat_core::ParamVec;
use flat_data::Loader;
use flat_metrics::{ModelObjective, Objective};
use flat_nn::{Loss, Mode, Model};
use serde::Serialize;
use std::time::Instant;

/// Mean loss and accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Score {
    /// Mean loss.
    pub loss: f64,
    /// Fraction of rightly classified images, in 0..1.
    pub accuracy: f64,
    /// Images.
    pub examples: usize,
    /// Accuracies over groups, where the data has a spurious attribute.
    #[serde(flatten)]
    pub groups: Option<GroupScore>,
}

/// Evaluates with a progress bar; `None` where a signal asked to stop. Cost: one forward pass over the data.
///
/// # Errors
/// candle's.
pub fn evaluate(model: &Model, loss: Loss, data: &Loader, mode: Mode, what: &str, ui: Ui) -> Result<Option<Score>> {
    let mut bar = ui.bar(what, 0, data.batches_per_epoch() as u64, "batches");
    tracing::debug!(what, images = data.split().len(), "evaluation begun");
    let begun = Instant::now();
    let found =
        score(model, loss, data, mode, |done, accuracy| bar.update(done, || format!("accuracy {accuracy:.4}")))?;
    let (s, score) = (begun.elapsed().as_secs_f64(), found.as_ref());
    tracing::info!(what, loss = score.map(|of| of.loss), accuracy = score.map(|of| of.accuracy), s, "evaluation ended");
    Ok(found)
}

/// Loss and accuracy, calling `progress` with the batches done and the accuracy so far; `None` where a signal asked to
/// stop. Cost: one forward pass over the data.
///
/// # Errors
/// candle's.
pub fn score(
    model: &Model,
    loss: Loss,
    data: &Loader,
    mode: Mode,
    mut progress: impl FnMut(u64, f64),
) -> Result<Option<Score>> {
    let ranks = ranks::here();
    let batches = data.batches_per_epoch();
    let own = ranks.own(batches);
    let first = own.start;
    // of every batch its loss, and of its images which they are and whether they are right
    let mut found = Vec::with_capacity(own.len());
    let (mut right, mut seen) = (0.0, 0);
    for index in own {
        if signal::stop_requested() {
            return Ok(None);
        }
        let batch = data.batch(0, index)?;
        let logits = model.logits_no_grad(&batch.images, mode)?;
        let mean = loss.mean(&logits, &batch.labels)?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        let answers = right_answers(&logits, &batch.labels)?.to_vec1::<u8>()?;
        right += answers.iter().map(|is_right| f64::from(*is_right)).sum::<f64>();
        seen += batch.len();
        found.push(Scored { loss: mean * batch.len() as f64, examples: batch.indices, answers });
        progress(((index - first + 1) * ranks.size()).min(batches) as u64, right / seen as f64);
    }
    let (mut loss_sum, mut right, mut seen, mut each) = (0.0, 0.0, 0, vec![false; data.split().len()]);
    for Scored { loss, examples, answers } in Scored::of_all_ranks(&ranks, found)? {
        loss_sum += loss;
        seen += examples.len();
        for (example, is_right) in examples.into_iter().zip(answers) {
            each[example] = is_right == 1;
            right += f64::from(is_right);
        }
    }
    let groups = data.split().groups().and_then(|groups| GroupScore::of(groups, &each));
    Ok(Some(Score { loss: loss_sum / seen as f64, accuracy: right / seen as f64, examples: seen, groups }))
}

/// What was found of a batch.
struct Scored {
    /// Sum of the losses.
    loss: f64,
    examples: Vec<usize>,
    /// Of each example, 1 where it is right.
    answers: Vec<u8>,
}

impl Scored {
    /// Those of all batches, of which every rank has found its own.
    fn of_all_ranks(ranks: &Ranks, own: Vec<Self>) -> Result<Vec<Self>> {
        if ranks.is_alone() {
            return Ok(own);
        }
        let numbers = own.iter().flat_map(|Self { loss, examples, answers }| {
            let pairs = examples.iter().zip(answers).flat_map(|(e, a)| [*e as f64, f64::from(*a)]);
            [*loss, examples.len() as f64].into_iter().chain(pairs)
        });
        let all = ranks.join(&numbers.collect::<Vec<_>>())?;
        let (mut rest, mut scored) = (&all[..], Vec::new());
        while let [loss, examples, more @ ..] = rest {
            let (pairs, after) = more.split_at(2 * *examples as usize);
            let (examples, answers) = pairs.chunks(2).map(|pair| (pair[0] as usize, pair[1] as u8)).unzip();
            scored.push(Self { loss: *loss, examples, answers });
            rest = after;
        }
        Ok(scored)
    }
}

/// Norm of the gradient of an objective; `None` where a signal asked to stop. Cost: a gradient of it.
///
/// # Errors
/// A loss that is not finite; candle's.
pub fn gradient_norm(objective: &ModelObjective<'_>) -> Result<Option<f64>> {
    let mut sum = ParamVec::zeros(objective.params().space())?;
    for index in 0..objective.batches() {
        if signal::stop_requested() {
            return Ok(None);
        }
        sum.add_scaled(objective.weight(index), &objective.loss_and_gradient(index)?.1)?;
    }
    Ok(Some(sum.norm()?))
}

/// The loss of logits that are all 0, a prediction that ignores the image.
///
/// # Errors
/// candle's.
pub fn constant_loss(loss: Loss, classes: usize) -> Result<f64> {
    let logits = Tensor::zeros((1, classes), DType::F64, &Device::Cpu)?;
    Ok(loss.mean(&logits, &Tensor::zeros(1, DType::U32, &Device::Cpu)?)?.to_scalar::<f64>()?)
}
