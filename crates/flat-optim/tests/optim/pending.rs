//! Steps whose numbers are left on the device, which here is the CPU: the way that steps go on a GPU.

use crate::conformance::{base, bases_of, builder, calls_of_second_step, open_rule, problems, rule};
use crate::functions::{Everything, bits, vars};
use candle_core::{Device, Tensor};
use flat_optim::{
    Batch, Builder, Error, GradientRule, Group, Groups, Need, Objective, Optimizer, Params, PendingStep, PerPart,
    Query, Result, RuleKind, Sam, Sample, Scalar, Sgd, WithRows,
};
use std::cell::Cell;

/// The objective with its losses left where they are.
struct Left<'a>(&'a mut dyn Objective);

impl Objective for Left<'_> {
    fn rows(&self) -> usize {
        self.0.rows()
    }
    fn leaves_numbers(&self) -> bool {
        true
    }
    fn loss(&mut self, query: Query) -> Result<Tensor> {
        self.0.loss(query)
    }
    fn loss_and_grad(&mut self, params: &Params, query: Query) -> Result<Sample> {
        let loss = self.0.loss(query)?;
        Sample::new(Scalar::on_device(&loss)?, params.gradient(&loss.backward()?)?)
    }
    fn offers(&self, need: Need) -> bool {
        self.0.offers(need)
    }
    fn losses_and_grad(&mut self, params: &Params, query: Query) -> Result<(Sample, Tensor)> {
        Ok((self.loss_and_grad(params, query)?, self.0.losses(query)?))
    }
    fn losses(&mut self, query: Query) -> Result<Tensor> {
        self.0.losses(query)
    }
    fn chosen_loss_and_grad(&mut self, params: &Params, rows: &[u32], update_stats: bool) -> Result<Sample> {
        let Sample { loss, grad, .. } = self.0.chosen_loss_and_grad(params, rows, update_stats)?;
        Sample::new(Scalar::on_device(&loss.tensor(&Device::Cpu)?)?, grad)
    }
    fn switch(&mut self, to: Batch) -> Result<usize> {
        self.0.switch(to)
    }
}

/// A rule with its gate, and without.
const RULES: [fn(RuleKind) -> Box<dyn GradientRule>; 2] = [rule, open_rule];

