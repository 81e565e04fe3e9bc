//! Rules that choose examples, take several batches a step, or extrapolate between samplers.

use crate::functions::{Everything, bits, logistic, vars};
use candle_core::{Device, Tensor, Var};
use flat_optim::{
    Batch, Ctx, Described, EntropySgd, Esam, Gerne, GradientRule, Need, Objective, Optimizer, Oracle, ParamVec, Plain,
    Purpose, Query, Result, Sam, Sgd, Streams, WithLosses, WithRows,
};

/// `(scale_k w^2 / 2) . 1` on batch k: the step's, then the further ones; `shift` instead on the second source.
struct Batches {
    w: Var,
    scales: Vec<Vec<f64>>,
    now: usize,
}

impl Batches {
    fn new(w: &Var, scales: &[&[f64]]) -> Self {
        Self { w: w.clone(), scales: scales.iter().map(|s| s.to_vec()).collect(), now: 0 }
    }
}

impl Objective for Batches {
    fn rows(&self) -> usize {
        1
    }
    fn loss(&mut self, _: Query) -> Result<Tensor> {
        let scale = Tensor::new(&self.scales[self.now][..], &Device::Cpu)?;
        Ok((self.w.sqr()?.mul(&scale)?.sum_all()? * 0.5)?)
    }
    fn offers(&self, need: Need) -> bool {
        matches!(need, Need::FreshBatches | Need::Source("lb"))
    }
    fn switch(&mut self, to: Batch) -> Result<usize> {
        self.now = match to {
            Batch::Step => 0,
            Batch::Fresh(j) => j as usize + 1,
            Batch::Source(_) => 1,
        };
        Ok(1)
    }
}

fn sgd(lr: f64) -> Sgd {
    Sgd::new(lr).momentum(0.0)
}

fn near(found: &[f64], expected: &[f64]) -> bool {
    // a few roundings
    found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-14)
}

#[test]
fn gerne_extrapolates_past_the_less_biased_batch() -> Result<()> {
    // g_b = (2, -1), g_lb = (6, -4): g_lb + 0.5 (g_lb - g_b) = (8, -5.5)
    let (params, v) = vars(&[("w", &[2.0, -1.0])])?;
    let mut f = Batches::new(&v[0], &[&[1.0, 1.0], &[3.0, 4.0]]);
    let report = Optimizer::new(&params, Gerne::new(0.5), sgd(0.1))?.step(&mut f)?;
    assert_eq!((report.evals, report.loss), (2.0, 2.5));
    assert!(near(&params.read()?.to_f64()?, &[2.0 - 0.8, -1.0 + 0.55]));
    Ok(())
}

#[test]
fn gerne_at_beta_minus_1_is_plain_over_the_biased_batch_and_at_0_over_the_other() -> Result<()> {
    let run = |rule: Box<dyn GradientRule>, scales: &[&[f64]]| {
        let (params, v) = vars(&[("w", &[0.3, -1.7])])?;
        let mut optimizer = Optimizer::new(&params, rule, Sgd::new(0.1).momentum(0.9))?;
        let mut f = Batches::new(&v[0], scales);
        for _ in 0..20 {
            optimizer.step(&mut f)?;
        }
        bits(&params)
    };
    let (b, lb): (&[f64], &[f64]) = (&[1.0, 0.7], &[2.0, 0.1]);
    assert_eq!(run(Gerne::new(-1.0).into(), &[b, lb])?, run(Plain.into(), &[b])?);
    assert_eq!(run(Gerne::new(0.0).into(), &[b, lb])?, run(Plain.into(), &[lb])?);
    assert_ne!(run(Gerne::new(1.0).into(), &[b, lb])?, run(Plain.into(), &[lb])?);
    assert!(Gerne::new(-1.5).check().is_err() && Gerne::new(1.0).c(0.0).check().is_err());
    Ok(())
}

