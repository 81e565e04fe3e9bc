//! Sentences of the page that are computed from the sweeps.

use super::Findings;
use super::sweep::{Along, Family, Found, Swept};
use super::tables::{family, number};
use super::walk::Algorithm;

/// What a line comes to, in words.
pub(super) fn verdict(s: &Swept) -> Option<String> {
    let (fit, bound, predicted) = (s.fit.as_ref()?, s.line.bound?, s.predicted.as_ref()?);
    let name = format!(
        "{} on the {}, in {}{}",
        s.line.algorithm.name(),
        family(s.line.family),
        if s.line.along == Along::Eps { "eps" } else { "D" },
        if s.line.regime.is_empty() { String::new() } else { format!(", {}", s.line.regime) }
    );
    // in eps, fewer steps as eps falls is a larger exponent; in D a smaller one
    let better = if s.line.along == Along::Eps { fit.exponent.ci95[0] > bound } else { fit.exponent.ci95[1] < bound };
    let with_drift = match (fit.exponent.holds(predicted.exponent.value), s.ratio) {
        (true, _) => format!("and the exponent by the mean drift, {}", number(predicted.exponent.value)),
        (false, Some(r)) => format!(
            "but not the exponent by the mean drift, {} (perturbed steps are {} of it)",
            number(predicted.exponent.value),
            r.text(3)
        ),
        (false, None) => String::new(),
    };
    Some(if fit.exponent.holds(bound) {
        format!("* {name}: the interval holds the theorem's {bound} {with_drift}.")
    } else if better && (predicted.exponent.value - bound).abs() >= 0.01 {
        format!("* {name}: better than the theorem's {bound}, as it may; the interval is {}.", {
            let also = if fit.exponent.holds(predicted.exponent.value) { "holds" } else { "does not hold" };
            format!(
                "{} and {also} the exponent by the mean drift, {}",
                fit.exponent.text(3),
                number(predicted.exponent.value)
            )
        })
    } else if (predicted.exponent.value - bound).abs() < 0.01 {
        format!(
            "* {name}: by the mean drift the exponent is the theorem's, {bound}; the interval {} misses it by {:.3}, for the reasons below.",
            fit.exponent.text(3),
            (fit.exponent.value - bound).abs()
        )
    } else {
        format!(
            "* {name}: the interval {} lies on the other side of the theorem's {bound}, as the mean drift has it at these places, {}: the \
             start moves with D, see below.",
            fit.exponent.text(3),
            number(predicted.exponent.value)
        )
    })
}

/// The shares of plain steps that bring SA back below its gate, at both ends of its lines in the valley.
pub(super) fn plain_steps(found: &Findings) -> String {
    let of_line = |s: &Swept| {
        let symbol = if s.line.along == Along::Eps { "eps" } else { "D" };
        let at = |i: usize| {
            let share = 100.0 * brought_back(s.found.get(i)?);
            Some(format!("{share:.0} % at {symbol} = {}", s.line.coordinate(s.line.places[i])))
        };
        Some(format!("{} and {}", at(0)?, at(s.found.len() - 1)?))
    };
    let sa = |s: &&Swept| s.line.algorithm == Algorithm::Sa && s.line.family == Family::Valley;
    let lines: Vec<String> = found.sweeps.iter().filter(sa).filter_map(of_line).collect();
    if lines.is_empty() { "(no line of SA in the valley)".into() } else { lines.join("; ") }
}

/// The share of plain steps before the last descent.
fn brought_back(found: &Found) -> f64 {
    let all: f64 = found.walks.iter().map(|w| (w.steps - w.descent) as f64).sum();
    let plain: f64 = found.walks.iter().map(|w| (w.steps - w.descent - w.perturbed) as f64).sum();
    if all > 0.0 { plain / all } else { 0.0 }
}

/// The algorithms without a bound beside RS at the places that they have in common.
pub(super) fn others(found: &Findings) -> String {
    let mean = |f: &Found| {
        let arrived: Vec<f64> = f.steps().collect();
        (arrived.len() == f.walks.len()).then(|| arrived.iter().sum::<f64>() / arrived.len() as f64)
    };
    let places = |s: &'_ Swept| -> Vec<((f64, usize), Option<f64>)> {
        s.line.places.iter().copied().zip(s.found.iter().map(mean)).collect()
    };
    let of_line = |s: &Swept| {
        let all = places(s);
        let arrived = all.iter().filter(|(_, steps)| steps.is_some()).count();
        let same = |o: &&Swept| {
            o.line.algorithm == Algorithm::Rs && o.line.family == s.line.family && o.line.along == s.line.along
        };
        let beside: Vec<f64> = found
            .sweeps
            .iter()
            .filter(same)
            .flat_map(places)
            .filter_map(|(place, rs)| {
                let (_, steps) = all.iter().find(|(at, _)| *at == place)?;
                Some(((*steps)? / rs?).ln())
            })
            .collect();
        let name = format!("{} on the {}", s.line.algorithm.name(), family(s.line.family));
        match (arrived, beside.len()) {
            (0, _) => format!("{name} arrives nowhere within its budget"),
            (_, 0) => format!("{name} arrives at {arrived} of {} places", all.len()),
            (_, n) => format!(
                "{name} takes {} times the steps of RS (geometric mean of {n} places)",
                number((beside.iter().sum::<f64>() / n as f64).exp())
            ),
        }
    };
    let lines: Vec<String> = found.sweeps.iter().filter(|s| s.line.bound.is_none()).map(of_line).collect();
    if lines.is_empty() { String::new() } else { format!("Measured: {}.", lines.join("; ")) }
}

/// How far above the smallest trace the regression starts.
pub(super) fn start_ratio(found: &Findings) -> String {
    let starts = found.manifold.iter().filter_map(|run| Some(run.path.first()?.ratio));
    let [low, high] = starts.fold([f64::INFINITY, 0.0], |[low, high]: [f64; 2], x| [low.min(x), high.max(x)]);
    match (format!("{low:.1}"), format!("{high:.1}")) {
        (low, high) if low == high => low,
        (low, high) => format!("{low} to {high}"),
    }
}
