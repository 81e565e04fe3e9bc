//! What holds for every function.

use crate::conformance::{base, bases_of, builder, fits, problems, rule};
use crate::functions::{Everything, bits, logistic, quadratic, vars};
use candle_core::Result as CResult;
use candle_core::{DType, Device, Tensor, Var};
use flat_optim::{
    AdamW, BaseKind, Batch, Constant, Ctx, Direction, Estimate, GradientRule, Group, Groups, Need, Nso, Objective,
    Optimizer, Oracle, ParamVec, Params, Plain, Purpose, Query, RadiusSchedule, Result, Rows, Rsp, RuleKind, Sam,
    Sample, Sap, ScheduleConfig, ScheduleShape, Sgd, Streams,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn a_radius_of_zero_reduces_every_rule_to_the_base_optimizer() -> Result<()> {
    for b in BaseKind::all() {
        for r in
            RuleKind::all().filter(|r| fits(*r, b) && rule(*r).plain_at_zero_radius() && !r.asks_for(Need::Subspace))
        {
            let run = |rule: Box<dyn GradientRule>| {
                let mut p = logistic(20)?;
                let mut optimizer =
                    builder(&p.params).rule(rule).base(base(b, 0.01)).rho_schedule(Constant(0.0)).build()?;
                for _ in 0..5 {
                    assert!(!optimizer.step(p.objective.as_mut())?.perturbed);
                }
                assert_eq!(optimizer.evals(), 5.0);
                bits(&p.params)
            };
            assert_eq!(run(rule(r))?, run(Plain.into())?, "{r} over {b}");
        }
    }
    Ok(())
}

#[test]
fn a_tiny_radius_gives_nearly_the_plain_gradient() -> Result<()> {
    // the surrogate differs from g by rho times the curvature, which is below 4 here
    let rules: [Box<dyn GradientRule>; 4] = [
        Sam::new(1e-9).into(),
        Rsp::new(1e-9).into(),
        Sap::new(1e-9).direction(Direction::Batch).into(),
        Nso::new(1e-9).into(),
    ];
    for (which, mut rule) in rules.into_iter().enumerate() {
        for mut p in problems()? {
            let theta = p.params.read()?;
            let cx = Ctx::new(0, rule.radius(p.params.layout().len()), 0.1, Streams::new(0), p.params.space(), None);
            let mut f = Oracle::new(&p.params, p.objective.as_mut(), &theta, None, 1)?;
            let g = f.gradient(Rows::All)?.grad;
            let surrogate = rule.estimate(&mut f, &cx)?.grad;
            let off = surrogate.plus(-1.0, &g)?.norm()?;
            assert!(off < 1e-7, "rule {which} on {}: {off}", p.name);
        }
    }
    Ok(())
}

#[test]
fn displaced_restores_theta_bit_for_bit_on_success_error_and_panic() -> Result<()> {
    let (params, v) = vars(&[("a", &[0.1, -3.7e-9, 1e17]), ("b", &[1.0 / 3.0])])?;
    let original = bits(&params)?;
    let theta = params.read()?;
    let u = ParamVec::sphere(params.space(), &Streams::new(0).at(Purpose::Test, 0))?;
    let loss = || -> CResult<Tensor> { v[0].sum_all()? + v[1].sum_all()? };
    let moved = |params: &flat_optim::Params| bits(params).map(|b| b != original).unwrap_or(false);

    let mut ok = |_: Query| {
        assert!(moved(&params), "the objective sees the displaced parameters");
        loss()
    };
    Oracle::new(&params, &mut ok, &theta, None, 1)?.gradient_at(0.7, &u, Rows::All)?;
    assert_eq!(bits(&params)?, original);

    let mut fails = |_: Query| Err::<Tensor, _>(candle_core::Error::Msg("no".into()));
    assert!(Oracle::new(&params, &mut fails, &theta, None, 1)?.gradient_at(0.7, &u, Rows::All).is_err());
    assert_eq!(bits(&params)?, original);

    let mut nan = |_: Query| loss()?.affine(f64::NAN, 0.0);
    let error = Oracle::new(&params, &mut nan, &theta, None, 1)?.gradient_at(0.7, &u, Rows::All).err();
    assert!(error.is_some_and(|e| e.is_non_finite()));
    assert_eq!(bits(&params)?, original);

    let mut panics = |_: Query| -> CResult<Tensor> {
        assert!(moved(&params));
        std::panic::resume_unwind(Box::new("a bug in the model"))
    };
    let mut oracle = Oracle::new(&params, &mut panics, &theta, None, 1)?;
    assert!(catch_unwind(AssertUnwindSafe(|| oracle.gradient_at(0.7, &u, Rows::All).map(|_| ()))).is_err());
    assert_eq!(bits(&params)?, original);
    Ok(())
}

#[test]
fn clipping_shortens_the_surrogate_and_leaves_short_ones_alone() -> Result<()> {
    // g = (3, 4) at (3, 4)
    for (clip, expected, clipped) in [(1.0, [2.4, 3.2], true), (6.0, [0.0, 0.0], false)] {
        let (params, v) = vars(&[("x", &[3.0, 4.0])])?;
        let mut f = |_: Query| v[0].sqr()?.sum_all()? * 0.5;
        let report = Optimizer::builder(&params).base(Sgd::new(1.0)).clip(clip).build()?.step(&mut f)?;
        assert_eq!((report.clipped, report.surrogate_norm), (clipped, 5.0));
        for (x, expected) in params.read()?.to_f64()?.iter().zip(expected) {
            assert!((x - expected).abs() < 1e-15, "{x}"); // rounding
        }
    }
    Ok(())
}

#[test]
fn groups_scale_learning_rates_replace_weight_decay_and_shield_from_perturbation() -> Result<()> {
    let groups =
        || Groups::default().with(Group::new("b", |p| p.name == "b").lr_scale(0.5).weight_decay(0.0).perturb(false));
    for decoupled in [false, true] {
        // f = (a^2 + b^2) / 2, lr 0.1, weight decay 0.5: a <- a - 0.1 (a + 0.5 a), b <- b - 0.05 b
        let (params, v) = vars(&[("a", &[2.0]), ("b", &[2.0])])?;
        let mut f = |_: Query| (v[0].sqr()?.sum_all()? + v[1].sqr()?.sum_all()?)? * 0.5;
        let base = Sgd::new(0.1).momentum(0.0).weight_decay(0.5).decoupled(decoupled);
        Optimizer::builder(&params).base(base).groups(groups()).build()?.step(&mut f)?;
        for (x, expected) in params.read()?.to_f64()?.iter().zip([1.7, 1.9]) {
            assert!((x - expected).abs() < 1e-15, "{x}"); // rounding
        }
    }
    // SAM with rho 1 ascends along a alone: gradient (3, 2); with lr 0.1 and 0.05
    let (params, v) = vars(&[("a", &[2.0]), ("b", &[2.0])])?;
    let mut f = |_: Query| (v[0].sqr()?.sum_all()? + v[1].sqr()?.sum_all()?)? * 0.5;
    let (sam, groups) = (Sam::new(1.0), groups());
    Optimizer::builder(&params).rule(sam).base(Sgd::new(0.1)).groups(groups).build()?.step(&mut f)?;
    for (x, expected) in params.read()?.to_f64()?.iter().zip([1.7, 1.9]) {
        assert!((x - expected).abs() < 1e-15, "{x}"); // rounding
    }
    Ok(())
}

#[test]
fn adamw_with_equal_groups_is_adamw_without() -> Result<()> {
    let run = |groups: Groups, scale: f64| {
        let mut p = quadratic()?;
        let mut optimizer = Optimizer::builder(&p.params).base(AdamW::new(0.1 * scale)).groups(groups).build()?;
        for _ in 0..5 {
            optimizer.step(p.objective.as_mut())?;
        }
        Ok::<_, flat_optim::Error>(p.params.read()?.to_f64()?)
    };
    let grouped = run(Groups::default().with(Group::new("all", |_| true).lr_scale(2.0)), 0.5)?;
    for (a, b) in grouped.iter().zip(run(Groups::default(), 1.0)?) {
        assert!((a - b).abs() < 1e-14, "{a} against {b}"); // rounding
    }
    Ok(())
}

#[test]
fn only_perturbed_parameters_move_and_the_sphere_keeps_its_radius() -> Result<()> {
    let (params, v) = vars(&[("a", &[1.0, 2.0]), ("b", &[3.0, 4.0, 5.0])])?;
    let theta = params.read()?;
    let masks = Groups::default().with(Group::new("a", |p| p.name == "a").perturb(false)).masks(params.space(), 0.0)?;
    let mask = masks.perturb.as_ref();
    let cx = Ctx::new(0, 0.5, 0.1, Streams::new(0), params.space(), mask);
    let u = cx.sphere()?;
    assert!((u.norm()? - 1.0).abs() < 1e-15);
    let mut f = |_: Query| {
        assert_eq!(v[0].to_vec1::<f64>()?, [1.0, 2.0]);
        assert_ne!(v[1].to_vec1::<f64>()?, [3.0, 4.0, 5.0]);
        v[0].sum_all()? + v[1].sqr()?.sum_all()?
    };
    Oracle::new(&params, &mut f, &theta, mask, 1)?.gradient_at(0.5, &u, Rows::All)?;
    Oracle::new(&params, &mut f, &theta, mask, 1)?.gradient_at(0.5, &cx.gaussian(0)?, Rows::All)?;
    Ok(())
}

#[test]
fn schedules_drive_learning_rate_and_radius() -> Result<()> {
    let mut p = quadratic()?;
    let cosine = ScheduleConfig { warmup_steps: 0, shape: ScheduleShape::Cosine { total_steps: 4, min: 0.0 } };
    let late = ScheduleConfig { warmup_steps: 0, shape: ScheduleShape::Window { from: 2, until: None } };
    let builder = || Optimizer::builder(&p.params).rule(Sam::new(0.2)).base(Sgd::new(0.1));
    let mut optimizer = builder().lr_schedule(cosine.clone()).rho_schedule(late).build()?;
    let reports = (0..3).map(|_| optimizer.step(p.objective.as_mut())).collect::<Result<Vec<_>>>()?;
    assert_eq!(reports.iter().map(|r| r.evals).collect::<Vec<_>>(), [1.0, 1.0, 2.0]);
    assert_eq!(reports.iter().map(|r| r.rho).collect::<Vec<_>>(), [0.0, 0.0, 0.2]);
    assert!((reports[2].lr - 0.05).abs() < 1e-15 && reports[0].lr == 0.1);
    let follows = builder().lr_schedule(cosine).rho_schedule(RadiusSchedule::FollowsLr { rho_min: 0.04 }).build()?;
    assert!((follows.rho_at(2) - 0.12).abs() < 1e-15);
    Ok(())
}

#[test]
fn the_average_of_the_weights_is_shown_and_taken_away_again() -> Result<()> {
    let (params, v) = vars(&[("x", &[1.0, 3.0])])?;
    let mut f = |_: Query| v[0].sqr()?.sum_all()? * 0.5;
    let mut optimizer = Optimizer::builder(&params).base(Sgd::new(0.5).momentum(0.0)).ema(0.75).build()?;
    let shown = |o: &Optimizer| o.with_averaged(|| Ok::<_, flat_optim::Error>(params.read()?.to_f64()?));
    assert_eq!(shown(&optimizer)?, [1.0, 3.0], "before the first step the average is theta itself");
    optimizer.step(&mut f)?; // (0.5, 1.5)
    optimizer.step(&mut f)?; // (0.25, 0.75)
    assert_eq!(shown(&optimizer)?, [0.75 * 0.5 + 0.25 * 0.25, 0.75 * 1.5 + 0.25 * 0.75]);
    assert_eq!(params.read()?.to_f64()?, [0.25, 0.75]);
    let failed = optimizer.with_averaged(|| Err::<(), _>(flat_optim::Error::objective("no")));
    assert!(failed.is_err());
    assert_eq!(params.read()?.to_f64()?, [0.25, 0.75]);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        optimizer.with_averaged(|| -> Result<()> { std::panic::resume_unwind(Box::new("a bug")) })
    }));
    assert!(panicked.is_err());
    assert_eq!(params.read()?.to_f64()?, [0.25, 0.75]);
    Ok(())
}

