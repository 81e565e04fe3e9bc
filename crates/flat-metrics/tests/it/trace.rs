//! The trace estimator on matrices whose trace is known.

use crate::mlp::Mlp;
use crate::spectra::with_spectrum;
use candle_core::DType;
use flat_core::Streams;
use flat_metrics::{
    Dense, DifferenceHessian, Error, Hutchinson, LinearOperator, Measured, Progress, Result, Silent, Stop,
    TangentHessian, Trace, TraceConfig, exact_trace,
};
use std::ops::ControlFlow;

fn covers(report: &Measured<Trace>, truth: f64) -> bool {
    report.trace.ci95.is_some_and(|[lo, hi]| lo <= truth && truth <= hi)
}

#[test]
fn a_diagonal_matrix_is_exact_with_one_probe() -> Result<()> {
    let mut a = Dense::from_fn(50, |i, j| if i == j { i as f64 - 3.25 } else { 0.0 })?;
    let one = Hutchinson::new(TraceConfig::fixed(1))?.run(&mut a, &Streams::new(1), &mut Silent)?;
    assert_eq!(one.trace.value, a.trace());
    assert_eq!((one.trace.std_error, one.trace.ci95), (None, None));
    let many = Hutchinson::new(TraceConfig::fixed(8))?.run(&mut a, &Streams::new(2), &mut Silent)?;
    assert_eq!(many.trace.std_error, Some(0.0), "rademacher probes have no variance here");
    assert_eq!(many.trace.ci95, Some([a.trace(), a.trace()]));
    Ok(())
}

#[test]
fn probes_are_unbiased_with_the_variance_of_the_off_diagonal() -> Result<()> {
    let mut a = Dense::from_fn(6, |i, j| if i == j { 2.0 - i as f64 } else { 1.0 / (1.0 + (i + j) as f64) })?;
    let n = 20_000;
    let report = Hutchinson::new(TraceConfig::fixed(n))?.run(&mut a, &Streams::new(3), &mut Silent)?;
    let diagonal: f64 = (0..6).map(|i| a.at(i, i).powi(2)).sum();
    let variance = 2.0 * (a.frobenius().powi(2) - diagonal);
    let error = report.trace.std_error.expect("many probes");
    // four true standard errors
    assert!((report.trace.value - a.trace()).abs() < 4.0 * (variance / n as f64).sqrt());
    // the fourth moment of a quadratic form of signs is below 15 squared variances: five standard errors of the variance
    let measured = error * error * n as f64;
    assert!((measured / variance - 1.0).abs() < 5.0 * (14.0 / n as f64).sqrt(), "{measured} {variance}");
    Ok(())
}

#[test]
fn the_t_interval_covers_at_the_nominal_rate() -> Result<()> {
    let mut a = with_spectrum(&(0..40).map(|k| (k as f64 - 5.0) / 10.0).collect::<Vec<_>>(), 7)?;
    let truth = a.trace();
    let estimator = Hutchinson::new(TraceConfig::fixed(10))?;
    let seeds = 2000;
    let mut hits = 0;
    for seed in 0..seeds {
        hits += u32::from(covers(&estimator.run(&mut a, &Streams::new(seed), &mut Silent)?, truth));
    }
    // 2000 Bernoulli draws have a standard deviation of 0.5 %: three of them
    let rate = f64::from(hits) / seeds as f64;
    println!("fixed budget of 10 probes: coverage {rate}");
    assert!((rate - 0.95).abs() <= 0.015, "{rate}");
    Ok(())
}

