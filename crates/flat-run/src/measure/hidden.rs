//! Intrinsic dimension of the hidden states.

use crate::signal;
use crate::ui::Ui;
use crate::usage::flag_of;
use anyhow::Result;
use candle_core::DType;
use flat_data::Loader;
use flat_metrics::{Error, IntrinsicDimension, Measured, Progress, TwoNn};
use flat_nn::{Mode, Model};

/// Estimates on the inputs of the last layer for the first `images` of the data; `None` where a signal asked to stop: nearest
/// neighbours among a part of the points are of another set. Cost: a forward pass, and `images^2` distances.
///
/// # Errors
/// Fewer than 10 different states; a state that is not finite; candle's.
pub fn dimension(
    model: &Model,
    mode: Mode,
    data: &Loader,
    images: usize,
    method: &TwoNn,
    ui: Ui,
) -> Result<Option<Measured<IntrinsicDimension>>> {
    let (mut points, mut width, mut seen) = (Vec::new(), 0, 0);
    for index in 0..data.batches_per_epoch() {
        if seen >= images {
            break;
        }
        if signal::stop_requested() {
            return Ok(None);
        }
        let states = model.features(&data.batch(0, index)?.images, mode)?;
        width = states.dim(1)?;
        let take = states.dim(0)?.min(images - seen);
        points.extend(states.narrow(0, 0, take)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?);
        seen += take;
    }
    let mut bar = ui.bar("intrinsic dimension", 0, seen as u64, "points");
    let found = method.run(&points, width, &mut |p: &Progress| {
        bar.update(p.done, String::new);
        signal::go_on()
    });
    drop(bar);
    match found {
        Err(Error::Interrupted) => Ok(None),
        found => found.map(Some).map_err(flag_of),
    }
}
