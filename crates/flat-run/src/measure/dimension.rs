//! Intrinsic dimension of the hidden states before the last layer.

use super::along::{Along, Moment};
use super::interface::{InAll, Measure};
use super::provenance::{Provenance, Taken};
use crate::parts::subject::LoadedCheckpoint;
use crate::settings::args::{EvalArgs, HessianArgs};
use crate::settings::choice::BnModeName;
use crate::signal;
use crate::store::line::Point;
use crate::ui::Ui;
use crate::usage::flags_of;
use crate::value::table::item;
use anyhow::Result;
use candle_core::DType;
use flat_core::setting::Range;
use flat_data::Loader;
use flat_metrics::{Error, IntrinsicDimension, Measured, Progress, TwoNn};
use flat_nn::{Mode, Model};

flat_core::settings! {
    /// Flags of `metrics dimension`; without --limit it takes the first 2000 images, as the cost grows with the square.
    #[derive(Debug, Clone)]
    pub struct DimensionArgs {
        bn_mode as "bn-mode" of HessianArgs: BnModeName = BnModeName::Eval;
        /// Fraction of the largest distance ratios left out.
        discard as "discard": f64 = TwoNn::default().discard, range: Range::BelowOne;
    }
    with {
        /// The checkpoint and the data.
        on: EvalArgs;
    }
}

/// Images looked at where `--limit` does not say it.
const IMAGES: usize = 2000;

impl Measure for DimensionArgs {
    const NAME: &'static str = "dimension";
    const ABOUT: &'static str = "Intrinsic dimension of the hidden states before the last layer by TwoNN";
    const IN_ALL: Option<InAll> = Some(InAll { title: Some("Hidden states"), ..InAll::PLAIN });
    const ALONG: Option<Along> = Some(Along {
        name: "dimension",
        title: "Intrinsic dimension of the hidden states",
        band: "the 95 % interval",
        take: along,
    });

    type Found = IntrinsicDimension;

    fn on(&self) -> EvalArgs {
        EvalArgs { limit: self.on.limit.or(Some(IMAGES)), ..self.on.clone() }
    }

    fn take(&self, subject: &LoadedCheckpoint, ui: Ui) -> Result<Option<Taken<IntrinsicDimension>>> {
        let (images, method) = (self.on.limit.unwrap_or(IMAGES), TwoNn { discard: self.discard });
        let found = states(&subject.model, self.bn_mode.mode(), &subject.data, images, &method, ui)?;
        let Some(found) = found else { return Ok(None) };
        let computed = flat_metrics::Provenance { batches: None, ..found.provenance.clone() };
        let provenance = Provenance::of_subject(subject, &self.on, self.bn_mode, computed)?;
        Ok(Some(found.placed(|_| provenance)))
    }

    fn table(d: &Taken<IntrinsicDimension>) -> String {
        let [lo, hi] = d.ci95;
        let copies = if d.duplicates > 0 { format!(", {} of them duplicates", d.duplicates) } else { String::new() };
        item(&format!(
            "intrinsic dimension of the hidden states  {:.2}  [{lo:.2}, {hi:.2}]  (TwoNN, {} points in {} dimensions{copies}; \
             {} ratios kept, {} clusters)",
            d.value, d.points, d.coordinates, d.kept, d.clusters
        ))
    }
}

fn along(now: &Moment<'_>) -> Result<Option<Point>> {
    let found = states(now.model, Mode::Eval, now.data, now.data.split().len(), &TwoNn::default(), now.ui)?;
    found.map(|found| Ok(Point::new(&found)?)).transpose()
}

/// Estimates on the inputs of the last layer for the first `images` of the data; `None` where a signal asked to stop: nearest
/// neighbours among a part of the points are of another set. Cost: a forward pass, and `images^2` distances.
///
/// # Errors
/// Fewer than 10 different states; a state that is not finite; candle's.
fn states(
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
        found => found.map(Some).map_err(|e| flags_of(e, &[])),
    }
}