/// A rule from outside the crate: the gradient with its sign turned.
struct Ascent;

impl flat_optim::Stateful for Ascent {}

impl flat_optim::Described for Ascent {
    fn name(&self) -> &'static str {
        "ascent"
    }
}

impl GradientRule for Ascent {
    fn evals_per_step(&self, _: usize) -> f64 {
        1.0
    }
    fn radius(&self, _: usize) -> f64 {
        0.0 // has none, and must be asked all the same
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, _: &Ctx<'_>) -> Result<Estimate> {
        let g = f.gradient(Rows::All)?;
        let up = g.grad.scaled(-1.0)?;
        Ok(Estimate::perturbed(&g, up))
    }
}

#[test]
fn a_rule_of_ones_own_works_like_the_others() -> Result<()> {
    let (params, v) = vars(&[("x", &[2.0])])?;
    let mut f = |_: Query| v[0].sqr()?.sum_all()? * 0.5;
    let report = Optimizer::new(&params, Ascent, Sgd::new(0.5))?.step(&mut f)?;
    assert_eq!((report.loss, report.surrogate_norm, report.perturbed), (2.0, 2.0, true));
    assert_eq!(params.read()?.to_f64()?, [3.0]);
    Ok(())
}

/// An objective that knows its gradient: f = |x|^2 / 2.
struct KnowsItsGradient {
    rows: usize,
}

