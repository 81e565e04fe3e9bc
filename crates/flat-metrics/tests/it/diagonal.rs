//! The diagonal estimator on explicit matrices.

use crate::mlp::Mlp;
use crate::spectra::{classifier, with_spectrum};
use candle_core::DType;
use flat_core::Streams;
use flat_metrics::{
    Bounds, Dense, Diagonal, Error, Hutchinson, LinearOperator, ProbeDistribution, Progress, Result, Silent, Stop,
    TangentHessian, TraceConfig,
};
use std::ops::ControlFlow;

#[test]
fn a_diagonal_matrix_is_exact_with_signs() -> Result<()> {
    let mut a = Dense::from_fn(20, |i, j| if i == j { i as f64 - 3.25 } else { 0.0 })?;
    let report = Diagonal::new(TraceConfig::fixed(3))?.run(&mut a, &Streams::new(1), &mut Silent)?;
    assert_eq!(report.diagonal.to_f64()?, (0..20).map(|i| f64::from(i) - 3.25).collect::<Vec<_>>());
    let layer = &report.per_layer["x"];
    assert_eq!((layer.size, layer.entry_std_error), (20, Some(0.0)));
    let square = (0..20).map(|i| (f64::from(i) - 3.25).powi(2)).sum::<f64>() / 20.0;
    assert!((layer.rms.value - square.sqrt()).abs() < 1e-12);
    let Bounds { at_least, at_most } = layer.mean_abs;
    assert!((at_least - 6.25).abs() < 1e-12 && at_most.is_some_and(|x| (x - square.sqrt()).abs() < 1e-12));
    Ok(())
}

#[test]
fn the_size_of_the_entries_is_not_that_of_the_probes_noise() -> Result<()> {
    // entries of 1e-3 to 2e-3 under off-diagonal ones of 0.5: an estimate from 16 probes has noise of 0.9
    let d = 60;
    let entry = |i: usize| 1e-3 * (1.0 + i as f64 / d as f64);
    let mut noisy =
        Dense::from_fn(d, |i, j| if i == j { entry(i) } else { 0.5 * f64::from((i * j % 2) as u8 * 2) - 0.5 })?;
    let mut dominant = with_spectrum(&classifier(60), 9)?;
    for a in [&mut noisy, &mut dominant] {
        let exact: Vec<f64> = (0..d).map(|i| a.at(i, i)).collect();
        let mean = exact.iter().map(|x| x.abs()).sum::<f64>() / d as f64;
        let rms = (exact.iter().map(|x| x * x).sum::<f64>() / d as f64).sqrt();
        for probes in [3, 16, 64] {
            let (mut bounded, mut covered, seeds) = (0, 0, 400);
            for seed in 0..seeds {
                let report = Diagonal::new(TraceConfig::fixed(probes))?.run(a, &Streams::new(seed), &mut Silent)?;
                let layer = &report.per_layer["x"];
                let [lo, hi] = layer.rms.ci95.expect("three groups or more");
                covered += u32::from(lo <= rms && rms <= hi);
                let Bounds { at_least, at_most } = layer.mean_abs;
                bounded += u32::from(at_least <= mean && at_most.is_some_and(|x| mean <= x));
            }
            let rates = [covered, bounded].map(|n| f64::from(n) / seeds as f64);
            println!("{probes} probes: {rates:?}");
            // 95 % less three standard errors of 400 seeds
            assert!(rates.iter().all(|rate| *rate >= 0.917), "{probes} probes: {rates:?}");
        }
    }
    let report = Diagonal::new(TraceConfig::fixed(2))?.run(&mut noisy, &Streams::new(0), &mut Silent)?;
    assert_eq!(report.per_layer["x"].mean_abs.at_most, None, "two probes do not tell");
    Ok(())
}

#[test]
fn stopping_keeps_the_probes_completed() -> Result<()> {
    let mut a = with_spectrum(&classifier(60), 9)?;
    let stop = &mut |p: &Progress| match p.done {
        0..5 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let part = Diagonal::new(TraceConfig::fixed(20))?.run(&mut a, &Streams::new(3), stop)?;
    let whole = Diagonal::new(TraceConfig::fixed(5))?.run(&mut a, &Streams::new(3), &mut Silent)?;
    assert_eq!((part.stop, whole.stop), (Stop::Interrupted, Stop::Budget));
    assert_eq!(part.diagonal.to_f64()?, whole.diagonal.to_f64()?);
    assert_eq!(part.trace, whole.trace);
    let none = Diagonal::new(TraceConfig::fixed(20))?
        .run(&mut a, &Streams::new(3), &mut |_: &Progress| ControlFlow::Break(()));
    assert!(matches!(none, Err(Error::Interrupted)));
    Ok(())
}

#[test]
fn entries_are_unbiased_and_their_errors_are_right() -> Result<()> {
    let mut a = with_spectrum(&classifier(60), 9)?;
    for probe in [ProbeDistribution::Rademacher, ProbeDistribution::Gaussian, ProbeDistribution::Sphere] {
        let config = TraceConfig::fixed(4000).with_probe(probe);
        let report = Diagonal::new(config)?.run(&mut a, &Streams::new(2), &mut Silent)?;
        let errors = report.std_error.as_ref().expect("many probes").to_f64()?;
        let found = report.diagonal.to_f64()?;
        let scores: Vec<f64> = (0..60).map(|i| (found[i] - a.at(i, i)) / errors[i]).collect();
        let square = scores.iter().map(|s| s * s).sum::<f64>() / 60.0;
        // a chi-squared of 60 correlated scores over 60: well within these
        assert!((0.5..2.0).contains(&square), "{probe}: {square}");
        assert!(scores.iter().all(|s| s.abs() < 4.5), "{probe}: {scores:?}");
        if probe == ProbeDistribution::Rademacher {
            for (i, error) in errors.iter().enumerate() {
                let off: f64 = (0..60).filter(|j| *j != i).map(|j| a.at(i, j).powi(2)).sum();
                // the sample variance of 4,000: about 4 % with heavy tails, five of them
                assert!((error.powi(2) * 4000.0 / off - 1.0).abs() < 0.2, "{i}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_layers_sums_are_hutchinsons_traces_of_the_same_seed() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let mut hessian = TangentHessian::new(&objective)?;
    let config = TraceConfig::fixed(20);
    let diagonal = Diagonal::new(config.clone())?.run(&mut hessian, &Streams::new(4), &mut Silent)?;
    let trace = Hutchinson::new(config)?.run(&mut hessian, &Streams::new(4), &mut Silent)?;
    for (name, layer) in &diagonal.per_layer {
        let other = &trace.per_layer[name];
        assert!((layer.trace.value - other.value).abs() < 1e-12 * trace.trace.value.abs(), "{name}");
        assert!((layer.mean.value * layer.size as f64 - layer.trace.value).abs() < 1e-12);
        assert!(layer.mean_abs.at_most.is_some_and(|most| most >= layer.mean_abs.at_least));
    }
    assert_eq!(hessian.matvecs(), 40);
    let json = serde_json::to_value(&diagonal).expect("serialisable");
    assert!(json["per_layer"]["fc1.weight"]["mean_abs"]["at_most"].is_number() && json.get("diagonal").is_none());
    Ok(())
}
