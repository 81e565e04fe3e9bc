//! Methods beside SGD, at equal training loss and at equal gradient evaluations.

use super::method::Setting;
use super::{Contender, Fit, Minima, Outcome};
use crate::interval::{Mean, correlation};
use serde::Serialize;

/// A method over all seeds. Means of traces, losses and eigenvalues are geometric.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// The method as the page names it.
    pub name: String,
    /// Its numbers.
    pub setting: Setting,
    /// Gradient evaluations spent.
    pub evals: Option<Mean>,
    /// Training loss at the end.
    pub train_loss: Option<Mean>,
    /// The lowest training accuracy at the end among the seeds.
    pub train_accuracy: Option<f64>,
    /// Test accuracy at the end.
    pub test_accuracy: Option<Mean>,
    /// Test accuracy gained since the bad minimum.
    pub gain: Option<Mean>,
    /// Trace over d at the end.
    pub trbar: Option<Mean>,
    /// Largest eigenvalue at the end.
    pub lambda_max: Option<Mean>,
    /// How many times larger SGD's trace is at the same training loss.
    pub at_equal_loss: Option<Mean>,
    /// How many times larger SGD's trace is after as many evaluations.
    pub at_equal_evals: Option<Mean>,
    /// The mean margin at the end, where it was measured.
    pub margin: Option<Mean>,
    /// How many times larger SGD's trace is with the last layers of both divided by their mean margins.
    pub at_unit_margin: Option<Mean>,
}

/// Every method of a part, the reference first.
pub(super) fn rows(outcome: &Outcome) -> Vec<Row> {
    let reference = outcome.contenders.first();
    outcome.contenders.iter().map(|c| row(c, reference, &outcome.minima)).collect()
}

fn row(contender: &Contender, reference: Option<&Contender>, minima: &[Minima]) -> Row {
    let fits = &contender.fits;
    let ends = |f: &dyn Fn(&Minima, &Fit) -> Option<f64>| -> Option<Mean> {
        let values: Option<Vec<f64>> = minima.iter().zip(fits).map(|(m, fit)| f(m, fit)).collect();
        Mean::of(&values?)
    };
    let logs = |f: &dyn Fn(&Minima, &Fit) -> Option<f64>| ends(&|m, x| f(m, x).map(f64::ln)).map(|m| m.map(f64::exp));
    let beside = |f: fn(&Minima, &Fit, &Fit) -> Option<f64>| {
        let all: Option<Vec<f64>> =
            minima.iter().zip(&reference?.fits).zip(fits).map(|((m, sgd), fit)| f(m, sgd, fit)).collect();
        Mean::of(&all?).map(|m| m.map(f64::exp))
    };
    Row {
        name: contender.name.clone(),
        setting: contender.setting.clone(),
        evals: ends(&|_, fit| Some(fit.end()?.evals)),
        train_loss: logs(&|_, fit| Some(fit.end()?.train_loss)),
        train_accuracy: fits
            .iter()
            .map(|fit| fit.end().map(|end| end.train_accuracy))
            .try_fold(1.0, |low: f64, x| x.map(|x| low.min(x))),
        test_accuracy: ends(&|_, fit| Some(fit.end()?.held_out_accuracy)),
        gain: ends(&|m, fit| Some(fit.end()?.held_out_accuracy - m.bad.held_out_accuracy)),
        trbar: logs(&|_, fit| fit.end()?.trbar),
        lambda_max: logs(&|_, fit| fit.end()?.lambda_max),
        at_equal_loss: beside(at_equal_loss),
        at_equal_evals: beside(|_, sgd, fit| Some(sgd.end()?.trbar?.ln() - fit.end()?.trbar?.ln())),
        margin: ends(&|_, fit| Some(fit.unit_margin?.margin)),
        at_unit_margin: beside(|_, sgd, fit| Some(sgd.unit_margin?.trbar.ln() - fit.unit_margin?.trbar.ln())),
    }
}

/// Logarithm of SGD's trace over the method's where both have the same training loss: the larger of the two final losses,
/// which the other run has passed on its way from the common start.
pub(super) fn at_equal_loss(minima: &Minima, sgd: &Fit, fit: &Fit) -> Option<f64> {
    let loss = sgd.end()?.train_loss.max(fit.end()?.train_loss);
    Some(sgd.trace_at(Some(&minima.bad), loss)? - fit.trace_at(Some(&minima.bad), loss)?)
}

/// Correlation of the test accuracy with the logarithm of a trace over the ends of all runs, and their number.
pub(super) fn proxy(outcome: &Outcome, trace: impl Fn(&Fit) -> Option<f64>) -> (Option<f64>, usize) {
    let ends = outcome.contenders.iter().flat_map(|c| &c.fits);
    let pairs: Vec<(f64, f64)> =
        ends.filter_map(|fit| Some((trace(fit).filter(|t| *t > 0.0)?.ln(), fit.end()?.held_out_accuracy))).collect();
    (correlation(&pairs), pairs.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Point;

    fn point(train_loss: f64, trbar: f64) -> Point {
        Point {
            step: 0,
            evals: 0.0,
            train_loss,
            train_accuracy: 1.0,
            held_out_loss: 0.0,
            held_out_accuracy: 0.5,
            trbar: Some(trbar),
            trbar_ci95: None,
            lambda_max: None,
            groups: None,
            wall_s: None,
        }
    }

    fn fit(points: &[(f64, f64)]) -> Fit {
        Fit {
            points: points.iter().map(|(loss, trbar)| point(*loss, *trbar)).collect(),
            diverged: None,
            unit_margin: None,
        }
    }

    #[test]
    fn traces_are_compared_where_the_losses_agree() {
        let start = Minima { random: point(1.0, 1.0), bad: point(1.0, 100.0), good: point(1.0, 1.0) };
        // the trace of this SGD is 100 times its loss throughout
        let sgd = fit(&[(0.1, 10.0), (0.01, 1.0)]);
        let above = at_equal_loss(&start, &sgd, &fit(&[(0.03, 1.0)])).expect("passed by SGD");
        assert!((above - 3f64.ln()).abs() < 1e-12, "{above}");
        // the other way round: at loss 0.01 this run has a trace of 0.1
        let below = at_equal_loss(&start, &sgd, &fit(&[(0.1, 1.0), (0.001, 0.01)])).expect("passed by the run");
        assert!((below - 10f64.ln()).abs() < 1e-12, "{below}");
        assert!(at_equal_loss(&start, &sgd, &fit(&[(2.0, 1.0)])).is_none(), "SGD never had that loss");
        let lost = Fit { diverged: Some("inf".into()), ..fit(&[(0.1, 1.0)]) };
        assert!(at_equal_loss(&start, &sgd, &lost).is_none());
    }
}
