//! The gradient's share in the dominant subspace at given weights.

use crate::flags::Flags;
use crate::images::Images;
use anyhow::{Context, Result};
use flat_optim::Subspace;
use flat_run::parts::{self, HessianSubspace, RunParts};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is known of the dominant subspace at given weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Aligned {
    /// `|P G| / |G|` of the gradient G of the whole training loss.
    pub share: f64,
    /// `lambda_k - lambda_(k+1)`.
    pub gap: f64,
    /// Hessian products that it took to find it from nothing.
    pub products: u64,
}

/// Measures it at the weights of a file, on the training images.
///
/// # Errors
/// A file without such weights; candle's; eigenvectors that cannot be found.
pub(super) fn aligned(flags: &Flags, images: &Images, weights: &Path) -> Result<Aligned> {
    let config = flags.with("init", weights.display().to_string()).config()?;
    let opened = parts::open(&config)?;
    let data = parts::data_of(&config, images.train.clone(), images.test.clone(), images.dir.clone(), &opened.device)?;
    let RunParts { model, loss, data, .. } = RunParts::on(&config, data, opened, true)?;
    let mut subspace = HessianSubspace::of_run(&config, &model, loss, &data)?;
    let share = subspace.share(model.params(), 0)?;
    let account = subspace.account();
    Ok(Aligned {
        share,
        gap: account.gap.context("the model has more weights than classes")?,
        products: account.products,
    })
}
