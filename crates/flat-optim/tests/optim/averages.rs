//! Averages of the weights: which weights they are of, and that a resumed one is the uninterrupted one.

use crate::functions::{bits, logistic, vars};
use flat_optim::{Averaging, Optimizer, Plain, Query, Result, ScheduleFree, Sgd};

#[test]
fn stochastic_weight_averaging_is_the_mean_done_by_hand() -> Result<()> {
    // f = x^2 / 2 at lr 1/2 halves x: 8, 4, 2, 1, 1/2, 1/4, 1/8, ...; from step 2 on, every 2nd: 2, 1/2, 1/8
    let (params, v) = vars(&[("x", &[8.0])])?;
    let mut f = |_: Query| v[0].sqr()?.sum_all()? * 0.5;
    let base = Sgd::new(0.5).momentum(0.0);
    let mut optimizer = Optimizer::builder(&params).base(base).swa(2, 2).build()?;
    let expected = [None, Some(2.0), Some(2.0), Some(1.25), Some(1.25), Some(2.625 / 3.0), Some(2.625 / 3.0)];
    for (steps, expected) in (1..).zip(expected) {
        optimizer.step(&mut f)?;
        let average = optimizer.average().and_then(|a| a.average()).map(|a| a.to_f64()).transpose()?;
        match (average, expected) {
            (Some(x), Some(y)) => assert!((x[0] - y).abs() < 1e-15, "after {steps}: {x:?} against {y}"), // rounding
            (average, expected) => assert_eq!((average, expected), (None, None), "after {steps}"),
        }
        let shown = optimizer.with_averaged(|| Ok::<_, flat_optim::Error>(params.read()?.to_f64()?))?;
        let theta = params.read()?.to_f64()?;
        assert_eq!(shown == theta, steps <= 2, "the first weights are the average, before that theta is shown");
    }
    Ok(())
}

#[test]
fn the_steps_of_an_equal_mean_are_the_start_and_every_so_many_from_there_on() {
    let taken = |start, every| {
        let averaging = Averaging::Equal { start, every };
        (0..12).filter(|steps| averaging.takes(*steps)).collect::<Vec<u64>>()
    };
    assert_eq!(taken(5, 3), [5, 8, 11]);
    assert_eq!(taken(0, 4), [4, 8]);
    assert!(taken(20, 1).is_empty());
}

#[test]
fn a_resumed_average_is_the_uninterrupted_one() -> Result<()> {
    // before the first weights, at them, and between later ones
    for interrupted in [2, 3, 6] {
        let mut whole = logistic(20)?;
        let build = |params| Optimizer::builder(params).base(Sgd::new(0.5)).swa(3, 2).build();
        let mut o = build(&whole.params)?;
        for _ in 0..interrupted {
            o.step(whole.objective.as_mut())?;
        }
        let (theta, saved) = (whole.params.read()?, o.state()?);
        let mut resumed = logistic(20)?;
        resumed.params.write(&theta)?;
        let mut q = build(&resumed.params)?;
        q.load_state(&saved)?;
        for _ in interrupted..9 {
            o.step(whole.objective.as_mut())?;
            q.step(resumed.objective.as_mut())?;
        }
        let shown = |o: &Optimizer, params| o.with_averaged(|| bits(params));
        assert_eq!(shown(&o, &whole.params)?, shown(&q, &resumed.params)?, "after {interrupted}");
        assert_ne!(shown(&o, &whole.params)?, bits(&whole.params)?);
    }
    Ok(())
}

#[test]
fn over_a_schedule_free_base_its_model_is_averaged() -> Result<()> {
    let (mut p, mut q) = (logistic(20)?, logistic(20)?);
    let mut plain = Optimizer::new(&p.params, Plain, ScheduleFree::new(0.5))?;
    let mut averaged = Optimizer::builder(&q.params).base(ScheduleFree::new(0.5)).ema(0.75).build()?;
    let mut expected: Option<Vec<f64>> = None;
    for _ in 0..4 {
        plain.step(p.objective.as_mut())?;
        averaged.step(q.objective.as_mut())?;
        let model = plain.evaluation_point()?.expect("a mean").to_f64()?;
        let mixed = |e: Vec<f64>| e.iter().zip(&model).map(|(e, x)| 0.75 * e + 0.25 * x).collect();
        expected = Some(expected.map_or(model.clone(), mixed));
    }
    let shown = averaged.evaluation_point()?.expect("an average").to_f64()?;
    for (a, b) in shown.iter().zip(expected.into_iter().flatten()) {
        assert!((a - b).abs() < 1e-15, "{a} against {b}"); // rounding
    }
    Ok(())
}

#[test]
fn two_averages_and_one_that_takes_nothing_are_refused_by_name() -> Result<()> {
    let (params, _) = vars(&[("x", &[1.0])])?;
    let text = |b: flat_optim::Builder<'_>| b.build().err().map(|e| e.to_string()).unwrap_or_default();
    assert!(text(Optimizer::builder(&params).ema(0.9).swa(3, 1)).starts_with("swa-start = 3"));
    assert!(text(Optimizer::builder(&params).swa(3, 0)).starts_with("swa-every = 0"));
    Ok(())
}