/// Spectra of 16 eigenvalues: one outlier, a power law, nearly flat.
fn spectra() -> [(&'static str, Vec<f64>); 3] {
    let d = 16;
    [
        ("one outlier", (0..d).map(|k| if k == 0 { 100.0 } else { 0.1 }).collect()),
        ("power law", (1..=d).map(|k| f64::from(k).powf(-1.5)).collect()),
        ("flat", (0..d).map(|k| 1.0 + 0.5 * f64::from(k) / f64::from(d)).collect()),
    ]
}

#[test]
fn stopping_early_still_covers_on_heavy_and_light_tailed_spectra() -> Result<()> {
    for ((name, lambda), rel_tol) in spectra().into_iter().zip([0.25, 0.15, 0.02]) {
        let mut a = with_spectrum(&lambda, 9)?;
        let truth = a.trace();
        let config = TraceConfig::to_tolerance(rel_tol, 1000);
        let estimator = Hutchinson::new(config.clone())?;
        let (mut hits, mut early, mut probes) = (0, 0, 0);
        let seeds = 1000;
        for seed in 0..seeds {
            let report = estimator.run(&mut a, &Streams::new(seed), &mut Silent)?;
            hits += u32::from(covers(&report, truth));
            early += u32::from(report.stop == Stop::RelTol);
            probes += report.trace.probes;
            assert!(config.looks().contains(&report.trace.probes), "stops at a look alone");
        }
        let rate = f64::from(hits) / seeds as f64;
        println!("{name}: coverage {rate}, {early} of {seeds} early, {} probes on average", probes / seeds);
        assert!(rate >= 0.94, "{name}: {rate}");
        assert!(early > 900, "{name}: the rule is exercised, {early}");
    }
    Ok(())
}

#[test]
fn a_plain_interval_looked_at_after_every_probe_would_cover_too_rarely() -> Result<()> {
    // the reason for the looks: stop at the first n >= 10 where the plain 95 % interval is narrow enough; interrupting
    // a fixed budget reports that interval
    let estimator = Hutchinson::new(TraceConfig::fixed(1000))?;
    for ((name, lambda), rel_tol) in spectra().into_iter().zip([0.5, 0.3, 0.03]) {
        let mut a = with_spectrum(&lambda, 9)?;
        let truth = a.trace();
        let (mut hits, mut fair, seeds) = (0, 0, 1000);
        for seed in 0..seeds {
            let report = estimator.run(&mut a, &Streams::new(seed), &mut |p: &Progress| match (p.value, p.error) {
                // t(9) to t(1000) at 0.975 is 2.26 to 1.96
                (Some(value), Some(error)) if p.done >= 10 && 2.0 * error <= rel_tol * value => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            })?;
            hits += u32::from(covers(&report, truth));
            let careful = Hutchinson::new(TraceConfig::to_tolerance(rel_tol, 1000))?.run(
                &mut a,
                &Streams::new(seed),
                &mut Silent,
            )?;
            fair += u32::from(covers(&careful, truth));
        }
        let (naive, honest) = (f64::from(hits) / seeds as f64, f64::from(fair) / seeds as f64);
        println!("{name}: every probe {naive}, at the looks {honest}");
        assert!(honest >= 0.94, "{name}: {honest}");
        if name != "flat" {
            assert!(naive < 0.92, "{name}: {naive}");
        }
    }
    Ok(())
}

#[test]
fn layers_sum_to_the_total_and_estimate_their_own_blocks() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let exact = mlp.exact_hessian()?;
    let mut hessian = TangentHessian::new(&objective)?;
    let report = Hutchinson::new(TraceConfig::fixed(2000))?.run(&mut hessian, &Streams::new(5), &mut Silent)?;
    assert_eq!(report.per_layer.keys().collect::<Vec<_>>(), ["fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight"]);
    let sum: f64 = report.per_layer.values().map(|e| e.value).sum();
    assert!((sum - report.trace.value).abs() < 1e-12 * report.trace.value.abs());
    for (i, (name, e)) in report.per_layer.iter().enumerate() {
        let error = e.std_error.expect("many probes");
        // four standard errors
        assert!((e.value - exact.trace_of_entry(i)).abs() < 4.0 * error, "{name}: {} {error}", e.value);
        assert!(error > 0.0);
    }
    assert!((report.trace_normalized.value * 43.0 - report.trace.value).abs() < 1e-12);
    assert_eq!(
        (report.provenance.dim, report.provenance.examples, report.provenance.batches, report.effort.seed),
        (43, Some(12), Some(3), Some(5))
    );
    assert_eq!((report.trace.probes, report.trace.matvecs, report.provenance.dtype.as_str()), (2000, 2000, "f64"));
    assert_eq!(report.stop, Stop::Budget);
    Ok(())
}