impl Objective for KnowsItsGradient {
    fn rows(&self) -> usize {
        self.rows
    }
    fn loss(&mut self, _: Query) -> Result<Tensor> {
        Err(flat_optim::Error::objective("the gradient is given"))
    }
    fn loss_and_grad(&mut self, params: &Params, _: Query) -> Result<Sample> {
        let x = params.read()?;
        Sample::new(0.5 * x.dot(&x)?, x)
    }
    fn offers(&self, _: Need) -> bool {
        true
    }
    fn losses_and_grad(&mut self, params: &Params, query: Query) -> Result<(Sample, Tensor)> {
        Ok((self.loss_and_grad(params, query)?, self.losses(query)?))
    }
    fn losses(&mut self, query: Query) -> Result<Tensor> {
        Ok(Tensor::zeros(query.rows.range(self.rows)?.len(), DType::F64, &Device::Cpu)?)
    }
    fn chosen_loss_and_grad(&mut self, params: &Params, _: &[u32], update_stats: bool) -> Result<Sample> {
        self.loss_and_grad(params, Query { rows: Rows::All, update_stats })
    }
    fn switch(&mut self, _: Batch) -> Result<usize> {
        Ok(self.rows)
    }
}

#[test]
fn an_objective_may_bring_its_own_gradient() -> Result<()> {
    // a projected step goes another way, and the surrogate of entropy-sgd is a way and no gradient
    for r in RuleKind::all().filter(|r| !r.asks_for(Need::Subspace) && *r != "entropy-sgd") {
        let (params, _) = vars(&[("x", &[3.0, 4.0])])?;
        let mut f = KnowsItsGradient { rows: 5 };
        let mut o = builder(&params).rule(rule(r)).base(Sgd::new(0.1)).micro_batch(3).build()?;
        o.step(&mut f)?;
        let norm = params.read()?.norm()?;
        if rule(r).replaces_base() {
            assert!(norm < 5.0, "{r}: {norm}");
            continue;
        }
        // how far theta is displaced over the radius: the size of gradient or weights where it is relative to them
        let reach = if ["usam", "asam", "lpf"].contains(&r.name()) { 6.0 } else { 2.5 };
        // lr times the displacement (sigma sqrt(d) a few times over for nso) off 5 - 0.5
        assert!((norm - 4.5).abs() < 0.1 * 0.02 * reach, "{r}: {norm}");
    }
    Ok(())
}

