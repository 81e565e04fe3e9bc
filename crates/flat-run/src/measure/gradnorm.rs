//! The norm of the gradient, with the interval over the choice of images.

use super::along::{Along, Moment};
use super::hessian_method::HessianMethod;
use super::interface::{InAll, Measure};
use super::provenance::{Provenance, Taken};
use crate::parts::subject::LoadedCheckpoint;
use crate::settings::args::{EvalArgs, HessianArgs};
use crate::settings::choice::{BnModeName, HvpName};
use crate::signal;
use crate::store::line::Point;
use crate::ui::Ui;
use crate::value::number::short;
use crate::value::table::pairs;
use anyhow::Result;
use flat_core::ParamVec;
use flat_data::Loader;
use flat_metrics::{Effort, Measured, Objective, Stop, t_quantile};
use flat_nn::{Loss, Model};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

flat_core::settings! {
    /// Flags of `metrics gradnorm`; nothing is drawn, and Hessian-vector products are not used.
    #[derive(Debug, Clone)]
    pub struct GradnormArgs {}
    with {
        /// The checkpoint and the data.
        hessian: HessianArgs;
    }
}

/// A norm and its error from the choice of images.
#[derive(Debug, Clone, Serialize)]
pub struct Gradnorm {
    /// `||g||` of the gradient g over these images.
    pub value: f64,
    /// Standard error from their choice; `null` with fewer than two groups.
    pub std_error: Option<f64>,
    /// 95 % interval of `||g||` for all images like these: Student's about the jackknife's mean (Tukey 1958), from 0 up.
    pub ci95: Option<[f64; 2]>,
    /// Groups of images that both were found from.
    pub groups: usize,
    /// Mean loss on these images.
    pub loss: f64,
}

impl Measure for GradnormArgs {
    const NAME: &'static str = "gradnorm";
    const ABOUT: &'static str = "Norm of the gradient, with a confidence interval over the choice of images";
    const IN_ALL: Option<InAll> = Some(InAll { title: Some("Gradient"), ..InAll::PLAIN });
    const ALONG: Option<Along> = Some(Along {
        name: "gradnorm",
        title: "Norm of the gradient over fixed images",
        band: "the 95 % interval for all images like these",
        take: along,
    });

    type Found = Gradnorm;

    fn on(&self) -> EvalArgs {
        self.hessian.on.clone()
    }

    fn take(&self, subject: &LoadedCheckpoint, ui: Ui) -> Result<Option<Taken<Gradnorm>>> {
        let found = measure(HessianMethod::of(&self.hessian), &subject.model, subject.loss, &subject.data, ui)?;
        let Some(found) = found else { return Ok(None) };
        let computed = found.provenance.clone();
        let provenance = Provenance::of_subject(subject, &self.hessian.on, self.hessian.bn_mode, computed)?;
        Ok(Some(found.placed(|_| provenance)))
    }

    fn table(found: &Taken<Gradnorm>) -> String {
        let error = found.std_error.map_or("no interval from one group".to_string(), |e| format!("+- {}", short(e)));
        let ends = found.ci95.map_or(String::new(), |[lo, hi]| format!("  [{}, {}]", short(lo), short(hi)));
        let norm = format!(
            "{} {error}{ends} (95 % for all images like these, from {} groups of them)",
            short(found.value),
            found.groups
        );
        pairs([("||gradient||", norm), ("loss", short(found.loss))])
    }
}

fn along(now: &Moment<'_>) -> Result<Option<Point>> {
    let which = HessianMethod { bn_mode: BnModeName::Eval, hvp: HvpName::Exact };
    let found = measure(which, now.model, now.loss, now.data, now.ui)?;
    found.map(|found| Ok(Point::new(&found)?)).transpose()
}