#[test]
fn entropy_sgd_goes_to_the_mean_of_its_chain() -> Result<()> {
    // one weight, lr' 0.5, gamma 0.5 (1 + 1)^t, mu 0.5, w 0.5, batches w^2 / 2 and 2 w^2 / 2, from theta 4:
    // g 4, v 4, x = 4 - 0.5 (4 + 2 - 0) = 1, mean = 2.5;  g 2, v 4, x = 1 - 0.5 (2 + 2 - 0.5 * 3) = -0.25, mean = 1.125
    let (params, v) = vars(&[("w", &[4.0])])?;
    let rule = EntropySgd::new(2).inner_lr(0.5).gamma0(0.5).gamma1(1.0).noise(0.0).momentum(0.5).average(0.5);
    let mut optimizer = Optimizer::new(&params, rule, sgd(1.0))?;
    let report = optimizer.step(&mut Batches::new(&v[0], &[&[1.0], &[2.0]]))?;
    // losses 8 and 1
    assert_eq!((report.evals, report.loss, report.grad_norm), (2.0, 4.5, 4.0));
    assert!(near(&params.read()?.to_f64()?, &[1.125]));
    // the next step has gamma 1:
    // g 1.125, v 1.125, x = 1.125 - 0.5 * 1.6875 = 0.28125, mean = 0.703125
    // g 0.5625, v 1.125, x = 0.28125 - 0.5 (0.5625 + 0.5625 - 0.84375) = 0.140625, mean = 0.421875
    optimizer.step(&mut Batches::new(&v[0], &[&[1.0], &[2.0]]))?;
    assert!(near(&params.read()?.to_f64()?, &[0.421875]));
    Ok(())
}

#[test]
fn entropy_sgd_of_one_step_without_noise_mean_and_momentum_is_sgd() -> Result<()> {
    let run = |rule: Box<dyn GradientRule>, lr: f64| {
        let (params, v) = vars(&[("w", &[0.3, -1.7])])?;
        let mut optimizer = Optimizer::new(&params, rule, sgd(lr))?;
        for _ in 0..20 {
            optimizer.step(&mut Batches::new(&v[0], &[&[1.0, 3.0]]))?;
        }
        Ok::<_, flat_optim::Error>(params.read()?.to_f64()?)
    };
    let one = EntropySgd::new(1).inner_lr(0.1).noise(0.0).average(0.0).momentum(0.0);
    assert!(near(&run(one.clone().into(), 1.0)?, &run(Plain.into(), 0.1)?));
    assert!(!near(&run(one.average(0.5).into(), 1.0)?, &run(Plain.into(), 0.1)?));
    Ok(())
}

#[test]
fn the_noise_of_entropy_sgd_has_its_variance() -> Result<()> {
    const D: usize = 20_000;
    let (params, v) = vars(&[("w", &vec![0.0; D])])?;
    let rule = EntropySgd::new(1).inner_lr(0.2).noise(0.3).average(0.0).momentum(0.0);
    Optimizer::new(&params, rule, sgd(1.0))?.step(&mut Batches::new(&v[0], &[&vec![0.0; D]]))?;
    let moved = params.read()?.to_f64()?;
    let (mean, square) = (moved.iter().sum::<f64>() / D as f64, moved.iter().map(|x| x * x).sum::<f64>() / D as f64);
    // eps^2 2 lr' = 0.036, with standard errors of 0.0013 and 0.036 sqrt(2/D) = 0.00036; five of them
    assert!(mean.abs() < 0.0067 && (square - 0.036).abs() < 0.0018, "{mean} {square}");
    Ok(())
}

#[test]
fn esam_takes_the_gradient_of_the_rows_whose_loss_rises_most() -> Result<()> {
    // losses c_i w_i^2 / 2 at w = (3, 4): gradient of the mean (1.5, 4), its norm 4.272; a step of rho along it raises the
    // second more, whose gradient at 4 + rho 4 / 4.272 is 2 (4 + rho 0.9363)
    let (params, v) = vars(&[("w", &[3.0, 4.0])])?;
    let c = Tensor::new(&[1.0f64, 2.0], &Device::Cpu)?;
    let mut f = WithLosses::new(2, |rows: &[u32]| {
        (v[0].sqr()?.mul(&c)?.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)? * 0.5)?.contiguous()
    });
    let rho = 0.5;
    let report = Optimizer::new(&params, Esam::new(rho).beta(1.0).gamma(0.5), sgd(0.1))?.step(&mut f)?;
    assert!((report.evals - (4.0 / 3.0 + 0.5)).abs() < 1e-12 && report.perturbed, "{report:?}");
    let ascended = 4.0 + rho * 4.0 / (1.5f64 * 1.5 + 16.0).sqrt();
    assert!(near(&params.read()?.to_f64()?, &[3.0, 4.0 - 0.1 * 2.0 * ascended]));
    Ok(())
}

