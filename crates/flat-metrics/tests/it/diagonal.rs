//! The diagonal estimator on explicit matrices.

use crate::mlp::Mlp;
use crate::spectra::{classifier, with_spectrum};
use candle_core::DType;
use flat_core::Streams;
use flat_metrics::{
    Dense, Diagonal, Hutchinson, LinearOperator, ProbeDistribution, Result, TangentHessian, TraceConfig,
};

#[test]
fn a_diagonal_matrix_is_exact_with_signs() -> Result<()> {
    let mut a = Dense::from_fn(20, |i, j| if i == j { i as f64 - 3.25 } else { 0.0 })?;
    let report = Diagonal::new(TraceConfig::fixed(3))?.run(&mut a, &Streams::new(1))?;
    assert_eq!(report.diagonal.to_f64()?, (0..20).map(|i| f64::from(i) - 3.25).collect::<Vec<_>>());
    let layer = &report.per_layer["x"];
    assert_eq!((layer.size, layer.entry_std_error, layer.negative), (20, Some(0.0), Some(0.2)));
    assert_eq!(layer.quantiles[2], 6.25, "the median of -3.25 to 15.75");
    Ok(())
}

#[test]
fn entries_are_unbiased_and_their_errors_are_right() -> Result<()> {
    let mut a = with_spectrum(&classifier(60), 9)?;
    for probe in [ProbeDistribution::Rademacher, ProbeDistribution::Gaussian, ProbeDistribution::Sphere] {
        let config = TraceConfig::fixed(4000).with_probe(probe);
        let report = Diagonal::new(config)?.run(&mut a, &Streams::new(2))?;
        let errors = report.std_error.expect("many probes").to_f64()?;
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
    let diagonal = Diagonal::new(config.clone())?.run(&mut hessian, &Streams::new(4))?;
    let trace = Hutchinson::new(config)?.run(&mut hessian, &Streams::new(4))?;
    for (name, layer) in &diagonal.per_layer {
        let other = &trace.per_layer[name];
        assert!((layer.trace.value - other.value).abs() < 1e-12 * trace.trace.value.abs(), "{name}");
        assert!((layer.mean.value * layer.size as f64 - layer.trace.value).abs() < 1e-12);
        assert!(layer.mean_abs >= layer.mean.value.abs());
        assert!(layer.quantiles.is_sorted());
    }
    assert_eq!(hessian.matvecs(), 40);
    let json = serde_json::to_value(&diagonal).expect("serialisable");
    assert!(json["per_layer"]["fc1.weight"]["mean_abs"].is_number() && json.get("diagonal").is_none());
    Ok(())
}
