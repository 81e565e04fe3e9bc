//! Rules that project on a subspace: what they move, what the base remembers, when they begin.

use crate::functions::{bits, logistic, vars};
use candle_core::{Device, Tensor, Var};
use flat_optim::{
    Account, AdamW, Base, Builder, BulkSgd, DomSgd, Error, Optimizer, ParamVec, Params, Project, Projection, Query,
    Result, Sgd, StateVisitor, Stateful, Subspace,
};
use std::sync::Arc;

/// In even steps the even axes, in odd steps the odd ones.
pub struct Alternating;

impl Stateful for Alternating {}

impl Subspace for Alternating {
    fn basis(&mut self, params: &Params, step: u64) -> Result<Arc<[ParamVec]>> {
        axes(params, |i| (i as u64 + step).is_multiple_of(2))
    }
}

fn axes(params: &Params, of: impl Fn(usize) -> bool) -> Result<Arc<[ParamVec]>> {
    let d = params.layout().len();
    let axis = |i: usize| (0..d).map(|j| f64::from(u8::from(i == j))).collect();
    (0..d).filter(|i| of(*i)).map(|i| Ok(ParamVec::from_f64(params.space(), axis(i))?)).collect()
}

/// The first axis, with shares of the gradient in it that are given, and a count of what was asked.
#[derive(Default)]
pub struct First {
    shares: Vec<f64>,
    asked: u64,
    bases: u64,
}

impl Stateful for First {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.count("asked", &mut self.asked)?;
        visitor.count("bases", &mut self.bases)
    }
}

impl Subspace for First {
    fn basis(&mut self, params: &Params, _: u64) -> Result<Arc<[ParamVec]>> {
        self.bases += 1;
        axes(params, |i| i == 0)
    }
    fn share(&mut self, _: &Params, _: u64) -> Result<f64> {
        self.asked += 1;
        Ok(self.shares[self.asked as usize - 1])
    }
    fn account(&self) -> Account {
        Account { products: self.bases, gradients: self.asked, ..Account::default() }
    }
}

/// `(4 x^2 + y^2) / 2` at (1, 2): the first axis is its dominant one.
pub fn bowl() -> Result<(Params, Vec<Var>)> {
    vars(&[("w", &[1.0, 2.0])])
}

pub fn step(optimizer: &mut Optimizer, v: &[Var]) -> Result<flat_optim::StepReport> {
    let scale = Tensor::new(&[2.0f64, 0.5], &Device::Cpu)?;
    optimizer.step(&mut |_: Query| v[0].sqr()?.mul(&scale)?.sum_all())
}

pub fn rule(dominant: bool, projection: Projection) -> Box<dyn flat_optim::GradientRule> {
    match dominant {
        true => DomSgd::default().projection(projection).into(),
        false => BulkSgd::default().projection(projection).into(),
    }
}

/// Where two steps lead.
fn walked(dominant: bool, projection: Projection, base: impl Into<Box<dyn Base>>) -> Result<Vec<f64>> {
    let (params, v) = bowl()?;
    let subspace = Box::new(First::default());
    let builder = Optimizer::builder(&params).rule(rule(dominant, projection)).base(base).subspace(subspace);
    let mut optimizer = builder.build()?;
    for _ in 0..2 {
        step(&mut optimizer, &v)?;
    }
    Ok(params.read()?.to_f64()?)
}

fn assert_near(found: &[f64], by_hand: [f64; 2]) {
    assert!(found.iter().zip(by_hand).all(|(x, y)| (x - y).abs() < 1e-14), "{found:?} {by_hand:?}");
}