/// Measures; `None` where a signal asked to stop. Cost: two gradients over the images, and three vectors.
fn measure(
    which: HessianMethod,
    model: &Model,
    loss: Loss,
    data: &Loader,
    ui: Ui,
) -> Result<Option<Measured<Gradnorm>>> {
    let (start, objective) = (Instant::now(), which.grouped_objective(model, loss, data)?);
    let n = objective.batches();
    let mut bar = ui.bar("gradient", 0, 2 * n as u64, "batches");
    let mut sum = ParamVec::zeros(objective.params().space())?;
    let mut mean_loss = 0.0;
    for i in 0..n {
        if signal::stop_requested() {
            return Ok(None);
        }
        bar.update(i as u64, String::new);
        let (loss, gradient) = objective.loss_and_gradient(i)?;
        mean_loss += objective.weight(i) * loss;
        sum.add_scaled(objective.weight(i), &gradient)?;
    }
    let mut groups = BTreeMap::<usize, (f64, ParamVec)>::new();
    let mut without = Vec::new();
    for i in 0..n {
        if signal::stop_requested() {
            return Ok(None);
        }
        bar.update((n + i) as u64, String::new);
        let (group, weight) = (objective.group(i), objective.weight(i));
        // groups follow each other: the last one is whole where another begins
        if !groups.is_empty() && !groups.contains_key(&group) {
            without.extend(rest_of(&sum, &mut groups)?);
        }
        let zero = || ParamVec::zeros(objective.params().space());
        let part = match groups.entry(group) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert((0.0, zero()?)),
        };
        part.0 += weight;
        part.1.add_scaled(weight, &objective.loss_and_gradient(i)?.1)?;
    }
    without.extend(rest_of(&sum, &mut groups)?);
    drop(bar);
    let result = gradnorm(sum.norm()?, &without, mean_loss)?;
    let effort = Effort { gradients: 2, wall_s: start.elapsed().as_secs_f64(), ..Effort::default() };
    let space = objective.params().space();
    let provenance = flat_metrics::Provenance {
        operator: None,
        dim: space.layout.len(),
        examples: Some(objective.examples()),
        batches: Some(n),
        bn_mode: objective.bn_mode().map(Into::into),
        dtype: space.dtype.as_str().into(),
    };
    Ok(Some(Measured { result, provenance, effort, stop: Stop::Complete }))
}

/// Norms of the gradient without each of the groups.
fn rest_of(sum: &ParamVec, groups: &mut BTreeMap<usize, (f64, ParamVec)>) -> Result<Vec<f64>> {
    let rest = |(weight, part): (f64, ParamVec)| Ok(sum.plus(-1.0, &part)?.norm()? / (1.0 - weight));
    std::mem::take(groups).into_values().filter(|(weight, _)| *weight < 1.0).map(rest).collect()
}

/// The norm with the jackknife's error and interval from its values without each group.
fn gradnorm(value: f64, without: &[f64], loss: f64) -> Result<Gradnorm> {
    let n = without.len() as f64;
    let (mut std_error, mut ci95) = (None, None);
    if without.len() >= 2 {
        let mean = without.iter().sum::<f64>() / n;
        let squares: f64 = without.iter().map(|x| (x - mean).powi(2)).sum();
        let error = (squares * (n - 1.0) / n).sqrt();
        let (centre, half) = (n * value - (n - 1.0) * mean, t_quantile(n - 1.0, 0.95)? * error);
        (std_error, ci95) = (Some(error), Some([(centre - half).max(0.0), (centre + half).max(0.0)]));
    }
    Ok(Gradnorm { value, std_error, ci95, groups: without.len(), loss })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flat_core::{Purpose, Streams};

    #[test]
    fn the_interval_covers_the_norm_of_the_mean_that_the_groups_were_drawn_about() -> Result<()> {
        let (groups, runs, truth) = (32, 1000, [3.0, 0.0, 0.0, 0.0, 0.0]);
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let mut covered = 0;
        for run in 0..runs {
            let noise = Streams::new(run).at(Purpose::Test, 0).normals(5 * groups);
            let rows: Vec<Vec<f64>> =
                noise.chunks(5).map(|row| row.iter().zip(truth).map(|(e, x)| x + 2.0 * e).collect()).collect();
            let sum: Vec<f64> = (0..5).map(|k| rows.iter().map(|row| row[k]).sum()).collect();
            let mean = |left_out: Option<&Vec<f64>>| -> Vec<f64> {
                let n = (groups - usize::from(left_out.is_some())) as f64;
                (0..5).map(|k| (sum[k] - left_out.map_or(0.0, |row| row[k])) / n).collect()
            };
            let without: Vec<f64> = rows.iter().map(|row| norm(&mean(Some(row)))).collect();
            let found = gradnorm(norm(&mean(None)), &without, 0.0)?;
            covered += u32::from(found.ci95.is_some_and(|[lo, hi]| lo <= 3.0 && 3.0 <= hi));
        }
        let rate = f64::from(covered) / runs as f64;
        // four standard deviations of 1,000 draws at 95 %
        assert!((rate - 0.95).abs() <= 0.028, "{rate}");
        let one = gradnorm(1.0, &[1.0], 0.0)?;
        assert_eq!((one.std_error, one.ci95), (None, None));
        Ok(())
    }
}
