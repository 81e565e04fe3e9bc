//! A measure taken along a run.

use crate::settings::config::RunConfig;
use crate::store::line::Point;
use crate::ui::Ui;
use anyhow::Result;
use flat_data::Loader;
use flat_nn::{Loss, Model};

/// A measure that runs take while they train: an entry of the journal's lines, a panel and a row of the report.
#[derive(Clone, Copy)]
pub struct Along {
    /// In `--flatness`.
    pub name: &'static str,
    /// The quantity, as the title of its panel.
    pub title: &'static str,
    /// What the interval of a point means.
    pub band: &'static str,
    /// Takes it; `None` where a signal asked to stop. The same random vectors every time: a curve's differences carry less
    /// noise than its points.
    pub take: fn(&Moment<'_>) -> Result<Option<Point>>,
}

/// A run at one step.
pub struct Moment<'a> {
    /// Its settings.
    pub config: &'a RunConfig,
    /// The weights that it would hand out now.
    pub model: &'a Model,
    /// Its loss.
    pub loss: Loss,
    /// Training images, without augmentation.
    pub data: &'a Loader,
    /// Where progress is shown.
    pub ui: Ui<'a>,
}
