//! What each rule computes, against its paper written out on functions whose gradients are known.

use crate::functions::{Recorder, bits, logistic, vars};
use candle_core::{Device, Tensor};
use flat_optim::{
    Ctx, Direction, Gate, GradientRule, Nso, Optimizer, Oracle, ParamVec, PerPart, Plain, Purpose, Query, Result, Rows,
    Rsp, Sam, Sap, ScheduleConfig, ScheduleShape, Sgd, Sign, Streams, WithRows,
};

#[test]
fn rsp_is_algorithm_1_written_out() -> Result<()> {
    // f = x' A x / 2 with A = diag(1, 2, 3): grad f(x + rho u) = A x + rho A u
    let (params, v) = vars(&[("x", &[1.0, -2.0, 0.5])])?;
    let a = Tensor::new(&[1.0f64, 2.0, 3.0], &Device::Cpu)?;
    let mut f = |_: Query| a.mul(&v[0].sqr()?)?.sum_all()? * 0.5;
    let (theta, rho) = (params.read()?, 0.3);
    let a = ParamVec::from_f64(params.space(), vec![1.0, 2.0, 3.0])?;
    let g = a.hadamard(&theta)?;
    for step in 0..5 {
        let cx = Ctx::new(step, rho, 0.1, Streams::new(2), params.space(), None);
        let z = ParamVec::noise(params.space(), &Streams::new(2).at2(Purpose::Perturb, step, 0))?;
        let u = z.scaled(1.0 / z.norm()?)?;
        let v = g.plus(rho, &a.hadamard(&u)?)?.reject(&g)?;
        let mut rule = Rsp::new(rho);
        let got = rule.estimate(&mut Oracle::new(&params, &mut f, &theta, None, 1)?, &cx)?;
        assert!(got.grad.plus(-1.0, &g.plus(1.0, &v)?)?.norm()? < 1e-14, "step {step}"); // rounding
        assert!(got.perturbed && got.lr.is_none() && v.norm()? > 0.01);
    }
    Ok(())
}

#[test]
fn nso_averages_antithetic_pairs() -> Result<()> {
    // f = sum x^3: (grad f(x + u) + grad f(x - u)) / 2 = 3 x^2 + 3 u^2
    let (params, v) = vars(&[("x", &[1.0, -2.0, 0.5])])?;
    let mut f = |_: Query| v[0].sqr()?.mul(&v[0])?.sum_all();
    let (theta, sigma) = (params.read()?, 0.1);
    let cx = Ctx::new(4, sigma, 0.1, Streams::new(2), params.space(), None);
    let got = Nso::new(sigma).pairs(2).estimate(&mut Oracle::new(&params, &mut f, &theta, None, 1)?, &cx)?;
    let mut expected = theta.hadamard(&theta)?.scaled(3.0)?;
    for j in 0..2 {
        let z = ParamVec::noise(params.space(), &Streams::new(2).at2(Purpose::Perturb, 4, j))?;
        expected.add_scaled(1.5 * sigma * sigma, &z.hadamard(&z)?)?;
    }
    assert!(got.grad.plus(-1.0, &expected)?.norm()? < 1e-13); // rounding of numbers near 10
    Ok(())
}

#[test]
fn v_is_orthogonal_to_the_gradient_only_where_the_rule_projects() -> Result<()> {
    let rules = |project: bool| -> [Box<dyn GradientRule>; 4] {
        let gate = Gate::default().no_project(!project);
        let sap = Sap::new(0.3).gate(gate);
        [
            Rsp::new(0.3).gate(gate).into(),
            sap.clone().examples(1).into(),
            sap.clone().examples(4).sign(Sign::Plus).into(),
            sap.direction(Direction::Batch).into(),
        ]
    };
    for project in [true, false] {
        for (which, mut rule) in rules(project).into_iter().enumerate() {
            let mut p = logistic(20)?;
            let theta = p.params.read()?;
            let mut f = Oracle::new(&p.params, p.objective.as_mut(), &theta, None, 1)?;
            let cx = Ctx::new(3, rule.radius(p.params.layout().len()), 0.1, Streams::new(0), p.params.space(), None);
            let g = f.gradient(Rows::All)?.grad;
            let v = rule.estimate(&mut f, &cx)?.grad.plus(-1.0, &g)?;
            let cosine = v.dot(&g)? / (v.norm()? * g.norm()?);
            // g is added to v and taken off again: rounding
            assert_eq!(cosine.abs() < 1e-12, project, "rule {which}: {cosine}");
        }
    }
    Ok(())
}

