//! Batches shared out over ranks: the same bits for any number of them, the same numbers up to rounding as the whole batch.

use crate::conformance::{base, builder, rule};
use crate::functions::logistic;
use flat_comm::{Error as CommError, Threads};
use flat_optim::{
    BaseKind, Error, GradientRule, Need, Objective, ParamVec, Params, PerPart, Query, Ranked, Ranks, Result, RuleKind,
    Sam, Sample, Team,
};
use std::cell::Cell;

/// Weights, losses and evaluations after a few steps.
type Found = (Vec<f64>, Vec<f64>, f64);

fn trained(rule: impl Into<Box<dyn GradientRule>>, b: BaseKind, rows: usize, team: Option<&Team>) -> Result<Found> {
    let mut p = logistic(rows)?;
    let mut optimizer = builder(&p.params).rule(rule).base(base(b, 0.05)).clip(1.0).seed(1).build()?;
    let mut losses = Vec::new();
    for _ in 0..5 {
        let report = match team {
            Some(team) => optimizer.step(&mut Ranked::new(p.objective.as_mut(), team))?,
            None => optimizer.step(p.objective.as_mut())?,
        };
        losses.push(report.loss);
    }
    Ok((p.params.read()?.to_f64()?, losses, optimizer.evals()))
}

/// What every rank finds, for several numbers of ranks.
fn over(sizes: &[usize], grains: usize, train: impl Fn(&Team) -> Result<Found> + Sync) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    for &size in sizes {
        for found in Threads::run(size, |engine| train(&Team::new(Ranks::new(engine), grains)?)) {
            all.push(found?);
        }
    }
    Ok(all)
}

/// Ragged: 21 rows are no multiple of 8 grains.
const ROWS: usize = 21;

#[test]
fn every_rule_has_the_same_bits_on_any_number_of_ranks() -> Result<()> {
    for r in RuleKind::all() {
        for b in ["sgd".parse()?, "adamw".parse()?] {
            let found = over(&[1, 2, 3, 8], 8, |team| trained(rule(r), b, ROWS, Some(team)))?;
            assert!(found.iter().all(|of| *of == found[0]), "{r} over {b}");
            // a rule that chooses examples or draws keeps its choice; the order of sums alone differs
            let whole = trained(rule(r), b, ROWS, None)?;
            let apart = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
            let gap = apart(&found[0].0, &whole.0).max(apart(&found[0].1, &whole.1));
            assert!(gap < 1e-9, "{r} over {b}: {gap}");
            assert!((found[0].2 - whole.2).abs() < 1e-9, "{r}: {} evaluations, {}", found[0].2, whole.2);
        }
    }
    Ok(())
}

#[test]
fn parts_with_perturbations_of_their_own_are_shared_out_and_found_by_one_process() -> Result<()> {
    let sgd: BaseKind = "sgd".parse()?;
    for m in [3, 5, 11] {
        let sam = || PerPart::new(m, Sam::new(0.1));
        let found = over(&[1, 2, 4], 4, |team| trained(sam(), sgd, ROWS, Some(team)))?;
        assert!(found.iter().all(|of| *of == found[0]), "m = {m}");
        let whole = trained(sam(), sgd, ROWS, None)?;
        let gap = found[0].0.iter().zip(&whole.0).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        assert!(gap < 1e-12, "m = {m}: {gap}");
        assert_ne!(found[0].0, trained(Sam::new(0.1), sgd, ROWS, None)?.0, "m = {m} is no plain SAM");
    }
    Ok(())
}

#[test]
fn one_grain_is_the_plain_objective() -> Result<()> {
    let sgd: BaseKind = "sgd".parse()?;
    let found = over(&[1], 1, |team| trained(Sam::new(0.1), sgd, ROWS, Some(team)))?;
    assert_eq!(found[0], trained(Sam::new(0.1), sgd, ROWS, None)?);
    Ok(())
}

/// An objective with a NaN in one example, or an error of its own.
struct Faulty<'a>(&'a mut dyn Objective, usize, &'a Cell<bool>);

impl Objective for Faulty<'_> {
    fn rows(&self) -> usize {
        self.0.rows()
    }
    fn offers(&self, need: Need) -> bool {
        self.0.offers(need)
    }
    fn loss(&mut self, query: Query) -> Result<candle_core::Tensor> {
        self.0.loss(query)
    }
    fn loss_and_grad(&mut self, params: &Params, query: Query) -> Result<Sample> {
        let faulty = query.rows.range(self.rows())?.contains(&self.1);
        match (faulty, self.2.get()) {
            (true, true) => Err(Error::objective("a file is gone")),
            (true, false) => Sample::new(f64::NAN, ParamVec::zeros(params.space())?),
            _ => self.0.loss_and_grad(params, query),
        }
    }
}

#[test]
fn a_number_that_is_not_finite_on_one_rank_skips_the_step_on_all_and_an_error_ends_all() -> Result<()> {
    let rules: [fn() -> Box<dyn GradientRule>; 2] = [|| Sam::new(0.1).into(), || PerPart::new(4, Sam::new(0.1)).into()];
    for rule in rules {
        let run = |team: &Team, error: bool| -> Result<Option<String>> {
            let mut p = logistic(ROWS)?;
            let mut optimizer = builder(&p.params).rule(rule()).base(base("sgd".parse()?, 0.05)).build()?;
            let error = Cell::new(error);
            let mut faulty = Faulty(p.objective.as_mut(), ROWS - 1, &error);
            Ok(optimizer.step(&mut Ranked::new(&mut faulty, team))?.skipped)
        };
        let mut reasons = Vec::new();
        for size in [1, 2, 4] {
            let out = Threads::run(size, |engine| run(&Team::new(Ranks::new(engine), 4)?, false));
            for skipped in out {
                reasons.push(skipped?.expect("skipped"));
            }
            let out = Threads::run(size, |engine| run(&Team::new(Ranks::new(engine), 4)?, true));
            let (last, others) = out.split_last().expect("a rank");
            assert!(matches!(last, Err(Error::Objective(_))), "{last:?}");
            assert!(others.iter().all(|e| matches!(e, Err(Error::Comm(CommError::Aborted { .. })))), "{others:?}");
        }
        assert!(reasons.iter().all(|reason| *reason == reasons[0]), "{reasons:?}");
    }
    Ok(())
}

#[test]
fn fewer_grains_than_ranks_are_refused() {
    let out = Threads::run(3, |engine| Team::new(Ranks::new(engine), 2).map(|_| ()));
    assert!(out.iter().all(|e| e.as_ref().is_err_and(|e| e.to_string().contains("grains = 2"))));
}