#[test]
fn the_exact_trace_is_the_sum_of_the_diagonal() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let exact = mlp.exact_hessian()?;
    let mut calls = 0;
    let found = exact_trace(&mut TangentHessian::new(&objective)?, &mut |p: &Progress| {
        calls += 1;
        assert_eq!(p.of, 43);
        ControlFlow::Continue(())
    })?;
    assert!((found.trace - exact.trace()).abs() < 1e-13 * exact.trace().abs());
    assert!((found.trace_normalized * 43.0 - found.trace).abs() < 1e-13);
    assert!((found.per_layer["fc2.bias"] - exact.trace_of_entry(2)).abs() < 1e-13);
    let at_once = TangentHessian::new(&objective)?.products_at_once();
    let blocks: usize = exact.space().layout.entries().iter().map(|e| e.len.div_ceil(at_once)).sum();
    assert_eq!(
        (found.provenance.dim, found.effort.matvecs, calls),
        (43, 43, blocks * 3),
        "called before each batch of each block of products"
    );
    let stopped = exact_trace(&mut TangentHessian::new(&objective)?, &mut |p: &Progress| match p.done {
        3.. => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(stopped, Err(Error::Interrupted)));
    Ok(())
}

#[test]
fn an_interrupted_run_reports_the_probes_it_completed() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let s = Streams::new(6);
    let estimator = Hutchinson::new(TraceConfig::fixed(50))?;
    let mut hessian = DifferenceHessian::new(&objective)?;
    // between two batches of the eighth probe
    let partial = estimator.run(&mut hessian, &s, &mut |p: &Progress| match (p.done, p.batch) {
        (7, 1) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })?;
    assert_eq!((partial.stop, partial.trace.probes), (Stop::Interrupted, 7));
    let short = Hutchinson::new(TraceConfig::fixed(7))?.run(&mut hessian, &s, &mut Silent)?;
    assert_eq!(partial.trace, short.trace, "probe k does not depend on how many there are");
    let none = estimator.run(&mut hessian, &s, &mut |_: &Progress| ControlFlow::Break(()));
    assert!(matches!(none, Err(Error::Interrupted)));
    Ok(())
}

#[test]
fn a_report_is_plain_json() -> Result<()> {
    let mut a = Dense::from_fn(3, |i, j| (i + j) as f64)?;
    let report = Hutchinson::new(TraceConfig::fixed(1))?.run(&mut a, &Streams::new(0), &mut Silent)?;
    let json = serde_json::to_value(&report).expect("serialisable");
    assert_eq!(json["trace"]["ci95"], serde_json::Value::Null);
    assert_eq!(json["stopped_by"], "budget");
    assert_eq!(json["per_layer"]["x"]["probes"], 1);
    let report = Hutchinson::new(TraceConfig::fixed(5))?.run(&mut a, &Streams::new(0), &mut Silent)?;
    let json = serde_json::to_value(&report).expect("serialisable");
    assert!(json["trace"]["ci95"][0].as_f64() <= json["trace"]["value"].as_f64());
    for key in ["trace_normalized", "dim", "examples", "dtype", "seed", "bn_mode", "wall_s", "operator", "config"] {
        assert!(json.get(key).is_some(), "{key}");
    }
    Ok(())
}

#[test]
fn a_matrix_with_a_nan_names_the_probe_and_the_parameter() -> Result<()> {
    let mut a = Dense::from_fn(3, |i, _| if i == 1 { f64::NAN } else { 1.0 })?;
    let message = Hutchinson::new(TraceConfig::fixed(3))?
        .run(&mut a, &Streams::new(0), &mut Silent)
        .expect_err("nan")
        .to_string();
    assert!(message.contains("probe 0 over `x`"), "{message}");
    assert_eq!(a.matvecs(), 1);
    Ok(())
}