type Settings = fn(Builder<'_>) -> Builder<'_>;

const SETTINGS: [Settings; 3] = [
    |b| b,
    |b| b.clip(0.7).ema(0.9).micro_batch(7),
    |b| {
        b.groups(
            Groups::default()
                .with(Group::new("last", |p| ["y", "weight"].contains(&p.name.as_str())).perturb(false).lr_scale(0.5)),
        )
    },
];

#[test]
fn a_step_that_is_read_later_is_the_step_that_is_read_at_once() -> Result<()> {
    for kind in RuleKind::all() {
        for (rule, b) in RULES.into_iter().flat_map(|r| bases_of(kind).map(move |b| (r, b))) {
            for (which, settings) in SETTINGS.into_iter().enumerate() {
                for (mut now, mut later) in problems()?.into_iter().zip(problems()?) {
                    let build = |params| settings(builder(params).rule(rule(kind)).base(base(b, 0.05)).seed(1)).build();
                    let (mut first, mut second) = (build(&now.params)?, build(&later.params)?);
                    let mut launched = Vec::new();
                    let mut reports = Vec::new();
                    for _ in 0..8 {
                        reports.push(first.step(now.objective.as_mut())?);
                        let step = second.launch(&mut Left(later.objective.as_mut()))?;
                        assert!(step.report().is_none() && step.taken().is_some());
                        launched.push(step);
                    }
                    let context = format!("{kind} over {b} on {} with settings {which}", now.name);
                    for (a, b) in reports.iter().zip(second.read(launched)?) {
                        // sums in another order, in f64
                        let near = |x: f64, y: f64| (x - y).abs() <= 1e-12 * (1.0 + x.abs());
                        assert!(near(a.loss, b.loss) && near(a.grad_norm, b.grad_norm), "{context}: {a:?} {b:?}");
                        assert!(near(a.surrogate_norm, b.surrogate_norm), "{context}: {a:?} {b:?}");
                        assert_eq!((a.step, a.evals, a.lr, a.rho), (b.step, b.evals, b.lr, b.rho), "{context}");
                        assert_eq!(
                            (a.perturbed, a.clipped, &a.skipped),
                            (b.perturbed, b.clipped, &b.skipped),
                            "{context}"
                        );
                    }
                    let off = now.params.read()?.plus(-1.0, &later.params.read()?)?.norm()?;
                    assert!(off < 1e-12, "{context}: {off:e}");
                    let (a, b) = (first.state()?, second.state()?);
                    for (name, a) in a {
                        let gap =
                            (a.to_dtype(candle_core::DType::F64)? - b[&name].to_dtype(candle_core::DType::F64)?)?;
                        let gap = gap.abs()?.max_all()?.to_scalar::<f64>()?;
                        assert!(gap < 1e-11, "{context}: {name} {gap:e}");
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_step_that_was_not_finite_is_undone_without_a_read() -> Result<()> {
    for kind in RuleKind::all() {
        for b in bases_of(kind) {
            for (bad, in_loss) in [(0, true), (1, true), (0, false), (1, false)] {
                if bad >= calls_of_second_step(kind, b)? {
                    continue;
                }
                let (params, v) = vars(&[("x", &[0.5, 0.25]), ("y", &[0.5])])?;
                let (call, broken) = (Cell::new(0), Cell::new(false));
                let f = |_: Query| {
                    let loss = (v[0].sqr()?.sum_all()? + v[1].sqr()?.sum_all()?)?;
                    match broken.get() && call.replace(call.get() + 1) == bad {
                        false => Ok(loss),
                        true if in_loss => loss.affine(f64::INFINITY, 0.0),
                        // sqrt at 0: value 0, no finite derivative
                        true => loss + v[0].sub(&v[0])?.sqrt()?.sum_all()?,
                    }
                };
                let mut f = Everything(f);
                let mut o = builder(&params).rule(rule(kind)).base(base(b, 0.01)).ema(0.5).build()?;
                let good = o.launch(&mut Left(&mut f))?;
                let (theta, state) = (bits(&params)?, o.state()?);

                broken.set(true);
                let skipped = o.launch(&mut Left(&mut f))?;
                let context = format!("{kind} over {b}, evaluation {bad}, loss {in_loss}");
                assert_eq!(bits(&params)?, theta, "{context}");
                for (name, t) in o.state()?.iter().filter(|(n, _)| !n.starts_with("progress.")) {
                    // the host cannot know that the step does not count: updates of the base, steps taken by the rule
                    let host = |t: &Tensor| t.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>();
                    assert!(
                        name.ends_with(".updates") || name.ends_with(".taken") || host(t)? == host(&state[name])?,
                        "{name}: {context}"
                    );
                }
                broken.set(false);
                let again = o.launch(&mut Left(&mut f))?;
                assert_ne!(bits(&params)?, theta, "{context}");
                let flag = |s: &PendingStep| s.taken().map(|t| t.to_scalar::<u8>()).transpose();
                assert_eq!((flag(&good)?, flag(&skipped)?, flag(&again)?), (Some(1), Some(0), Some(1)), "{context}");

                assert_eq!(o.skipped(), 0, "nobody has read yet");
                let reports = o.read(vec![good, skipped, again])?;
                assert_eq!((o.steps(), o.skipped()), (3, 1), "{context}");
                assert!(reports[0].skipped.is_none() && reports[2].skipped.is_none(), "{context}: {reports:?}");
                let said = reports[1].skipped.as_deref().unwrap_or("");
                assert!(
                    said.contains("is inf") || said.contains("is NaN") || said.contains("not finite"),
                    "{context}: {said}"
                );
                assert!(reports[1].loss.is_nan() && !reports[1].perturbed, "{context}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_step_whose_gradient_is_zero_is_not_perturbed_wherever_its_numbers_are() -> Result<()> {
    // x^2 at 0 has no direction; at 1 it has one
    for (x, perturbed) in [(0.0, false), (1.0, true)] {
        for m in [3, 1] {
            let (params, v) = vars(&[("x", &[x])])?;
            let f = |_: Query| v[0].sqr()?.sum_all();
            let build = || Optimizer::new(&params, PerPart::new(m, Sam::new(0.1)), Sgd::new(1e-9));
            let now = build()?.step(&mut WithRows::new(3, f))?;
            let (mut o, mut rows) = (build()?, WithRows::new(3, f));
            let launched = vec![o.launch(&mut Left(&mut rows))?];
            assert!(launched[0].report().is_none());
            let there = o.read(launched)?.swap_remove(0);
            assert_eq!((now.perturbed, there.perturbed), (perturbed, perturbed), "x = {x}, m = {m}");
        }
    }
    Ok(())
}

#[test]
fn too_many_skips_in_a_row_are_found_when_they_are_read() -> Result<()> {
    let (params, v) = vars(&[("x", &[1.0])])?;
    let mut f = |_: Query| v[0].sqr()?.sum_all()?.affine(f64::NAN, 0.0);
    let mut o = Optimizer::builder(&params).base(Sgd::default()).max_consecutive_skips(2).build()?;
    let launched = (0..3).map(|_| o.launch(&mut Left(&mut f))).collect::<Result<Vec<_>>>()?;
    assert!(matches!(o.read(launched), Err(Error::TooManySkips { skips: 3, step: 2, .. })));
    assert_eq!(params.read()?.to_f64()?, [1.0]);
    Ok(())
}
