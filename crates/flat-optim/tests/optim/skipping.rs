//! Losses and gradients that are not finite.

use crate::conformance::{base, bases_of, builder, calls_of_second_step, rule};
use crate::functions::{Everything, bits, vars};
use flat_optim::{Error, Optimizer, Query, RadiusSchedule, Result, RuleKind, Sgd};
use std::cell::Cell;

#[test]
fn a_step_that_is_not_finite_anywhere_is_skipped_whole() -> Result<()> {
    for r in RuleKind::all() {
        for b in bases_of(r) {
            // which evaluation of the step goes wrong, and whether in the loss or only in the gradient
            for (bad, in_loss) in [(0, true), (1, true), (0, false), (1, false)] {
                if bad >= calls_of_second_step(r, b)? {
                    continue;
                }
                let (params, v) = vars(&[("x", &[0.5, 0.25]), ("y", &[0.5])])?;
                let (call, broken) = (Cell::new(0), Cell::new(false));
                let f = |_: Query| {
                    let loss = (v[0].sqr()?.sum_all()? + v[1].sqr()?.sum_all()?)?;
                    let now = call.replace(call.get() + 1);
                    match broken.get() && now == bad {
                        false => Ok(loss),
                        true if in_loss => loss.affine(f64::INFINITY, 0.0),
                        // sqrt at 0: value 0, no finite derivative
                        true => loss + v[0].sub(&v[0])?.sqrt()?.sum_all()?,
                    }
                };
                let mut f = Everything(f);
                let mut o = builder(&params).rule(rule(r)).base(base(b, 0.01)).ema(0.5).build()?;
                o.step(&mut f)?;
                let (theta, state, evals) = (bits(&params)?, o.state()?, o.evals());

                broken.set(true);
                call.set(0);
                let report = o.step(&mut f)?;
                let context = format!("{r} over {b}, evaluation {bad}, loss {in_loss}: {report:?}");
                let what = if in_loss { "the loss is inf" } else { "the gradient norm is" };
                assert!(report.skipped.as_deref().is_some_and(|s| s.starts_with(what)), "{context}");
                assert!(report.loss.is_nan() && report.step == 1, "{context}");
                assert_eq!(bits(&params)?, theta, "{context}");
                assert_eq!((o.steps(), o.skipped()), (2, 1), "{context}");
                assert_eq!(o.evals(), evals + report.evals, "{context}");
                for (name, t) in o.state()?.iter().filter(|(n, _)| !n.starts_with("progress.")) {
                    let host =
                        |t: &candle_core::Tensor| t.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>();
                    assert_eq!(host(t)?, host(&state[name])?, "{name}: {context}");
                }

                broken.set(false);
                call.set(0);
                assert_eq!(o.step(&mut f)?.skipped, None, "{context}");
                assert_ne!(bits(&params)?, theta, "{context}");
            }
        }
    }
    Ok(())
}

#[test]
fn too_many_skips_in_a_row_are_an_error_and_a_good_step_starts_the_count_anew() -> Result<()> {
    let (params, v) = vars(&[("x", &[1.0])])?;
    let broken = Cell::new(true);
    let mut f = |_: Query| v[0].sqr()?.sum_all()?.affine(if broken.get() { f64::NAN } else { 1.0 }, 0.0);
    let mut o = Optimizer::builder(&params).max_consecutive_skips(2).build()?;
    assert!(o.step(&mut f)?.skipped.is_some());
    assert!(o.step(&mut f)?.skipped.is_some());
    broken.set(false);
    assert!(o.step(&mut f)?.skipped.is_none());
    broken.set(true);
    assert!(o.step(&mut f)?.skipped.is_some());
    assert!(o.step(&mut f)?.skipped.is_some());
    match o.step(&mut f) {
        Err(Error::TooManySkips { skips: 3, step: 5, last }) => assert!(last.contains("loss is NaN"), "{last}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn other_errors_pass_through_and_leave_the_optimizer_alone() -> Result<()> {
    let (params, v) = vars(&[("x", &[1.0, 2.0]), ("unused", &[1.0])])?;
    let theta = bits(&params)?;
    let mut o = Optimizer::builder(&params).build()?;
    let mut unused = |_: Query| v[0].sqr()?.sum_all();
    let text = o.step(&mut unused).expect_err("a parameter without a gradient").to_string();
    assert!(text.contains("`unused`"), "{text}");
    let mut vector = |_: Query| v[0].sqr();
    assert!(matches!(o.step(&mut vector), Err(Error::Core(flat_core::Error::NotScalar { shape })) if shape == [2]));
    assert_eq!((bits(&params)?, o.steps(), o.skipped()), (theta, 0, 0));
    Ok(())
}

#[test]
fn options_out_of_range_are_refused_by_name() -> Result<()> {
    let (params, _) = vars(&[("x", &[1.0])])?;
    let text = |b: flat_optim::Builder<'_>| b.build().err().map(|e| e.to_string()).unwrap_or_default();
    let builder = || Optimizer::builder(&params);
    assert!(text(builder().base(Sgd::new(0.0))).starts_with("lr = 0"));
    assert!(text(builder().base(Sgd::new(f64::NAN))).starts_with("lr = NaN"));
    assert!(text(builder().clip(-1.0)).starts_with("clip = -1"));
    assert!(text(builder().ema(1.0)).starts_with("ema = 1"));
    assert!(text(builder().micro_batch(0)).starts_with("micro-batch = 0"));
    assert!(text(builder().rho_schedule(RadiusSchedule::FollowsLr { rho_min: -0.1 })).starts_with("min-rho = -0.1"));
    assert!(text(builder().base(Sgd::new(0.1).momentum(1.0))).starts_with("momentum = 1"));
    assert!(text(builder().base(Sgd::new(0.1).momentum(0.0).nesterov(true))).starts_with("nesterov = true"));
    assert!(text(builder().rule(flat_optim::Sam::new(0.0))).starts_with("rho = 0"));
    assert!(text(builder().rule(flat_optim::Sap::new(0.1).examples(0))).starts_with("sap-examples = 0"));
    let gate = flat_optim::Gate::default();
    assert!(text(builder().rule(flat_optim::Rsp::new(0.1).gate(gate.eps0(f64::NAN)))).starts_with("eps0 = NaN"));
    assert!(
        text(builder().rule(flat_optim::Sap::new(0.1).gate(gate.plain_lr(Some(-1.0))))).starts_with("plain-lr = -1")
    );
    assert!(text(builder().rule(flat_optim::Nso::new(f64::INFINITY))).starts_with("sigma = inf"));
    Ok(())
}