#[test]
fn sap_uses_one_sample_in_both_places_and_a_sign_of_its_own() -> Result<()> {
    let p = logistic(20)?;
    let theta = p.params.read()?;
    let (mut recorder, queries) = Recorder::new(p.objective);
    let mut rule = Sap::default().examples(1);
    let mut chosen = Vec::new();
    for step in 0..60 {
        queries.borrow_mut().clear();
        let cx = Ctx::new(step, 0.05, 0.1, Streams::new(0), p.params.space(), None);
        rule.estimate(&mut Oracle::new(&p.params, &mut recorder, &theta, None, 1)?, &cx)?;
        let rows: Vec<Rows> = queries.borrow().iter().map(|q| q.rows).collect();
        assert!(matches!(rows[..], [Rows::All, Rows::One(a), Rows::One(b)] if a == b), "{rows:?}");
        chosen.push(rows[1].range(20)?.start);
    }
    chosen.sort_unstable();
    chosen.dedup();
    assert!(chosen.len() > 10, "60 draws of 20 samples give {} different ones", chosen.len());
    Ok(())
}

#[test]
fn sap_perturbs_a_sample_along_its_own_gradient() -> Result<()> {
    // rows (1, 0) and (0, 1): f_i = w_i^2 / 2 + w_i, so that grad f_i = (w_i + 1) e_i and everything is known
    let (params, v) = vars(&[("w", &[2.0, 5.0])])?;
    let mut f = WithRows::new(2, |q: Query| {
        let r = q.rows.range(2).map_err(candle_core::Error::wrap)?;
        let w = v[0].narrow(0, r.start, r.len())?;
        ((w.sqr()? * 0.5)? + w)?.mean_all()
    });
    let theta = params.read()?;
    let g = ParamVec::from_f64(params.space(), vec![1.5, 3.0])?;
    let mut signs = Vec::new();
    for step in 0..40 {
        let cx = Ctx::new(step, 0.25, 0.1, Streams::new(3), params.space(), None);
        let mut rule = Sap::new(0.25).examples(1);
        let got = rule.estimate(&mut Oracle::new(&params, &mut f, &theta, None, 1)?, &cx)?.grad;
        let i = cx.stream(Purpose::Sample).below(2);
        let sign = cx.stream(Purpose::Sign).sign();
        let mut sample = vec![0.0, 0.0];
        sample[i] = [3.0, 6.0][i] + sign * 0.25;
        let expected = ParamVec::from_f64(params.space(), sample)?.reject(&g)?.plus(1.0, &g)?;
        assert!(got.plus(-1.0, &expected)?.norm()? < 1e-14, "step {step}"); // rounding
        signs.push(sign);
    }
    assert!(signs.contains(&1.0) && signs.contains(&-1.0));
    Ok(())
}

#[test]
fn the_gate_leaves_a_plain_step_with_its_own_learning_rate() -> Result<()> {
    let gate = Gate::default().eps0(5.0).plain_lr(Some(0.25));
    let rules: [Box<dyn GradientRule>; 2] = [Rsp::default().gate(gate).into(), Sap::default().gate(gate).into()];
    for rule in rules {
        // f = x^2 / 2 from 8: beyond the gate the step is x <- x - x / 4 = 6, then 4.5; within it the rate is 0.125
        let (params, v) = vars(&[("x", &[8.0])])?;
        let mut f = |_: Query| v[0].sqr()?.sum_all()? * 0.5;
        let mut optimizer = Optimizer::new(&params, rule, Sgd::new(0.125).momentum(0.0))?;
        for (after, lr, perturbed, evals) in [(6.0, 0.25, false, 1.0), (4.5, 0.25, false, 1.0)] {
            let report = optimizer.step(&mut f)?;
            assert_eq!((report.lr, report.perturbed, report.evals), (lr, perturbed, evals));
            assert_eq!(params.read()?.to_f64()?, [after]);
        }
        let report = optimizer.step(&mut f)?;
        assert_eq!((report.lr, report.perturbed, report.evals), (0.125, true, 2.0));
        // one dimension: v is rejected to zero
        assert!((params.read()?.to_f64()?[0] - 4.5 * 0.875).abs() < 1e-14); // rounding
    }
    Ok(())
}