#[test]
fn models_in_f32_are_restored_and_trained_too() -> Result<()> {
    for r in RuleKind::all() {
        for b in bases_of(r) {
            let w = Var::new(&[[0.1f32, -0.7], [1.0 / 3.0, 1e-7]], &Device::Cpu)?;
            let params = Params::new([("w".to_string(), w.clone())])?;
            let goal = Tensor::new(&[[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
            let mut f = |_: Query| w.sub(&goal)?.sqr()?.mean_all();
            let theta = params.read()?;
            let u = Ctx::new(0, 0.1, 0.1, Streams::new(0), params.space(), None).sphere()?;
            Oracle::new(&params, &mut f, &theta, None, 1)?.gradient_at(0.3, &u, Rows::All)?;
            assert_eq!(bits(&params)?, theta.to_f64()?.into_iter().map(f64::to_bits).collect::<Vec<_>>());
            let mut f = Everything(f);
            let mut o = builder(&params).rule(rule(r)).base(base(b, 0.05)).build()?;
            let first = o.step(&mut f)?.loss;
            // in one axis after another the way is longer
            for _ in 0..if r.asks_for(Need::Subspace) { 1000 } else { 200 } {
                o.step(&mut f)?;
            }
            assert!(o.step(&mut f)?.loss < 0.1 * first, "{r} over {b}");
        }
    }
    Ok(())
}

#[test]
fn an_optimizer_can_move_to_another_thread() {
    fn check<T: Send>() {}
    check::<Optimizer>();
}
