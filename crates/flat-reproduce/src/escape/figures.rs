//! The plots of the page.

use super::part::File;
use super::{Contender, Outcome};
use crate::markdown::Block;
use crate::training::Point;
use anyhow::Result;
use flat_plot::{Axis, Chart, Point as Mark, Series, curves};
use flat_run::store::write_whole;
use std::path::Path;

/// Draws trace and test accuracy along the evaluations into the folder.
pub(super) fn figures(folder: &Path, file: &File, outcome: &Outcome) -> Result<Vec<Block>> {
    let mut drawn = Vec::new();
    let seeds = outcome.minima.len();
    let caption = format!("{}; means of {seeds} seeds, the bands reach from the lowest to the highest", outcome.title);
    for (name, heading, label, logarithmic) in [
        ("trbar", "Trace along the evaluations", "trace of the Hessian / d", true),
        ("test", "Test accuracy along the evaluations", "test accuracy, %", false),
    ] {
        let value = |p: &Point| match logarithmic {
            true => p.trbar,
            false => Some(100.0 * p.held_out_accuracy),
        };
        let names: Vec<String> = outcome.contenders.iter().map(|c| label_of(file, c)).collect::<Result<_>>()?;
        let series = outcome
            .contenders
            .iter()
            .zip(&names)
            .map(|(c, name)| Series { name, points: marks(outcome, c, &value, logarithmic), dashed: false })
            .filter(|s| !s.points.is_empty())
            .collect();
        let svg = format!("{}-{name}.svg", outcome.part);
        let chart = Chart {
            title: heading,
            caption: &caption,
            x: Axis { label: "gradient evaluations", logarithmic: false },
            y: Axis { label, logarithmic },
            series,
        };
        write_whole(&folder.join(&svg), curves(&chart)?.as_bytes())?;
        drawn.push(Block::figure(svg, format!("{heading}. {caption}.")));
    }
    Ok(drawn)
}

fn label_of(file: &File, contender: &Contender) -> Result<String> {
    let Contender { name, setting, .. } = contender;
    let [size, ..] = setting.numbers();
    let isotropic = file.method(&setting.method)?.flags.text("optimizer") == Some("nso");
    Ok(match setting.size() {
        0.0 => name.clone(),
        _ if isotropic => format!("{name}, {size}"),
        _ => format!("{name}, rho {size}"),
    })
}

/// The means over the seeds, from the bad minimum on, with the lowest and the highest as band.
fn marks(outcome: &Outcome, c: &Contender, value: &dyn Fn(&Point) -> Option<f64>, geometric: bool) -> Vec<Mark> {
    let paths: Vec<Vec<&Point>> =
        outcome.minima.iter().zip(&c.fits).map(|(m, fit)| [&m.bad].into_iter().chain(&fit.points).collect()).collect();
    let length = paths.iter().map(Vec::len).min().unwrap_or_default();
    (0..length)
        .filter_map(|i| {
            let values: Vec<f64> = paths.iter().map(|path| value(path[i])).collect::<Option<_>>()?;
            let mean = |f: fn(f64) -> f64| values.iter().map(|x| f(*x)).sum::<f64>() / values.len() as f64;
            let y = if geometric { mean(f64::ln).exp() } else { mean(|x| x) };
            // the bad minimum's own evaluations are not counted
            let x = if i == 0 { 0.0 } else { paths.iter().map(|p| p[i].evals).sum::<f64>() / paths.len() as f64 };
            let ends = values.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[lo, hi], v| [lo.min(*v), hi.max(*v)]);
            Some(Mark { x, y, band: (values.len() > 1).then_some(ends) })
        })
        .collect()
}
