//! Losses of single examples, and gradients of chosen ones.

use super::Oracle;
use super::evaluate::Mean;
use crate::{Result, Rows, Sample, Scalar};
use candle_core::{DType, Tensor};
use flat_core::ParamVec;

impl Oracle<'_> {
    /// Loss and gradient at theta, and the loss of each row. Waits for the device.
    ///
    /// # Errors
    /// As [`Self::gradient`]; [`crate::Error::Unmet`] for an objective without losses of single examples.
    pub fn gradient_and_losses(&mut self, rows: Rows) -> Result<(Sample, Vec<f64>)> {
        let (mut mean, mut each) = (Mean::default(), Vec::new());
        for (part, weight) in self.parts(rows)? {
            let query = self.query(part, 1.0)?;
            let (sample, losses) = self.objective.losses_and_grad(self.params, query)?;
            mean.add(weight, self.checked(sample, "at theta")?)?;
            each.append(&mut on_host(&losses)?);
        }
        Ok((mean.sample()?, each))
    }

    /// The loss of each row at `theta + by * dir`, by forward passes: a third of a gradient. Waits for the device.
    ///
    /// # Errors
    /// As [`Self::gradient_and_losses`].
    pub fn losses_at(&mut self, by: impl Into<Scalar>, dir: &ParamVec, rows: Rows) -> Result<Vec<f64>> {
        let parts = self.parts(rows)?;
        self.at(by.into(), dir, |f| {
            let mut each = Vec::new();
            for (part, _) in parts {
                let query = f.query(part, 1.0 / 3.0)?;
                each.append(&mut on_host(&f.objective.losses(query)?)?);
            }
            Ok(each)
        })
    }

    /// Mean loss and gradient over chosen rows, ascending indices, at `theta + by * dir`.
    ///
    /// # Errors
    /// As [`Self::gradient_and_losses`].
    pub fn chosen_gradient_at(&mut self, by: impl Into<Scalar>, dir: &ParamVec, chosen: &[u32]) -> Result<Sample> {
        let start = self.window.as_ref().map_or(0, |window| window.start) as u32;
        let chosen: Vec<u32> = chosen.iter().map(|row| start + row).collect();
        let most = self.rows.div_ceil(self.micro_batches);
        self.at(by.into(), dir, |f| {
            let mut mean = Mean::default();
            for part in chosen.chunks(most) {
                f.count(part.len() as f64 / f.rows as f64);
                let sample = f.objective.chosen_loss_and_grad(f.params, part, false)?;
                let sample = f.checked(sample, "at the perturbed parameters")?;
                mean.add(part.len() as f64 / chosen.len() as f64, sample)?;
            }
            mean.sample()
        })
    }
}

/// The elements of a vector.
#[expect(clippy::disallowed_methods, reason = "which examples come next depends on them")]
fn on_host(losses: &Tensor) -> Result<Vec<f64>> {
    Ok(losses.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
}
