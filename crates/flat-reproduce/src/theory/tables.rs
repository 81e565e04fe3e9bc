//! The tables of the page.

use super::Findings;
use super::ends::End;
use super::sweep::{Along, Family, PATIENCE, slope_at_start};
use super::walk::{Algorithm, Walk};
use crate::markdown::Table;
use anyhow::Result;

/// A number of any size in few digits.
pub(super) fn number(x: f64) -> String {
    let size = x.abs();
    if size == 0.0 || (1e-2..1e5).contains(&size) {
        let digits = if size >= 100.0 { 0 } else { 3 };
        format!("{x:.digits$}")
    } else {
        format!("{x:.2e}")
    }
}

/// A number that may not exist.
fn maybe(x: Option<String>) -> String {
    x.unwrap_or_else(|| "-".into())
}

/// As the page names it.
pub(super) fn family(family: Family) -> &'static str {
    match family {
        Family::Bowl => "bowl",
        Family::Valley => "valley",
    }
}

/// Where the algorithms end.
pub(super) fn ends(ends: &[End]) -> Table {
    let mut table = Table::new(
        "trbar at Phi(x) at the end, eta = eta' = 0.01, rho = 0.1, eps0 = 1 (NSO: sigma = rho / sqrt D). Measured.",
        &["function", "start", "steps", "algorithm", "gradients", "trbar at the end", "at the start", "smallest"],
    );
    for end in ends {
        let two = end.case.dim == 2;
        let first = end.path.first().map(|p| number(p.1)).unwrap_or_default();
        table.row([
            if two { "hyperbola".to_string() } else { format!("bowl, D = {}", end.case.dim) },
            if two { "(4, 0.25)".into() } else { "y = 3 e1, z = e1/3".to_string() },
            end.case.steps.to_string(),
            end.algorithm.name().into(),
            number(end.queries),
            end.trbar.text(4),
            first,
            number(2.0 / if two { 1.0 } else { end.case.dim as f64 }),
        ]);
    }
    table
}

/// The exponents.
pub(super) fn rates(found: &Findings, seeds: u64) -> Table {
    let mut table = Table::new(
        format!(
            "Exponents of the number of steps. Bound: theorem. By hand: without logarithms. Mean drift: the line through the steps by \
             hand at the very places measured, logarithms and all. Measured: least squares in the logarithms over {} seeds, interval from the scatter about the line. \
             Last: perturbed steps over those of the mean drift, geometric mean.",
            seeds
        ),
        &[
            "function",
            "in",
            "algorithm",
            "where",
            "bound",
            "by hand",
            "mean drift",
            "measured",
            "last two places",
            "holds bound",
            "perturbed / drift",
        ],
    );
    for s in &found.sweeps {
        let (Some(fit), Some(bound)) = (&s.fit, s.line.bound) else { continue };
        table.row([
            family(s.line.family).to_string(),
            if s.line.along == Along::Eps { "eps".into() } else { "D".to_string() },
            s.line.algorithm.name().into(),
            s.line.regime.clone(),
            number(bound),
            maybe(s.line.by_hand.map(number)),
            maybe(s.predicted.as_ref().map(|p| number(p.exponent.value))),
            fit.exponent.text(3),
            maybe(s.last.map(number)),
            if fit.exponent.holds(bound) { "yes" } else { "no" }.into(),
            maybe(s.ratio.map(|r| r.text(3))),
        ]);
    }
    table
}

/// Every place of the sweeps.
pub(super) fn places(found: &Findings) -> Result<Table> {
    let mut table = Table::new(
        format!(
            "Every place, means over the seeds. The budget is {PATIENCE} times the steps of RS's mean drift ({} times SA's for SA).",
            5.0 * PATIENCE
        ),
        &[
            "function",
            "eps",
            "D",
            "algorithm",
            "reached",
            "steps",
            "gradients",
            "perturbed by drift",
            "descent",
            "slope at start / sqrt eps",
            "budget",
        ],
    );
    for s in &found.sweeps {
        for ((eps, dim), f) in s.line.places.iter().zip(&s.found) {
            let never = f.steps().next().is_none();
            let mean = |of: fn(&Walk) -> f64| -> Result<String> {
                Ok(match f.mean(of).transpose()? {
                    Some(x) => format!("{} [{}, {}]", number(x.value), number(x.ci95[0]), number(x.ci95[1])),
                    None if never => "never within budget".into(),
                    None => "not by all seeds".into(),
                })
            };
            let factor = if s.line.algorithm == Algorithm::Sa { 5.0 * PATIENCE } else { PATIENCE };
            table.row([
                family(s.line.family).to_string(),
                number(*eps),
                dim.to_string(),
                s.line.algorithm.name().into(),
                format!("{}/{}", f.steps().count(), f.walks.len()),
                mean(|w| w.steps as f64)?,
                mean(|w| w.queries)?,
                number(f.predicted),
                number(f.walks.iter().map(|w| w.descent as f64).sum::<f64>() / f.walks.len() as f64),
                number(slope_at_start(s.line.family, s.line.along, *eps, *dim)),
                number((factor * f.predicted).ceil()),
            ]);
        }
    }
    Ok(table)
}

/// The closed forms beside the certificate.
pub(super) fn crosschecks(found: &Findings) -> Table {
    let mut table = Table::new(
        "Start and end of a walk of RS, eps = 0.1, D = 4: Phi, distance and slope in closed form, and by `flat_metrics::Certificate`, \
         which follows the flow, finds the normal space by Lanczos and the slope by differences of Hessian-vector products. Measured.",
        &["function", "place", "distance", "by the certificate", "slope", "interval of the certificate", "verdict"],
    );
    for c in &found.crosschecks {
        table.row([
            family(c.family).to_string(),
            c.place.clone(),
            format!("{:.3e}", c.exact[0]),
            format!("{:.3e}", c.distance),
            format!("{:.4}", c.exact[1]),
            format!("[{:.4}, {:.4}]", c.norm_interval[0], c.norm_interval[1]),
            c.verdict.clone(),
        ]);
    }
    table
}

/// The drift coefficients.
pub(super) fn drifts(found: &Findings) -> Table {
    let mut table =
        Table::new("Drift coefficients.", &["D", "rho", "RS", "SA", "SA / RS", "SA / RS / D", "within 5 % of D"]);
    for d in &found.drifts {
        let dim = d.setting.dim as f64;
        let share = d.ratio.value / dim;
        table.row([
            d.setting.dim.to_string(),
            d.setting.rho.to_string(),
            d.rs.text(4),
            d.sa.text(3),
            d.ratio.text(2),
            format!("{share:.4}"),
            if (share - 1.0).abs() <= 0.05 { "yes" } else { "no" }.into(),
        ]);
    }
    table
}

/// The way along the manifold.
pub(super) fn manifold(found: &Findings) -> Table {
    let mut table = Table::new(
        "Gradients of f until trbar(Phi(x)) is within 5 % of its smallest value, and the end (at 1 % or at the budget). Measured.",
        &[
            "D",
            "algorithm",
            "rho",
            "gradients to 5 %",
            "gradients spent",
            "trbar / smallest at the end",
            "distance to the flattest, start",
            "end",
        ],
    );
    for run in &found.manifold {
        let (Some(first), Some(last)) = (run.path.first(), run.path.last()) else { continue };
        table.row([
            run.setting.dim.to_string(),
            run.setting.choice.algorithm.name().into(),
            number(run.setting.choice.rho),
            run.arrived.map_or_else(|| "never within budget".into(), number),
            number(last.queries),
            number(last.ratio),
            number(first.distance),
            number(last.distance),
        ]);
    }
    table
}