#[test]
fn esam_with_all_weights_and_rows_is_sam_and_without_some_is_not() -> Result<()> {
    let run = |rule: Box<dyn GradientRule>| {
        let mut p = logistic(20)?;
        let mut optimizer = Optimizer::new(&p.params, rule, Sgd::new(0.5).momentum(0.9))?;
        for _ in 0..20 {
            optimizer.step(p.objective.as_mut())?;
        }
        bits(&p.params)
    };
    let sam = run(Sam::new(0.3).into())?;
    assert_eq!(run(Esam::new(0.3).beta(1.0).gamma(1.0).into())?, sam);
    assert_ne!(run(Esam::new(0.3).beta(0.5).gamma(1.0).into())?, sam);
    assert_ne!(run(Esam::new(0.3).beta(1.0).gamma(0.5).into())?, sam);
    Ok(())
}

#[test]
fn the_perturbation_of_esam_is_that_of_sam_in_expectation() -> Result<()> {
    // f = |w|^2 / 2: the surrogate less the gradient is the perturbation itself
    let (params, v) = vars(&[("w", &[3.0, -4.0])])?;
    let theta = params.read()?;
    let (rho, beta, n) = (0.5, 0.6, 4000);
    let (mut sum, mut kept) = ([0.0; 2], 0);
    for step in 0..n {
        let mut f = Everything(WithRows::new(1, |_: Query| v[0].sqr()?.sum_all()? * 0.5));
        let cx = Ctx::new(step, rho, 0.1, Streams::new(1), params.space(), None);
        let mut rule = Esam::new(rho).beta(beta).gamma(1.0);
        let surrogate = rule.estimate(&mut Oracle::new(&params, &mut f, &theta, None, 1)?, &cx)?.grad;
        let e = surrogate.plus(-1.0, &theta)?.to_f64()?;
        let mask = ParamVec::bernoulli(params.space(), beta, &cx.stream(Purpose::Mask))?.to_f64()?;
        assert!(near(&e, &[rho / beta * mask[0] * 0.6, -rho / beta * mask[1] * 0.8]), "{e:?} {mask:?}");
        sum = [sum[0] + e[0], sum[1] + e[1]];
        kept += usize::from(mask[0] == 1.0);
    }
    // rho (0.6, -0.8) with standard errors of rho unit sqrt((1/beta - 1) / n): 0.0039 and 0.0052; five of them
    let mean = sum.map(|s| s / n as f64);
    assert!((mean[0] - 0.3).abs() < 0.02 && (mean[1] + 0.4).abs() < 0.026, "{mean:?}");
    assert!(kept.abs_diff(2400) < 155, "{kept}");
    Ok(())
}

#[test]
fn a_rule_whose_batches_the_objective_does_not_have_is_refused_by_name() -> Result<()> {
    let rules: [(&str, Box<dyn GradientRule>); 3] = [
        ("esam", Esam::default().into()),
        ("entropy-sgd", EntropySgd::default().into()),
        ("gerne", Gerne::default().into()),
    ];
    for (name, rule) in rules {
        let (params, v) = vars(&[("w", &[1.0])])?;
        let text = Optimizer::new(&params, rule, sgd(0.1))?.step(&mut |_: Query| v[0].sqr()?.sum_all());
        let text = text.expect_err(name).to_string();
        assert!(text.starts_with(&format!("{name} needs ")), "{text}");
    }
    Ok(())
}
