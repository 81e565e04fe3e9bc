//! The Hessian of a model's loss: BatchNorm mode and the method of its products.

use crate::settings::args::HessianArgs;
use crate::settings::choice::{BnModeName, HvpName};
use flat_core::{Purpose, Streams};
use flat_data::Loader;
use flat_metrics::{DifferenceHessian, DoubleBackwardHessian, LinearOperator, ModelObjective, TangentHessian};
use flat_nn::{Loss, Mode, Model};

/// Groups of images that the error from their choice is found from: 31 degrees of freedom.
const GROUPS: usize = 32;

/// The BatchNorm mode of a Hessian and the method of its products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HessianMethod {
    /// BatchNorm statistics.
    pub bn_mode: BnModeName,
    /// Hessian-vector products.
    pub hvp: HvpName,
}

impl HessianMethod {
    /// What the flags ask for.
    pub fn of(args: &HessianArgs) -> Self {
        Self { bn_mode: args.bn_mode, hvp: args.hvp }
    }

    /// The model's mode.
    pub fn mode(self) -> Mode {
        self.bn_mode.mode()
    }

    /// The mean loss over the data, streamed batch by batch.
    ///
    /// # Errors
    /// None in practice.
    pub fn objective<'a>(
        self,
        model: &'a Model,
        loss: Loss,
        data: &'a Loader,
    ) -> flat_metrics::Result<ModelObjective<'a>> {
        let (size, total) = (data.options().batch_size, data.split().len());
        let sizes = (0..data.batches_per_epoch()).map(|i| size.min(total - i * size)).collect();
        ModelObjective::streamed(model, loss, self.mode(), sizes, |i| {
            let batch = data.batch(0, i).map_err(|e| flat_metrics::Error::BadObjective(e.to_string()))?;
            Ok((batch.images, batch.labels))
        })
    }

    /// As [`Self::objective`], in 32 groups of images for the error from their choice. A group is a batch, or several
    /// where `--batch-size` is smaller: neither the groups nor the error depend on it. With batch statistics the loss itself
    /// is one of batches, which are the groups then.
    ///
    /// # Errors
    /// None in practice.
    pub fn grouped_objective<'a>(
        self,
        model: &'a Model,
        loss: Loss,
        data: &'a Loader,
    ) -> flat_metrics::Result<ModelObjective<'a>> {
        if model.has_batch_norm() && self.bn_mode == BnModeName::Batch {
            return self.objective(model, loss, data);
        }
        let total = data.split().len();
        // at random, whatever order the file has
        let order = Streams::new(0).at(Purpose::Subset, total as u64).permutation(total);
        let (count, size) = (GROUPS.min(total), data.options().batch_size);
        let (mut parts, mut groups) = (Vec::new(), Vec::new());
        for group in 0..count {
            for part in order[group * total / count..(group + 1) * total / count].chunks(size) {
                parts.push(part.to_vec());
                groups.push(group);
            }
        }
        let sizes = parts.iter().map(Vec::len).collect();
        let load = move |i: usize| {
            let batch = data.select(&parts[i]).map_err(|e| flat_metrics::Error::BadObjective(e.to_string()))?;
            Ok((batch.images, batch.labels))
        };
        ModelObjective::streamed(model, loss, self.mode(), sizes, load)?.grouped(groups)
    }

    /// Runs a measure on the Hessian of the mean loss over the data.
    ///
    /// # Errors
    /// A loss that is not deterministic; those of `measure`.
    pub fn hessian<T>(
        self,
        model: &Model,
        loss: Loss,
        data: &Loader,
        measure: impl FnOnce(&mut dyn LinearOperator) -> flat_metrics::Result<T>,
    ) -> flat_metrics::Result<T> {
        self.products(&self.objective(model, loss, data)?, measure)
    }

    /// Runs a measure on the Hessian of an objective.
    ///
    /// # Errors
    /// As [`Self::hessian`].
    pub fn products<T>(
        self,
        objective: &ModelObjective<'_>,
        measure: impl FnOnce(&mut dyn LinearOperator) -> flat_metrics::Result<T>,
    ) -> flat_metrics::Result<T> {
        match self.hvp {
            HvpName::Exact => measure(&mut TangentHessian::new(objective)?),
            HvpName::Double => measure(&mut DoubleBackwardHessian::new(objective)?),
            HvpName::Difference => measure(&mut DifferenceHessian::new(objective)?),
        }
    }
}

/// The mode of batch normalisation, and the batches where it depends on them.
pub fn mode_in_words(mode: &str, batch_size: usize) -> String {
    match mode {
        "batch" => format!("BatchNorm batch, {batch_size} images each"),
        mode => format!("BatchNorm {mode}"),
    }
}
