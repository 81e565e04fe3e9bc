//! A global minimum of the training loss that generalises badly, and a good one of the same network.

use super::images::{Images, zeroed_copies};
use super::training::{Fit, Point, measured, train};
use crate::flags::Flags;
use crate::scratch::keep;
use crate::study::Study;
use anyhow::{Result, bail};
use flat_run::store::write_whole;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Training accuracy at which a network counts as fitted.
pub(super) const FITTED: f64 = 0.999;

/// How a bad minimum is made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "kebab-case"), deny_unknown_fields)]
pub(super) struct Recipe {
    /// Copies of every image with random labels.
    pub copies: usize,
    /// Learning rate on the copies.
    pub lr: f64,
    /// Epochs over the copies at most.
    pub epochs: u64,
    /// Learning rate on the true labels.
    pub true_lr: f64,
    /// Epochs over the images with their true labels at most.
    pub true_epochs: u64,
    /// Epochs that go on after all are learnt, down into the minimum.
    pub more_epochs: u64,
    /// Epochs from random weights to the good minimum, at the learning rate of the copies.
    pub good_epochs: u64,
}

/// A bad minimum, and a good one reached from random weights by the same plain SGD.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Minima {
    /// After the random labels; training accuracy and loss are those on the copies.
    pub random: Point,
    /// The bad minimum.
    pub bad: Point,
    /// The good one.
    pub good: Point,
}

impl Minima {
    /// Whether the bad minimum is one: fitted, and at least ten points of test accuracy below the good one.
    pub fn is_bad(&self) -> bool {
        self.bad.train_accuracy >= FITTED && self.gap() >= 0.1
    }

    /// Test accuracy lost.
    pub fn gap(&self) -> f64 {
        self.good.held_out_accuracy - self.bad.held_out_accuracy
    }
}

/// Where the weights of a bad minimum are kept.
pub(super) fn weights(study: &Study<'_>, key: &str) -> Result<PathBuf> {
    Ok(study.folder("minima")?.join(format!("{key}.safetensors")))
}

/// Makes a bad minimum (Liu, Papailiopoulos & Achlioptas 2020, arXiv 1906.02613): fits copies of the images with random
/// labels, then goes on with the true ones, by plain SGD, in steps of a few epochs until all are learnt, and some epochs
/// more. `None` where a signal asked to stop.
///
/// # Errors
/// As [`train`]; weights that were deleted since.
pub(super) fn make(
    study: &mut Study<'_>,
    key: &str,
    flags: &Flags,
    images: &Images,
    recipe: Recipe,
) -> Result<Option<Minima>> {
    let (runs, kept) = (study.folder("runs")?, weights(study, key)?);
    let settings = (flags.kept()?, recipe, images.train.len(), images.test.len());
    let cell = format!("minimum-{key}");
    let folder = |part: &str| runs.join(format!("{key}-{part}"));
    let found = study.cell_in(&["random", "true", "good"].map(folder), &cell, &settings, |ui| {
        let at = |lr: f64| flags.with("lr", lr);
        let copies = zeroed_copies(&images.train, recipe.copies, flags.needed("seed")? as u64)?;
        let fit = |flags: &Flags, split, folder: &Path| train(flags, images, split, &images.test, folder, ui);
        let on_copies = |flags: &Flags| fit(flags, &copies, &folder("random"));
        let fitted = train_until_fitted(&at(recipe.lr), recipe.epochs, 25, &folder("random"), on_copies)?;
        let Some((_, random)) = fitted else { return Ok(None) };
        let init = folder("random").join("model.safetensors");
        let true_flags = at(recipe.true_lr).with("init", init.display().to_string());
        let (most, step) = (recipe.true_epochs, recipe.true_epochs.div_ceil(100));
        let on_true = |flags: &Flags| fit(flags, &images.train, &folder("true"));
        let Some(epochs) = epochs_to_fit(&true_flags, most, step, &folder("true"), on_true)? else { return Ok(None) };
        // the same run, which has little left to do but to be measured
        let last = measured(&true_flags, images, 0).count("epochs", epochs + recipe.more_epochs);
        let Some(bad) = on_true(&last)? else { return Ok(None) };
        let good = measured(&at(recipe.lr), images, 0).count("epochs", recipe.good_epochs);
        let Some(good) = fit(&good, &images.train, &folder("good"))? else { return Ok(None) };
        keep(&folder("true").join("model.safetensors"), &kept)?;
        Ok(Some(Minima { random, bad: end(bad)?, good: end(good)? }))
    })?;
    if found.is_some() && !kept.is_file() {
        bail!("{} is gone; delete cells/{cell}.json beside it to have it made again", kept.display());
    }
    Ok(found)
}

