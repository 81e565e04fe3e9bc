//! The plots of the page.

use super::Findings;
use super::sweep::{Along, Family, Swept};
use super::walk::Algorithm;
use crate::markdown::Block;
use anyhow::Result;
use flat_plot::{Axis, Chart, Point, Series, curves};
use flat_run::store::write_whole;
use std::path::Path;

/// Draws all into the folder.
pub(super) fn draw(found: &Findings, folder: &Path) -> Result<Vec<Block>> {
    let mut drawn = Vec::new();
    let mut figure = |file: &str, svg: String, caption: &str| -> Result<()> {
        write_whole(&folder.join(file), svg.as_bytes())?;
        drawn.push(Block::figure(file, caption));
        Ok(())
    };
    for (family, along, file, title) in [
        (Family::Bowl, Along::Eps, "steps-eps-bowl.svg", "Steps until (eps, sqrt eps)-flat: bowl, D = 4"),
        (Family::Valley, Along::Eps, "steps-eps-valley.svg", "Steps until (eps, sqrt eps)-flat: valley, D = 4"),
        (Family::Bowl, Along::Dim, "steps-d-bowl.svg", "Steps until (eps, sqrt eps)-flat over D: bowl"),
        (Family::Valley, Along::Dim, "steps-d-valley.svg", "Steps until (eps, sqrt eps)-flat over D: valley"),
    ] {
        let lines: Vec<&Swept> = found
            .sweeps
            .iter()
            .filter(|s| s.line.family == family && s.line.along == along && s.fit.is_some())
            .collect();
        if !lines.is_empty() {
            figure(file, sweep(&lines, along, title)?, SWEEP)?;
        }
    }
    figure(
        "drift.svg",
        drifts(found)?,
        "Measured drift of SA over that of RS, with 95 % intervals, beside the line D.",
    )?;
    figure("trajectories.svg", ends(found)?, "trbar at Phi(x) along the walk of the first seed on (x1 x2 - 1)^2.")?;
    let caption = "The sparse regression: trbar at Phi(x) over its smallest value, by gradients spent.";
    figure("manifold.svg", manifold(found)?, caption)?;
    Ok(drawn)
}

/// What is drawn of a sweep.
const SWEEP: &str = "Marks: mean steps over the seeds with 95 % intervals. First dashed line after each: the steps of the \
                     mean drift. Second: the theorem's bound with its factor chosen to pass through the first mark.";

fn plain(x: f64, y: f64) -> Point {
    Point { x, y, band: None }
}

fn sweep(lines: &[&Swept], along: Along, title: &str) -> Result<String> {
    let names: Vec<[String; 3]> = lines
        .iter()
        .map(|s| {
            let (name, regime) = (s.line.algorithm.name(), &s.line.regime);
            let bound = s.line.bound.unwrap_or_default();
            [format!("{name} {regime}"), "mean drift".into(), format!("bound, exponent {bound}")]
        })
        .collect();
    let mut series = Vec::new();
    for (s, [name, drift, bound]) in lines.iter().zip(&names) {
        let xs: Vec<f64> = s.line.places.iter().map(|p| s.line.coordinate(*p)).collect();
        let mut points = Vec::new();
        for (x, found) in xs.iter().zip(&s.found) {
            if let Some(steps) = found.mean(|w| w.steps as f64) {
                let steps = steps?;
                points.push(Point { x: *x, y: steps.value, band: Some(steps.ci95) });
            }
        }
        let exponent = s.line.bound.unwrap_or_default();
        let bounds = points.first().map_or_else(Vec::new, |first| {
            xs.iter().map(|x| plain(*x, first.y * (x / first.x).powf(exponent))).collect()
        });
        series.push(Series { name, points, dashed: false });
        let drifts = xs.iter().zip(&s.found).map(|(x, f)| plain(*x, f.predicted)).collect();
        series.push(Series { name: drift, points: drifts, dashed: true });
        series.push(Series { name: bound, points: bounds, dashed: true });
    }
    let x = Axis { label: if along == Along::Eps { "eps" } else { "D" }, logarithmic: true };
    let y = Axis { label: "steps", logarithmic: true };
    curves(&Chart { title, caption: "logarithmic axes; mean over the seeds", x, y, series })
}

fn drifts(found: &Findings) -> Result<String> {
    let mut rhos: Vec<f64> = found.drifts.iter().map(|d| d.setting.rho).collect();
    rhos.sort_by(|a, b| b.total_cmp(a));
    rhos.dedup();
    let names: Vec<String> = rhos.iter().map(|rho| format!("rho = {rho}")).collect();
    let mut series = Vec::new();
    for (rho, name) in rhos.iter().zip(&names) {
        let of_rho = found.drifts.iter().filter(|d| d.setting.rho == *rho);
        let points =
            of_rho.map(|d| Point { x: d.setting.dim as f64, y: d.ratio.value, band: Some(d.ratio.ci95) }).collect();
        series.push(Series { name, points, dashed: false });
    }
    let dims = found.drifts.iter().map(|d| d.setting.dim as f64);
    series.push(Series { name: "D", points: dims.map(|d| plain(d, d)).collect(), dashed: true });
    curves(&Chart {
        title: "Drift of SA over drift of RS",
        caption: "bowl at y = 3 e1, z = e1 / 3",
        x: Axis { label: "D", logarithmic: true },
        y: Axis { label: "ratio", logarithmic: true },
        series,
    })
}

fn ends(found: &Findings) -> Result<String> {
    let series = found.ends.iter().filter(|e| e.case.dim == 2).map(|e| Series {
        name: e.algorithm.name(),
        points: e.path.iter().map(|(step, trbar)| plain(*step as f64, *trbar)).collect(),
        dashed: false,
    });
    curves(&Chart {
        title: "(x1 x2 - 1)^2 from (4, 1/4)",
        caption: "eta = eta' = 0.01, rho = 0.1, eps0 = 1; flat minima have trbar = 2",
        x: Axis { label: "step", logarithmic: false },
        y: Axis { label: "trbar at Phi(x)", logarithmic: true },
        series: series.collect(),
    })
}

fn manifold(found: &Findings) -> Result<String> {
    let names: Vec<String> = found
        .manifold
        .iter()
        .map(|r| format!("{} D={} rho={:.2}", r.setting.choice.algorithm.name(), r.setting.dim, r.setting.choice.rho))
        .collect();
    // RS at the radius of SA hardly moves: it is in the table
    let drawn = found
        .manifold
        .iter()
        .zip(&names)
        .filter(|(r, _)| r.setting.choice.algorithm == Algorithm::Sa || r.setting.choice.rho > 0.2);
    let series = drawn.map(|(run, name)| Series {
        name,
        points: run.path.iter().map(|s| plain(s.queries, s.ratio)).collect(),
        dashed: false,
    });
    curves(&Chart {
        title: "Sparse regression by a diagonal linear network",
        caption: "the flattest minima are the sparse solutions: ratio 1",
        x: Axis { label: "gradients of f", logarithmic: false },
        y: Axis { label: "trbar / smallest", logarithmic: true },
        series: series.collect(),
    })
}