#[test]
fn a_zero_gradient_means_no_perturbation_for_sam_and_an_offset_for_sap() -> Result<()> {
    let flat = |rule: Box<dyn GradientRule>, at: f64| {
        let (params, v) = vars(&[("x", &[at, at])])?;
        let mut f = |_: Query| v[0].sqr()?.sqr()?.sum_all();
        let report = Optimizer::builder(&params).rule(rule).build()?.step(&mut f)?;
        Ok::<_, flat_optim::Error>((report, params.read()?.to_f64()?))
    };
    let (report, x) = flat(Sam::default().into(), 0.0)?;
    assert!(!report.perturbed && report.evals == 1.0 && report.skipped.is_none());
    assert_eq!(x, [0.0, 0.0]);
    let (report, x) = flat(Sap::default().into(), 0.0)?;
    assert!(report.perturbed && report.evals == 3.0, "{report:?}");
    assert!(x.iter().all(|x| x.is_finite() && *x != 0.0), "{x:?}");
    Ok(())
}

#[test]
fn m_sharpness_perturbs_every_micro_batch_by_its_own_gradient() -> Result<()> {
    let rho = 0.3;
    let mut p = logistic(10)?;
    let theta = p.params.read()?;
    let mut f = Oracle::new(&p.params, p.objective.as_mut(), &theta, None, 1)?;
    let mut expected = ParamVec::zeros(p.params.space())?;
    for index in 0..3 {
        let rows = Rows::Shard { index, of: 3 };
        let g = f.gradient(rows)?;
        let s = f.gradient_at(rho / g.norm.value()?, &g.grad, rows)?;
        expected.add_scaled(rows.range(10)?.len() as f64 / 10.0, &s.grad)?;
    }
    let before = f.evals();
    let cx = Ctx::new(0, rho, 0.1, Streams::new(0), p.params.space(), None);
    let estimate = PerPart::new(4, Sam::new(rho)).estimate(&mut f, &cx)?;
    assert!(estimate.grad.plus(-1.0, &expected)?.norm()? < 1e-15); // rounding
    assert!((f.evals() - before - 2.0).abs() < 1e-12);
    let whole = Sam::new(rho).estimate(&mut f, &cx)?;
    assert!(whole.grad.plus(-1.0, &expected)?.norm()? > 1e-4, "m-sharpness is another rule");
    Ok(())
}

#[test]
fn a_gate_that_never_opens_leaves_the_plain_run_whatever_the_schedule() -> Result<()> {
    // the rate of plain steps follows the schedule, given or not
    let run = |rule: Box<dyn GradientRule>| -> Result<Vec<u64>> {
        let (params, v) = vars(&[("x", &[1.0, -2.0, 0.5])])?;
        let shape = ScheduleShape::Cosine { total_steps: 20, min: 0.0 };
        let lr = ScheduleConfig { warmup_steps: 3, shape };
        let mut o =
            Optimizer::builder(&params).rule(rule).base(Sgd::new(0.05).momentum(0.0)).lr_schedule(lr).build()?;
        for _ in 0..20 {
            o.step(&mut WithRows::new(4, |_: Query| v[0].powf(4.0)?.sum_all()))?;
        }
        bits(&params)
    };
    let plain = run(Plain.into())?;
    for plain_lr in [None, Some(0.05)] {
        let gate = Gate::default().eps0(1e-30).plain_lr(plain_lr);
        assert_eq!(run(Rsp::default().gate(gate).into())?, plain);
        assert_eq!(run(Sap::default().gate(gate).into())?, plain);
    }
    let twice = run(Rsp::default().gate(Gate::default().eps0(1e-30).plain_lr(Some(0.1))).into())?;
    assert_ne!(twice, plain, "the rate of plain steps counts");
    Ok(())
}
