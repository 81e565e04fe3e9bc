//! A run of the comparison: trained on all training images, scored on test images, measured at its end.

use crate::flags::Flags;
use crate::images::Images;
use crate::margin::at_unit_margin;
use crate::study::Study;
use crate::training::{Fit, measured, timed};
use anyhow::Result;
use flat_run::signal;

/// A run as a cell of the study, with its trace where margins do not count as well; `None` where a signal asked to stop.
///
/// # Errors
/// As [`timed`].
pub(super) fn run(study: &mut Study<'_>, key: &str, flags: &Flags, images: &Images) -> Result<Option<Fit>> {
    let folder = study.folder("runs")?.join(key);
    let flags = measured(flags, images, 0);
    let sizes = (images.train.len(), images.test.len());
    study.cell_in(std::slice::from_ref(&folder), key, &(flags.kept()?, sizes, "at unit margin"), |ui| {
        let Some(mut fit) = timed(&flags, images, &images.train, &images.test, &folder, ui)? else { return Ok(None) };
        if fit.end().is_some() {
            fit.unit_margin = at_unit_margin(&flags, images, folder.join("model.safetensors"), ui)?;
            if signal::stop_requested() {
                return Ok(None);
            }
        }
        Ok(Some(fit))
    })
}
