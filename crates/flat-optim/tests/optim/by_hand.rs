//! Rules on `f = 1/2 x' H x` with diagonal H, where every gradient is H x and two or three numbers say everything.
//!
//! H = diag(1, 4) at x = (3, 1): g = (3, 4), whose norm is 5; 0.5 along it x is (3.3, 1.4) and the gradient (3.3, 5.6), whose
//! norm is 6.5.

use crate::functions::vars;
use candle_core::{Device, Tensor, Var};
use flat_optim::{
    AeSam, Asam, Bsam, Ctx, Estimate, Fsam, Gnp, GradientRule, Gsam, LookSam, Msam, Optimizer, Oracle, Order, ParamVec,
    Params, Query, Result, Sam, Sgd, StableSam, Streams, Then, Usam, Vasso, Wsam,
};

struct Bowl {
    params: Params,
    x: Var,
    h: Tensor,
}

impl Bowl {
    fn new() -> Result<Self> {
        let (params, v) = vars(&[("x", &[3.0, 1.0])])?;
        Ok(Self { params, x: v[0].clone(), h: Tensor::new(&[0.5f64, 2.0], &Device::Cpu)? })
    }

    fn begun<R: GradientRule>(&self, mut rule: R) -> Result<R> {
        rule.begin(self.params.space())?;
        Ok(rule)
    }

    /// What the rule makes of the gradients at `x`, with a radius, and the base's momentum.
    fn ask(&self, rule: &mut dyn GradientRule, x: [f64; 2], rho: f64, momentum: Option<&ParamVec>) -> Result<Estimate> {
        self.x.set(&Tensor::new(&x, &Device::Cpu)?)?;
        let theta = self.params.read()?;
        let mut f = |_: Query| self.x.sqr()?.mul(&self.h)?.sum_all();
        let mut oracle = Oracle::new(&self.params, &mut f, &theta, None, 1)?;
        let mut cx = Ctx::new(0, rho, 0.1, Streams::new(0), self.params.space(), None);
        cx.momentum = momentum;
        rule.estimate(&mut oracle, &cx)
    }

    fn surrogate(&self, rule: &mut dyn GradientRule, x: [f64; 2], rho: f64) -> Result<Vec<f64>> {
        Ok(self.ask(rule, x, rho, None)?.grad.to_f64()?)
    }
}

const X: [f64; 2] = [3.0, 1.0];

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        // a few roundings
        assert!((a - b).abs() < 1e-13, "{found:?} instead of {expected:?}");
    }
}

#[test]
fn rules_without_memory_give_the_numbers_of_their_formulas() -> Result<()> {
    let f = Bowl::new()?;
    close(&f.surrogate(&mut Usam::new(0.1), X, 0.1)?, &[3.3, 5.6]);
    close(&f.surrogate(&mut Sam::new(0.5), X, 0.5)?, &[3.3, 5.6]);
    // g_p - 0.4 (g - 32.3 / 42.25 g_p)
    close(&f.surrogate(&mut Gsam::new(0.5), X, 0.5)?, &[3.109136094674556, 5.712473372781065]);
    close(&f.surrogate(&mut Gnp::new(0.5), X, 0.5)?, &[0.2 * 3.0 + 0.8 * 3.3, 0.2 * 4.0 + 0.8 * 5.6]);
    close(&f.surrogate(&mut Gnp::new(0.5).unit(true), X, 0.5)?, &[0.2 * 0.6 + 0.8 * 3.3, 0.2 * 0.8 + 0.8 * 5.6]);
    close(&f.surrogate(&mut StableSam::new(0.5), X, 0.5)?, &[3.3 / 1.3, 5.6 / 1.3]);
    let coupled = &mut Wsam::new(0.5).gamma(0.75).coupled(true);
    close(&f.surrogate(coupled, X, 0.5)?, &[-2.0 * 3.0 + 3.0 * 3.3, -2.0 * 4.0 + 3.0 * 5.6]);
    Ok(())
}

#[test]
fn two_ascents_go_half_the_radius_each_along_the_gradient_where_they_start() -> Result<()> {
    let f = Bowl::new()?;
    // 0.5 to (3.3, 1.4), and 0.5 along (3.3, 5.6) / 6.5 from there
    let end = [3.3 + 0.5 * 3.3 / 6.5, 1.4 + 0.5 * 5.6 / 6.5];
    close(&f.surrogate(&mut Sam::new(1.0).steps(2), X, 1.0)?, &[end[0], 4.0 * end[1]]);
    Ok(())
}

