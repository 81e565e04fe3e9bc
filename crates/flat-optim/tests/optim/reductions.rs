//! At some options a rule is another one: 20 steps of each end in the same weights. Each is paired with an option that
//! matters, since a rule that ignored its option would pass too.

use crate::conformance::builder;
use crate::functions::{bits, logistic, vars};
use candle_core::{Device, Tensor, Var};
use flat_optim::{
    Asam, Bsam, Every, Fsam, Gnp, GradientRule, Group, Groups, Gsam, LookSam, Lpf, Msam, Optimizer, Params, PerPart,
    Phases, Plain, Query, Result, Rows, Sam, Sgd, StableSam, Vasso, WithRows, Wsam,
};
use std::cell::RefCell;

const RHO: f64 = 0.3;
const ROWS: usize = 20;

/// The weights after 20 steps of a rule over SGD with this momentum.
fn ends(rule: impl Into<Box<dyn GradientRule>>, momentum: f64) -> Result<Vec<f64>> {
    let mut p = logistic(ROWS)?;
    let mut o = builder(&p.params).rule(rule).base(Sgd::new(0.5).momentum(momentum)).build()?;
    for _ in 0..20 {
        o.step(p.objective.as_mut())?;
    }
    Ok(p.params.read()?.to_f64()?)
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

#[test]
fn rules_of_the_sam_family_come_down_to_sam() -> Result<()> {
    let sam = || -> Box<dyn GradientRule> { Sam::new(RHO).into() };
    let reference = ends(sam(), 0.9)?;
    type Pair = (&'static str, Box<dyn GradientRule>, Box<dyn GradientRule>);
    let pairs: [Pair; 11] = [
        ("gsam", Gsam::new(RHO).alpha(0.0).into(), Gsam::new(RHO).into()),
        ("wsam", Wsam::new(RHO).gamma(0.5).coupled(true).into(), Wsam::new(RHO).gamma(0.6).coupled(true).into()),
        ("gnp", Gnp::new(RHO).alpha(1.0).into(), Gnp::new(RHO).into()),
        ("looksam", LookSam::new(RHO).k(1).into(), LookSam::new(RHO).k(3).into()),
        ("fsam", Fsam::new(RHO).sigma(0.0).into(), Fsam::new(RHO).into()),
        ("vasso", Vasso::new(RHO).theta(1.0).into(), Vasso::new(RHO).theta(0.5).into()),
        ("every", Every::new(1, Sam::new(RHO)).into(), Every::new(2, Sam::new(RHO)).into()),
        ("phases", Phases::new([(0, sam())]).into(), Phases::new([(0, Plain.into()), (9, sam())]).into()),
        ("parts", PerPart::new(ROWS, Sam::new(RHO)).into(), PerPart::new(7, Sam::new(RHO)).into()),
        ("ascents", Sam::new(RHO).steps(1).into(), Sam::new(RHO).steps(3).into()),
        // T = eta on all weights; the bias has T = 1
        ("asam", Asam::new(RHO / 1e9).eta(1e9).all(true).into(), Asam::new(RHO).into()),
    ];
    for (name, same, other) in pairs {
        let (same, other) = (distance(&ends(same, 0.9)?, &reference), distance(&ends(other, 0.9)?, &reference));
        // rounding of 20 steps; |x| beside an eta of 1e9 in asam
        assert!(same < if name == "asam" { 1e-7 } else { 1e-12 }, "{name}: {same}");
        assert!(other > 1e-4, "{name}: the option changes {other}");
    }
    Ok(())
}

#[test]
fn rules_without_effect_come_down_to_the_plain_gradient() -> Result<()> {
    let plain = ends(Plain, 0.9)?;
    for (name, same, other) in [
        ("wsam", Wsam::new(RHO).gamma(0.0).into(), Wsam::new(RHO).into()),
        ("lpf", Box::new(Lpf::new(1e-13)) as Box<dyn GradientRule>, Box::new(Lpf::new(0.5)) as Box<dyn GradientRule>),
        ("msam", Msam::new(1e-13).into(), Msam::new(RHO).into()),
    ] {
        let (same, other) = (distance(&ends(same, 0.9)?, &plain), distance(&ends(other, 0.9)?, &plain));
        assert!(same < 1e-11 && other > 1e-4, "{name}: {same}, {other}");
    }
    Ok(())
}

#[test]
fn both_forms_of_wsam_are_one_over_sgd_without_momentum_alone() -> Result<()> {
    let of = |coupled, momentum| ends(Wsam::new(RHO).coupled(coupled), momentum);
    assert!(distance(&of(true, 0.0)?, &of(false, 0.0)?) < 1e-12);
    assert!(distance(&of(true, 0.9)?, &of(false, 0.9)?) > 1e-4);
    Ok(())
}

#[test]
fn stablesam_has_the_direction_of_sam_and_the_length_of_the_gradient() -> Result<()> {
    let mut p = logistic(ROWS)?;
    let mut step =
        |rule: Box<dyn GradientRule>| Optimizer::new(&p.params, rule, Sgd::new(1e-12))?.step(p.objective.as_mut());
    let (stable, sam) = (step(StableSam::new(RHO).into())?, step(Sam::new(RHO).into())?);
    assert!((stable.surrogate_norm - stable.grad_norm).abs() < 1e-15 && sam.surrogate_norm != sam.grad_norm);
    Ok(())
}

#[test]
fn asam_at_eta_0_leaves_the_loss_where_it_is_when_consecutive_layers_are_rescaled() -> Result<()> {
    let perturbed_loss = |scale: f64| -> Result<f64> {
        let a = Var::from_tensor(&(Tensor::new(&[[0.5f64, -1.0], [2.0, 0.25]], &Device::Cpu)? * scale)?)?;
        let b = Var::from_tensor(&(Tensor::new(&[[1.5f64, -0.5]], &Device::Cpu)? / scale)?)?;
        let params = Params::new([("0.weight".to_string(), a.clone()), ("1.weight".to_string(), b.clone())])?;
        let x = Tensor::new(&[[1.0f64], [0.5]], &Device::Cpu)?;
        let losses = RefCell::new(Vec::new());
        let mut f = |_: Query| {
            let loss = (b.matmul(&a.matmul(&x)?)?.sum_all()? - 1.0)?.sqr()?;
            losses.borrow_mut().push(loss.to_scalar::<f64>()?);
            Ok(loss)
        };
        Optimizer::new(&params, Asam::new(0.4).eta(0.0), Sgd::new(0.1))?.step(&mut f)?;
        let loss = losses.borrow()[1];
        Ok(loss)
    };
    assert!((perturbed_loss(1.0)? - perturbed_loss(7.0)?).abs() < 1e-12);
    Ok(())
}

/// Displacements at which a rule evaluates its first gradients, of `steps` steps whose update is nothing.
fn displacements(rule: impl Into<Box<dyn GradientRule>>, steps: usize, per_step: usize) -> Result<Vec<Vec<f64>>> {
    let (params, v) = vars(&[("bias", &[0.5]), ("weight", &[3.0, -4.0])])?;
    let here = params.read()?.to_f64()?;
    let seen = RefCell::new(Vec::new());
    let mut f = WithRows::new(4, |_: Query| {
        seen.borrow_mut()
            .push(params.read().map_err(candle_core::Error::wrap)?.to_f64().map_err(candle_core::Error::wrap)?);
        v[0].sum_all()? + v[1].sum_all()?
    });
    let mut o = Optimizer::builder(&params).rule(rule).base(Sgd::new(1e-300)).examples(100).build()?;
    for _ in 0..steps {
        o.step(&mut f)?;
    }
    let seen = seen.borrow().clone();
    assert_eq!(seen.len(), steps * per_step);
    Ok(seen.into_iter().map(|x| x.iter().zip(&here).map(|(x, y)| x - y).collect()).collect())
}

/// Mean and mean square of each element lie within five standard errors of a normal number's of this deviation.
fn are_normal(sample: &[Vec<f64>], deviations: &[f64]) {
    let n = sample.len() as f64;
    for (k, deviation) in deviations.iter().enumerate() {
        let mean = sample.iter().map(|x| x[k]).sum::<f64>() / n;
        let square = sample.iter().map(|x| x[k] * x[k]).sum::<f64>() / n;
        assert!(mean.abs() < 5.0 * deviation / n.sqrt(), "mean {mean} of element {k}");
        let off = (square / (deviation * deviation) - 1.0).abs();
        assert!(off < 5.0 * (2.0 / n).sqrt(), "mean square {square} of element {k}");
    }
}

#[test]
fn the_noise_of_lpf_has_the_size_of_each_filter_and_is_another_one_in_every_part() -> Result<()> {
    let sample = displacements(Lpf::new(0.1).parts(2), 2000, 2)?;
    are_normal(&sample, &[0.05, 0.5, 0.5]);
    let n = 2000.0f64;
    let product = sample.chunks(2).map(|pair| pair[0][1] * pair[1][1]).sum::<f64>() / n;
    assert!(product.abs() < 5.0 * 0.25 / n.sqrt(), "parts are independent: {product}");
    Ok(())
}

#[test]
fn the_noise_of_bsam_has_the_variance_of_its_posterior() -> Result<()> {
    // parts of one step: s changes from step to step
    let mut noise = Vec::new();
    for part in displacements(Bsam::new(0.1).parts(4).s_init(4.0).beta2(0.999_999_999), 1000, 8)?.chunks(2) {
        noise.push(part[0].clone());
    }
    are_normal(&noise, &[0.05; 3]); // 1 / sqrt(100 * 4)
    Ok(())
}

#[test]
fn a_mask_keeps_every_rule_from_the_other_parameters() -> Result<()> {
    for kind in flat_optim::RuleKind::all().filter(|kind| kind.perturbs()) {
        let (params, v) = vars(&[("bias", &[0.5]), ("weight", &[3.0, -4.0])])?;
        let moved = RefCell::new((false, false));
        let mut f = WithRows::new(4, |q: Query| {
            let here = (v[0].to_vec1::<f64>()?, v[1].to_vec1::<f64>()?);
            let mut moved = moved.borrow_mut();
            moved.0 |= here.0 != [0.5] && q.rows != Rows::One(99);
            moved.1 |= here.1 != [3.0, -4.0];
            v[0].sqr()?.sum_all()? + v[1].sqr()?.sum_all()?
        });
        let only = || Groups::default().with(Group::new("weights", |e| e.name == "weight").perturb(false));
        let mut o =
            builder(&params).rule(crate::conformance::open_rule(kind)).base(Sgd::new(1e-300)).groups(only()).build();
        let o = o.as_mut().map_err(|e| flat_optim::Error::objective(e.to_string()))?;
        if o.step(&mut f).is_err() {
            continue; // asks for what this objective has not
        }
        o.step(&mut f)?;
        assert_eq!(*moved.borrow(), (true, false), "{kind}");
    }
    Ok(())
}

#[test]
fn a_phase_may_begin_with_an_empty_base_and_its_state_rests_and_resumes() -> Result<()> {
    let late = |reset| Phases::new([(0, Plain.into()), (5, LookSam::new(RHO).k(3).into())]).resetting(reset);
    let run = |reset, cut: Option<usize>| -> Result<Vec<u64>> {
        let mut p = logistic(ROWS)?;
        let build = |p: &crate::functions::Problem| builder(&p.params).rule(late(reset)).base(Sgd::new(0.5)).build();
        let mut o = build(&p)?;
        for step in 0..12 {
            if cut == Some(step) {
                let (theta, state) = (p.params.read()?, o.state()?);
                p = logistic(ROWS)?;
                p.params.write(&theta)?;
                o = build(&p)?;
                o.load_state(&state)?;
            }
            let report = o.step(p.objective.as_mut())?;
            let evals = if step >= 5 && (step - 5) % 3 == 0 { 2.0 } else { 1.0 };
            assert_eq!(report.evals, evals, "step {step}");
        }
        bits(&p.params)
    };
    for reset in [false, true] {
        for cut in 1..12 {
            assert_eq!(run(reset, Some(cut))?, run(reset, None)?, "cut at {cut}");
        }
    }
    assert_ne!(run(true, None)?, run(false, None)?);
    Ok(())
}

#[test]
fn what_cannot_be_combined_is_refused_by_name() -> Result<()> {
    let (params, _) = vars(&[("x", &[1.0])])?;
    let text = |rule: Box<dyn GradientRule>, momentum| {
        let built = Optimizer::builder(&params).rule(rule).base(Sgd::new(0.1).momentum(momentum)).build();
        built.err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(text(PerPart::new(4, LookSam::new(0.1)).into(), 0.9).contains("looksam"));
    assert!(text(Every::new(0, Sam::new(0.1)).into(), 0.9).starts_with("rule-every = 0"));
    assert!(text(Every::new(2, Bsam::new(0.1)).into(), 0.9).contains("bsam"));
    assert!(text(Phases::new([(1, Plain.into())]).into(), 0.9).contains("step 0"));
    assert!(text(Msam::new(0.1).into(), 0.0).starts_with("msam needs the momentum"));
    assert!(text(Msam::new(0.1).into(), 0.5).is_empty());
    assert!(text(Bsam::new(0.1).into(), 0.9).starts_with("bsam needs the number of training examples"));
    Ok(())
}