#[test]
fn two_steps_are_those_of_a_calculation_by_hand() -> Result<()> {
    let of = |project| Projection::default().project(project);
    let heavy = || Sgd::new(0.1).momentum(0.5);
    // gradients (4, 2), then (2.4, 2) or (4, 1.8): the buffer has the raw ones, 4.4 = 0.5 * 4 + 2.4 and 2.8 = 0.5 * 2 + 1.8
    assert_near(&walked(true, of(Project::Update), heavy())?, [1.0 - 0.4 - 0.44, 2.0]);
    assert_near(&walked(false, of(Project::Update), heavy())?, [1.0, 2.0 - 0.2 - 0.28]);
    // here it has their parts, which come to the same
    assert_near(&walked(true, of(Project::Gradient), heavy())?, [1.0 - 0.4 - 0.44, 2.0]);
    // decay 0.1: part of the update, not of the gradient. x: 1 - 0.1 (4 + 0.1) = 0.59, then 0.59 - 0.1 (2.36 + 0.059)
    let decayed = || Sgd::new(0.1).momentum(0.0).weight_decay(0.1);
    assert_near(&walked(true, of(Project::Update), decayed())?, [0.59 - 0.2419, 2.0]);
    assert_near(&walked(true, of(Project::Gradient), decayed())?, [0.59 - 0.2419, 2.0 * 0.99 * 0.99]);
    Ok(())
}

#[test]
fn over_adamw_the_update_and_the_gradient_are_different_projections() -> Result<()> {
    let of = |project| Projection::default().project(project);
    let base = || AdamW::new(0.01).weight_decay(0.0);
    let (update, gradient) = (walked(true, of(Project::Update), base())?, walked(true, of(Project::Gradient), base())?);
    // AdamW's first step is lr sign(g); its second, with gradients 4 and 3.96, is lr times 0.19 and 0.001999 of the moments
    let (mean, square) = ((0.09 * 4.0 + 0.1 * 3.96) / 0.19, (0.000_999 * 16.0 + 0.001 * 3.96f64.powi(2)) / 0.001_999);
    // eps is 1e-8 of gradients near 4
    let by_hand = 0.99 - 0.01 * mean / square.sqrt();
    assert!((update[0] - by_hand).abs() < 1e-9 && update[1] == 2.0, "{update:?} {by_hand}");
    assert!((update[0] - gradient[0]).abs() < 1e-9, "on one axis both are the same: {update:?} {gradient:?}");
    // a diagonal axis tells them apart: AdamW's update of the projected gradient leaves the subspace
    struct Diagonal;
    impl Stateful for Diagonal {}
    impl Subspace for Diagonal {
        fn basis(&mut self, params: &Params, _: u64) -> Result<Arc<[ParamVec]>> {
            Ok([ParamVec::from_f64(params.space(), vec![0.8, 0.6])?].into())
        }
    }
    let along = |project| {
        let (params, v) = bowl()?;
        let builder = Optimizer::builder(&params).rule(rule(true, of(project))).base(base());
        step(&mut builder.subspace(Box::new(Diagonal)).build()?, &v)?;
        let at = params.read()?.to_f64()?;
        Ok::<_, Error>([at[0] - 1.0, at[1] - 2.0])
    };
    let ([ux, uy], [gx, gy]) = (along(Project::Update)?, along(Project::Gradient)?);
    // P (-0.01, -0.01) = -0.014 (0.8, 0.6); the eps of AdamW is 1e-8 of gradients near 1
    assert!((ux + 0.0112).abs() < 1e-9 && (uy + 0.0084).abs() < 1e-9, "{ux} {uy}");
    assert!((gx + 0.01).abs() < 1e-9 && (gy + 0.01).abs() < 1e-9, "{gx} {gy}");
    Ok(())
}

#[test]
fn the_two_updates_add_up_to_that_of_the_base() -> Result<()> {
    let bases: [fn() -> Box<dyn Base>; 3] = [
        || Sgd::new(0.3).momentum(0.0).into(),
        || Sgd::new(0.3).momentum(0.9).nesterov(true).weight_decay(0.01).into(),
        || AdamW::new(0.03).weight_decay(0.1).into(),
    ];
    for base in bases {
        for project in [Project::Update, Project::Gradient] {
            for after in [0, 1, 4] {
                // plain up to there, so that the base's buffers are the same
                let change = |rule: Option<bool>| {
                    let mut p = logistic(20)?;
                    let first = Projection::default().first(after).project(project);
                    let builder = Optimizer::builder(&p.params).base(base()).subspace(Box::new(Alternating));
                    let builder = match rule {
                        Some(dominant) => builder.rule(self::rule(dominant, first)),
                        None => builder,
                    };
                    let mut optimizer = builder.build()?;
                    for _ in 0..after {
                        assert!(!optimizer.step(p.objective.as_mut())?.perturbed, "plain before project-from");
                    }
                    let before = p.params.read()?;
                    let report = optimizer.step(p.objective.as_mut())?;
                    assert_eq!((report.perturbed, report.evals), (rule.is_some(), 1.0));
                    Ok::<_, Error>(p.params.read()?.plus(-1.0, &before)?.to_f64()?)
                };
                if project == Project::Gradient && (after > 0 || base().weight_decay() > 0.0) {
                    continue; // a buffer or a decay is in both then
                }
                let (dom, bulk, whole) = (change(Some(true))?, change(Some(false))?, change(None)?);
                for ((d, b), w) in dom.iter().zip(&bulk).zip(&whole) {
                    assert!((d + b - w).abs() < 1e-15, "{project} after {after}: {d} + {b} against {w}");
                }
                assert!(dom.iter().any(|x| x.abs() > 1e-4) && bulk.iter().any(|x| x.abs() > 1e-4), "{dom:?} {bulk:?}");
            }
        }
    }
    Ok(())
}