#[test]
fn asam_scales_by_weights_and_not_by_biases() -> Result<()> {
    let weight = Var::new(&[[3.0f64, 1.0]], &Device::Cpu)?;
    let bias = Var::new(&[2.0f64], &Device::Cpu)?;
    let params = Params::new([("fc.weight".to_string(), weight.clone()), ("fc.bias".to_string(), bias.clone())])?;
    let h = Tensor::new(&[[0.5f64, 2.0]], &Device::Cpu)?;
    let theta = params.read()?;
    let mut f = |_: Query| weight.sqr()?.mul(&h)?.sum_all()? + (bias.sqr()?.sum_all()? * 0.5)?;
    let mut surrogate = |mut rule: Asam| {
        let cx = Ctx::new(0, 0.5, 0.1, Streams::new(0), params.space(), None);
        let estimate = rule.estimate(&mut Oracle::new(&params, &mut f, &theta, None, 1)?, &cx)?;
        Ok::<_, flat_optim::Error>(estimate.grad.to_f64()?)
    };
    // in the order of names: bias, weight; T g = (2, 9, 4), and T^2 g = (2, 27, 4)
    let asam = Asam::new(0.5);
    close(&surrogate(asam.clone().eta(0.0))?, &[2.099503719020999, 4.343300206783486, 4.796029752167991]);
    let all = surrogate(asam.eta(0.5).all(true))?;
    close(&all, &[2.477600449938044, 4.404145322817849, 5.375489295821566]);
    Ok(())
}

#[test]
fn looksam_keeps_the_orthogonal_part_for_the_steps_between() -> Result<()> {
    let f = Bowl::new()?;
    let mut rule = f.begun(LookSam::new(0.5).k(2))?;
    close(&f.surrogate(&mut rule, X, 0.5)?, &[3.3, 5.6]);
    // g_v = (3.3, 5.6) - 32.3 / 25 (3, 4) = (-0.576, 0.432), of norm 0.72
    close(&f.surrogate(&mut rule, X, 0.5)?, &[3.0 - 0.7 * 5.0 * 0.8, 4.0 + 0.7 * 5.0 * 0.6]);
    close(&f.surrogate(&mut rule, X, 0.5)?, &[3.3, 5.6]);
    // a zero gradient on a SAM step leaves g_v as it was
    rule.estimate_twice_at_zero(&f)?;
    close(&f.surrogate(&mut rule, X, 0.5)?, &[3.0 - 0.7 * 5.0 * 0.8, 4.0 + 0.7 * 5.0 * 0.6]);
    Ok(())
}

trait AtZero {
    fn estimate_twice_at_zero(&mut self, f: &Bowl) -> Result<()>;
}

impl AtZero for LookSam {
    /// One step between and one SAM step where the gradient is zero.
    fn estimate_twice_at_zero(&mut self, f: &Bowl) -> Result<()> {
        for _ in 0..2 {
            let at_zero = f.ask(self, [0.0, 0.0], 0.5, None)?;
            assert!(!at_zero.perturbed);
            close(&at_zero.grad.to_f64()?, &[0.0, 0.0]);
        }
        Ok(())
    }
}

#[test]
fn msam_looks_ahead_along_the_momentum() -> Result<()> {
    let f = Bowl::new()?;
    let v = ParamVec::from_f64(f.params.space(), vec![0.0, 2.0])?;
    // at (3, 1) - 0.5 (0, 1)
    let ahead = f.ask(&mut Msam::new(0.5), X, 0.5, Some(&v))?;
    assert!(ahead.perturbed);
    close(&ahead.grad.to_f64()?, &[3.0, 2.0]);
    let first = f.ask(&mut Msam::new(0.5), X, 0.5, Some(&v.scaled(0.0)?))?;
    assert!(!first.perturbed);
    close(&first.grad.to_f64()?, &[3.0, 4.0]);
    Ok(())
}

#[test]
fn fsam_takes_the_mean_from_the_gradient_in_either_order() -> Result<()> {
    let f = Bowl::new()?;
    let mut code = f.begun(Fsam::new(0.5).sigma(0.5))?;
    close(&f.surrogate(&mut code, X, 0.5)?, &[3.3, 5.6]);
    // m = (3, 4), g = (0, 4): d = (-1.5, 2), of norm 2.5
    close(&f.surrogate(&mut code, [0.0, 1.0], 0.5)?, &[-0.3, 5.6]);
    // m = (2.7, 4), d = (-1.35, 2)
    let norm = f64::hypot(1.35, 2.0);
    close(&f.surrogate(&mut code, [0.0, 1.0], 0.5)?, &[-0.5 * 1.35 / norm, 4.0 + 2.0 * 2.0 / norm]);

    let mut paper = f.begun(Fsam::new(0.5).sigma(0.5).order(Order::Paper))?;
    close(&f.surrogate(&mut paper, X, 0.5)?, &[3.3, 5.6]);
    // m = (0.27, 0.76), d = (-0.135, 3.62)
    close(&f.surrogate(&mut paper, [0.0, 1.0], 0.5)?, &[-0.018633456062636604, 5.998610694718356]);

    let mut constant = f.begun(Fsam::new(0.5))?;
    f.surrogate(&mut constant, X, 0.5)?;
    assert!(!f.ask(&mut constant, X, 0.5, None)?.perturbed, "a gradient that is its mean leaves no direction");
    Ok(())
}