/// Trains in `folder` for more and more epochs, `step` by `step`, until the training set is fitted or `most` are spent: how
/// many that took, and where it ended.
fn train_until_fitted(
    flags: &Flags,
    most: u64,
    step: u64,
    folder: &Path,
    mut train: impl FnMut(&Flags) -> Result<Option<Fit>>,
) -> Result<Option<(u64, Point)>> {
    // where an interrupted sitting was headed, so that the next one looks at the accuracy after the same epochs
    let file = folder.join("epochs");
    let mut epochs = noted(&file, flags)?.unwrap_or(step).min(most);
    loop {
        let Some(fit) = train(&flags.count("epochs", epochs))? else { return Ok(None) };
        let point = end(fit)?;
        if point.train_accuracy >= FITTED || epochs == most {
            return Ok(Some((epochs, point)));
        }
        epochs = (epochs + step).min(most);
        note(&file, flags, epochs)?;
    }
}

/// The epochs that [`train_until_fitted`] takes, from its first sitting once that has come to an end: the run in `folder` may have
/// gone on since.
fn epochs_to_fit(
    flags: &Flags,
    most: u64,
    step: u64,
    folder: &Path,
    train: impl FnMut(&Flags) -> Result<Option<Fit>>,
) -> Result<Option<u64>> {
    let file = folder.join("fitted");
    if let Some(epochs) = noted(&file, flags)? {
        return Ok(Some(epochs));
    }
    let Some((epochs, _)) = train_until_fitted(flags, most, step, folder, train)? else { return Ok(None) };
    note(&file, flags, epochs)?;
    Ok(Some(epochs))
}

/// A number of epochs, if it was noted of a run with these flags: the folder may be one of a study with other settings.
fn noted(file: &Path, flags: &Flags) -> Result<Option<u64>> {
    let found = std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice::<(Value, u64)>(&bytes).ok());
    let of: Value = serde_json::from_str(&flags.kept()?.to_string())?;
    Ok(found.filter(|(with, _)| *with == of).map(|(_, epochs)| epochs))
}

fn note(file: &Path, flags: &Flags, epochs: u64) -> Result<()> {
    write_whole(file, &serde_json::to_vec(&(flags.kept()?, epochs))?)
}

fn end(fit: Fit) -> Result<Point> {
    match fit.end() {
        Some(point) => Ok(point.clone()),
        None => bail!("no minimum was reached: {}", fit.diverged.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that has fitted everything after so many epochs.
    fn fits_after(epochs: u64) -> impl FnMut(&Flags) -> Result<Option<Fit>> {
        move |flags| {
            let done = flags.number("epochs").unwrap_or_default() as u64;
            let train_accuracy = if done >= epochs { 1.0 } else { 0.5 };
            let point = Point {
                step: done,
                evals: done as f64,
                train_loss: 0.1,
                train_accuracy,
                held_out_loss: 1.0,
                held_out_accuracy: 0.5,
                trbar: None,
                trbar_ci95: None,
                lambda_max: None,
                groups: None,
                wall_s: None,
            };
            Ok(Some(Fit { points: vec![point], diverged: None, unit_margin: None }))
        }
    }

    #[test]
    fn a_fitted_run_is_not_asked_for_fewer_epochs_than_it_may_have_had_since() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let flags = Flags::default();
        assert_eq!(epochs_to_fit(&flags, 100, 2, dir.path(), fits_after(5))?, Some(6));
        let untouched = |_: &Flags| bail!("it has gone on to its 9th epoch");
        assert_eq!(epochs_to_fit(&flags, 100, 2, dir.path(), untouched)?, Some(6));
        // what an earlier study with other settings left is not taken for it
        assert_eq!(epochs_to_fit(&flags.with("lr", 0.5), 100, 2, dir.path(), fits_after(3))?, Some(4));
        Ok(())
    }

    #[test]
    fn a_stopped_sitting_goes_on_at_the_epochs_it_was_headed_for() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let flags = Flags::default();
        let mut asked = Vec::new();
        let mut sitting = |stop_at: u64| {
            let mut run = fits_after(5);
            epochs_to_fit(&flags, 100, 2, dir.path(), |flags| {
                let epochs = flags.number("epochs").unwrap_or_default() as u64;
                asked.push(epochs);
                if epochs >= stop_at { Ok(None) } else { run(flags) }
            })
        };
        assert_eq!(sitting(4)?, None);
        assert_eq!(sitting(100)?, Some(6));
        assert_eq!(asked, [2, 4, 4, 6]);
        Ok(())
    }
}
