//! Every rule over every base on every test function keeps the same promises.

use crate::functions::{Problem, Recorder, logistic, quadratic, rosenbrock};
use flat_optim::{
    BaseConfig, BaseKind, NsoConfig, Optimizer, Result, Rows, RspConfig, RuleConfig, RuleKind, SamConfig, SapConfig,
    SgdConfig,
};

/// A rule with a radius that suits the test functions, and a gate that is sometimes shut.
pub fn rule(kind: RuleKind) -> RuleConfig {
    match kind {
        RuleKind::Plain => RuleConfig::Plain,
        RuleKind::Sam => RuleConfig::Sam(SamConfig { rho: 0.02, m: None }),
        RuleKind::Rsp => RuleConfig::Rsp(RspConfig { rho: 0.02.into(), gate: 2.0, ..RspConfig::default() }),
        RuleKind::Sap => RuleConfig::Sap(SapConfig { rho: 0.02, examples: 1, gate: 2.0, ..SapConfig::default() }),
        RuleKind::Nso => RuleConfig::Nso(NsoConfig { sigma: 0.01, k: 2 }),
    }
}

/// Every base, with all that has a state.
pub fn base(kind: BaseKind) -> BaseConfig {
    match kind {
        BaseKind::Sgd => BaseConfig::Sgd(SgdConfig { momentum: 0.5, weight_decay: 1e-4, ..SgdConfig::default() }),
        kind => kind.into(),
    }
}

pub fn problems() -> Result<Vec<Problem>> {
    Ok(vec![quadratic()?, rosenbrock()?, logistic(20)?])
}

/// Runs `check` for every combination.
fn every(mut check: impl FnMut(RuleKind, BaseKind, Problem) -> Result<()>) -> Result<()> {
    for r in RuleKind::ALL {
        for b in BaseKind::ALL {
            for problem in problems()? {
                check(r, b, problem)?;
            }
        }
    }
    Ok(())
}

#[test]
fn every_rule_over_every_base_minimises_every_function() -> Result<()> {
    every(|r, b, mut p| {
        let mut optimizer = Optimizer::builder(&p.params).rule(rule(r)).base(base(b)).lr(0.05).seed(1).build()?;
        let first = optimizer.step(p.objective.as_mut())?;
        let mut last = first.clone();
        for _ in 0..400 {
            last = optimizer.step(p.objective.as_mut())?;
        }
        let context = format!("{r} over {b} on {}: {} -> {}", p.name, first.loss, last.loss);
        // nso evaluates 0.01 beside theta
        let tolerance = if r == RuleKind::Nso { 0.5 } else { 1e-12 };
        assert!((first.loss - p.start).abs() < tolerance, "{context}");
        assert!(last.loss < p.goal, "{context}");
        assert_eq!(last.skipped, None, "{context}");
        Ok(())
    })
}

#[test]
fn every_step_updates_running_statistics_exactly_once_and_first() -> Result<()> {
    for micro_batches in [1, 3] {
        every(|r, b, p| {
            let (mut recorder, queries) = Recorder::new(p.objective);
            let mut optimizer =
                Optimizer::builder(&p.params).rule(rule(r)).base(base(b)).micro_batches(micro_batches).build()?;
            for _ in 0..3 {
                queries.borrow_mut().clear();
                optimizer.step(&mut recorder)?;
                let flags: Vec<bool> = queries.borrow().iter().map(|q| q.update_stats).collect();
                assert!(flags[0], "{r} over {b} on {}: {flags:?}", p.name);
                assert_eq!(flags.iter().filter(|f| **f).count(), 1, "{r} over {b} on {}: {flags:?}", p.name);
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn evaluations_are_counted_in_whole_batches() -> Result<()> {
    let n = 20.0;
    let cost = |k| match k {
        RuleKind::Plain => 1.0,
        RuleKind::Sam | RuleKind::Rsp => 2.0,
        RuleKind::Sap => 1.0 + 2.0 / n,
        RuleKind::Nso => 4.0,
    };
    for micro_batches in [1, 3] {
        for kind in RuleKind::ALL {
            let p = logistic(20)?;
            let (mut recorder, queries) = Recorder::new(p.objective);
            let mut optimizer = Optimizer::builder(&p.params).rule(rule(kind)).micro_batches(micro_batches).build()?;
            let report = optimizer.step(&mut recorder)?;
            // a sum of a few fractions
            assert!((report.evals - cost(kind)).abs() < 1e-12, "{kind}: {}", report.evals);
            assert!((optimizer.evals_per_step(p.rows) - cost(kind)).abs() < 1e-12, "{kind}");
            assert_eq!(optimizer.evals(), report.evals);
            let rows: usize =
                queries.borrow().iter().map(|q| q.rows.range(20).map(|r| r.len())).sum::<Result<usize>>()?;
            assert!((rows as f64 / n - cost(kind)).abs() < 1e-12, "{kind}: {rows} rows");
            assert!(micro_batches == 1 || queries.borrow().iter().all(|q| q.rows != Rows::All));
        }
    }
    Ok(())
}

#[test]
fn micro_batches_give_the_gradient_of_the_batch() -> Result<()> {
    for kind in RuleKind::ALL {
        let run = |micro_batches| {
            let mut p = logistic(20)?;
            let mut optimizer = Optimizer::builder(&p.params)
                .rule(rule(kind))
                .base(base(BaseKind::Sgd))
                .lr(0.5)
                .micro_batches(micro_batches)
                .build()?;
            let loss = (0..5).map(|_| Ok(optimizer.step(p.objective.as_mut())?.loss)).collect::<Result<Vec<_>>>()?;
            Ok::<_, flat_optim::Error>((p.params.read()?.to_f64()?, loss))
        };
        let ((whole, loss), (parts, part_loss)) = (run(1)?, run(3)?);
        for (a, b) in whole.iter().chain(&loss).zip(parts.iter().chain(&part_loss)) {
            assert!((a - b).abs() < 1e-12, "{kind}: {a} against {b}"); // another order of summation
        }
    }
    Ok(())
}

#[test]
fn micro_batch_holds_at_most_its_examples_whatever_the_size_of_the_batch() -> Result<()> {
    for (rows, parts) in [(20, 3), (8, 1), (9, 2)] {
        let mut p = logistic(rows)?;
        let mut o = Optimizer::builder(&p.params).micro_batch(8).build()?;
        let queries = std::cell::Cell::new(0);
        let inner = &mut p.objective;
        let mut counted = flat_optim::WithRows::new(rows, |q: flat_optim::Query| {
            queries.set(queries.get() + 1);
            inner.loss(q).map_err(candle_core::Error::wrap)
        });
        o.step(&mut counted)?;
        assert_eq!(queries.get(), parts, "{rows} rows");
    }
    Ok(())
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() -> Result<()> {
    for kind in [RuleKind::Rsp, RuleKind::Sap, RuleKind::Nso] {
        let run = |seed| {
            let mut p = logistic(20)?;
            let mut optimizer = Optimizer::builder(&p.params).rule(rule(kind)).seed(seed).build()?;
            for _ in 0..5 {
                optimizer.step(p.objective.as_mut())?;
            }
            Ok::<_, flat_optim::Error>(p.params.read()?.to_f64()?)
        };
        assert_eq!(run(1)?, run(1)?, "{kind}");
        assert_ne!(run(1)?, run(2)?, "{kind}");
    }
    Ok(())
}