#[test]
fn vasso_goes_along_the_mean() -> Result<()> {
    let f = Bowl::new()?;
    let mut rule = f.begun(Vasso::new(0.5).theta(0.5))?;
    close(&f.surrogate(&mut rule, X, 0.5)?, &[3.3, 5.6]);
    // d = (1.5, 4)
    close(&f.surrogate(&mut rule, [0.0, 1.0], 0.5)?, &[0.17556172079419585, 5.872658355138089]);
    Ok(())
}

#[test]
fn aesam_is_plain_where_the_gradient_is_short_for_its_time() -> Result<()> {
    let f = Bowl::new()?;
    let mut rule = AeSam::new(0.5).start(0.0).end(0.0);
    for _ in 0..30 {
        close(&f.surrogate(&mut rule, X, 0.5)?, &[3.3, 5.6]);
    }
    // the mean of the squares is 25 (1 - 0.9^30) = 23.94 by now, and 16 is below 0.9 of that and 0.1 of its own
    assert!(!f.ask(&mut rule, [0.0, 1.0], 0.5, None)?.perturbed);
    assert!(f.ask(&mut rule, X, 0.5, None)?.perturbed, "25 is above the mean again");
    Ok(())
}

#[test]
fn the_sharpness_of_wsam_goes_beside_the_base_and_is_clipped_with_it() -> Result<()> {
    let f = Bowl::new()?;
    let estimate = f.ask(&mut Wsam::new(0.5).gamma(0.75), X, 0.5, None)?;
    close(&estimate.grad.to_f64()?, &[3.0, 4.0]);
    match estimate.then {
        Then::And(direct) => close(&direct.to_f64()?, &[3.0 * 0.3, 3.0 * 1.6]),
        other => panic!("{other:?}"),
    }
    for (clip, factor) in [(1e9, 1.0), (2.5, 0.5)] {
        let f = Bowl::new()?;
        let mut loss = |_: Query| f.x.sqr()?.mul(&f.h)?.sum_all();
        let base = Sgd::new(0.1).momentum(0.5);
        let mut o = Optimizer::builder(&f.params).rule(Wsam::new(0.5).gamma(0.75)).base(base).clip(clip).build()?;
        o.step(&mut loss)?;
        let moved = [3.0 - 0.1 * factor * (3.0 + 0.9), 1.0 - 0.1 * factor * (4.0 + 4.8)];
        close(&f.params.read()?.to_f64()?, &moved);
        let momentum = o.state()?["base.momentum.x"].to_vec1::<f64>()?;
        close(&momentum, &[3.0 * factor, 4.0 * factor]);
    }
    Ok(())
}

#[test]
fn bsam_moves_by_the_precision_from_before_and_without_a_base() -> Result<()> {
    let f = Bowl::new()?;
    let mut loss = |_: Query| f.x.sqr()?.mul(&f.h)?.sum_all();
    // so large a data set has neither noise nor decay
    let rule = Bsam::new(0.1).parts(1).data(Some(1e32));
    let base = Sgd::new(1.0).momentum(0.9).weight_decay(0.5);
    let mut o = Optimizer::new(&f.params, rule, base)?;
    o.step(&mut loss)?;
    close(&f.params.read()?.to_f64()?, &[2.67, 0.44]);
    close(&o.state()?["rule.precision.x"].to_vec1::<f64>()?, &[1.0021, 1.0031]);
    o.step(&mut loss)?;
    close(&f.params.read()?.to_f64()?, &[2.0805937057177433, -0.3078640558799671]);
    close(&o.state()?["rule.precision.x"].to_vec1::<f64>()?, &[1.003870702029706, 1.0039596258890708]);

    // with a prior of precision 0.5 N: the decay is 0.5 x in the mean gradient, and 0.5 in the precision
    let f = Bowl::new()?;
    let mut loss = |_: Query| f.x.sqr()?.mul(&f.h)?.sum_all();
    let mut o = Optimizer::new(&f.params, Bsam::new(0.1).parts(1).data(Some(1e32)).prior(0.5e32), Sgd::new(1.0))?;
    o.step(&mut loss)?;
    close(&f.params.read()?.to_f64()?, &[2.67 - 0.1 * 0.5 * 3.0, 0.44 - 0.1 * 0.5]);
    close(&o.state()?["rule.precision.x"].to_vec1::<f64>()?, &[1.0026, 1.0036]);
    Ok(())
}