fn switching(params: &Params, shares: &[f64]) -> Result<Optimizer> {
    let projection = Projection::default().above(Some(0.15)).first(1);
    let subspace = First { shares: shares.to_vec(), ..First::default() };
    let builder: Builder<'_> = Optimizer::builder(params).rule(rule(true, projection)).base(Sgd::new(0.01));
    builder.subspace(Box::new(subspace)).build()
}

#[test]
fn steps_are_plain_until_the_averaged_share_exceeds_the_limit_and_then_projected_for_good() -> Result<()> {
    let (params, v) = bowl()?;
    // averages 0.1, 0.14, 0.126, 0.2134: above 0.15 at the fourth step that asks; step 0 does not ask
    let mut optimizer = switching(&params, &[1.0, 0.5, 0.0, 1.0])?;
    let mut projected = Vec::new();
    for _ in 0..7 {
        projected.push(step(&mut optimizer, &v)?.perturbed);
    }
    assert_eq!(projected, [false, false, false, false, true, true, true]);
    let account = optimizer.subspace().expect("it was given one").account();
    assert_eq!((account.gradients, account.products), (4, 3), "no share after the switch, no basis before");
    Ok(())
}

#[test]
fn a_run_resumed_amid_the_average_switches_where_the_other_does() -> Result<()> {
    let shares = [1.0, 0.5, 0.0, 1.0];
    for at in 0..7 {
        let (whole, v) = bowl()?;
        let mut o = switching(&whole, &shares)?;
        for _ in 0..at {
            step(&mut o, &v)?;
        }
        let (theta, saved) = (whole.read()?, o.state()?);
        let (resumed, w) = bowl()?;
        resumed.write(&theta)?;
        let mut q = switching(&resumed, &shares)?;
        q.load_state(&saved)?;
        for _ in at..7 {
            let (a, b) = (step(&mut o, &v)?, step(&mut q, &w)?);
            assert_eq!((a.perturbed, a.loss), (b.perturbed, b.loss), "resumed at {at}");
        }
        assert_eq!(bits(&whole)?, bits(&resumed)?);
    }
    Ok(())
}

#[test]
fn without_a_subspace_they_are_refused_by_name() -> Result<()> {
    let (params, _) = bowl()?;
    for (dominant, name) in [(true, "dom-sgd"), (false, "bulk-sgd")] {
        let error = Optimizer::builder(&params).rule(rule(dominant, Projection::default())).build();
        let text = error.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(text.contains(name) && text.contains("eigenvectors of the Hessian (Builder::subspace)"), "{text}");
    }
    Ok(())
}

#[test]
fn a_step_that_is_skipped_leaves_average_and_switch_alone() -> Result<()> {
    let (params, v) = bowl()?;
    let mut optimizer = switching(&params, &[1.0, 1.0, 1.0])?;
    step(&mut optimizer, &v)?;
    step(&mut optimizer, &v)?;
    let before = optimizer.state()?["rule.average"].to_scalar::<f64>()?;
    let nan = optimizer.step(&mut |_: Query| v[0].sqr()?.sum_all()? * f64::NAN)?;
    assert!(nan.skipped.is_some());
    assert_eq!(optimizer.state()?["rule.average"].to_scalar::<f64>()?, before);
    Ok(())
}
