//! The trace from perturbed gradients and losses.

use crate::mlp::Mlp;
use crate::spectra::{classifier, with_spectrum};
use candle_core::{DType, Device, Tensor, Var};
use flat_core::{Params, Streams};
use flat_metrics::{
    ClosureObjective, Error, Measured, Objective, PerturbedConfig, PerturbedGradient, PerturbedLoss, ProbeDistribution,
    Progress, Result, Silent, Stop, Trace, TraceConfig,
};
use std::ops::ControlFlow;

fn config(radius: f64, probes: u64) -> PerturbedConfig {
    PerturbedConfig { radius, trace: TraceConfig::fixed(probes).with_probe(ProbeDistribution::Sphere) }
}

fn both(objective: &dyn Objective, config: &PerturbedConfig, seed: u64) -> Result<[Measured<Trace>; 2]> {
    let s = Streams::new(seed);
    Ok([
        PerturbedGradient::new(config.clone())?.run(objective, &s, &mut Silent)?,
        PerturbedLoss::new(config.clone())?.run(objective, &s, &mut Silent)?,
    ])
}

/// `f(x) = <b, x> + <x, A x> / 2` for a known A.
fn quadratic(d: usize) -> Result<(ClosureObjective<'static>, f64)> {
    let a = with_spectrum(&classifier(d), 12)?;
    let truth = a.trace();
    let rows: Vec<f64> = (0..d * d).map(|k| a.at(k / d, k % d)).collect();
    let a = Tensor::from_vec(rows, (d, d), &Device::Cpu)?;
    let x = Var::from_tensor(&Tensor::ones(d, DType::F64, &Device::Cpu)?)?;
    let params = Params::new([("x".to_string(), x.clone())])?;
    let objective = ClosureObjective::new(params, vec![1], move |_| {
        let column = x.reshape((d, 1))?;
        (column.mul(&a.matmul(&column)?)?.sum_all()? * 0.5)? + (x.sum_all()? * 3.0)?
    })?;
    Ok((objective, truth))
}

#[test]
fn intervals_cover_at_the_nominal_rate_on_a_quadratic() -> Result<()> {
    let (objective, truth) = quadratic(60)?;
    let seeds = 1000;
    let mut hits = [0; 2];
    for seed in 0..seeds {
        for (hits, report) in hits.iter_mut().zip(both(&objective, &config(0.5, 30), seed)?) {
            let [lo, hi] = report.probes_alone95.expect("many probes");
            *hits += u32::from(lo <= truth && truth <= hi);
        }
    }
    let rates = hits.map(|h| f64::from(h) / seeds as f64);
    println!("coverage of perturbed gradients and losses: {rates:?}");
    assert!(rates.iter().all(|rate| (rate - 0.95).abs() <= 0.02), "{rates:?}");
    Ok(())
}

#[test]
fn the_bias_is_the_one_documented() -> Result<()> {
    // f = sum_i x_i^4 at x = 1: tr H = 12 d, and sum_ij d^4 f / dx_i^2 dx_j^2 = 24 d
    let d = 8;
    let x = Var::from_tensor(&Tensor::ones(d, DType::F64, &Device::Cpu)?)?;
    let params = Params::new([("x".to_string(), x.clone())])?;
    let objective = ClosureObjective::new(params, vec![1], move |_| x.sqr()?.sqr()?.sum_all())?;
    let (n, rho) = (d as f64, 0.5);
    let expected = [rho * rho * 24.0 * n / (2.0 * (n + 2.0)), rho * rho * 24.0 * n / (4.0 * (n + 2.0))];
    for (report, bias) in both(&objective, &config(rho, 20_000), 1)?.iter().zip(expected) {
        let off = report.trace.value - 12.0 * n - bias;
        let error = report.trace.std_error.expect("many probes");
        println!("{}: off by {off:.4} +- {error:.4}, bias {bias:.4}", report.estimator);
        // f is a polynomial of degree four: nothing beyond this term
        assert!(off.abs() < 4.0 * error, "{}: {off} {error}", report.estimator);
        assert!(bias > 10.0 * error, "the bias shows");
    }
    Ok(())
}

#[test]
fn a_network_gets_its_exact_trace_and_its_parameters_back() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let truth = mlp.exact_hessian()?.trace();
    let before = mlp.params.read()?.to_f64()?;
    let [by_gradient, by_loss] = both(&objective, &config(1e-2, 2000), 2)?;
    for report in [&by_gradient, &by_loss] {
        let error = report.trace.std_error.expect("many probes");
        assert!((report.trace.value - truth).abs() < 4.0 * error, "{}: {}", report.estimator, report.trace.value);
        assert_eq!((report.radius, report.provenance.batches, report.provenance.dim), (Some(1e-2), Some(3), 43));
        assert!(report.data_std_error.is_some(), "{}", report.estimator);
    }
    assert_eq!((by_gradient.trace.matvecs, by_loss.trace.matvecs), (4000, 4001));
    assert_eq!((by_gradient.per_layer.len(), by_loss.per_layer.len()), (4, 0));
    let sum: f64 = by_gradient.per_layer.values().map(|e| e.value).sum();
    assert!((sum - by_gradient.trace.value).abs() < 1e-10 * truth.abs());
    assert_eq!(mlp.params.read()?.to_f64()?, before);
    Ok(())
}

#[test]
fn an_interrupt_between_batches_restores_the_parameters_and_keeps_the_probes_done() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let before = mlp.params.read()?.to_f64()?;
    let estimator = PerturbedGradient::new(config(0.1, 50))?;
    let report = estimator.run(&objective, &Streams::new(3), &mut |p: &Progress| match (p.done, p.batch) {
        (5, 4) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })?;
    assert_eq!((report.stop, report.trace.probes), (Stop::Interrupted, 5));
    assert_eq!(mlp.params.read()?.to_f64()?, before);
    Ok(())
}

#[test]
fn a_radius_that_makes_no_sense_is_refused() {
    for radius in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = PerturbedGradient::new(config(radius, 4)).err();
        assert!(matches!(refused, Some(Error::BadConfig { field: "radius", .. })), "{radius}");
    }
}
