//! The error from the choice of examples, apart from that of the probes.

use candle_core::{DType, Device, Tensor, Var};
use flat_core::{ParamVec, Params, Purpose, Streams};
use flat_metrics::{
    ClosureObjective, DifferenceHessian, HutchPlusPlus, Hutchinson, Objective, ProbeDistribution, Result, Silent,
    TangentHessian, TraceConfig, XTrace,
};

const D: usize = 12;

/// `loss_i(x) = sum_j c_ij x_j^2 / 2 + (mean of x)^2`: the Hessian of batch i is `diag(c_i)` and a common matrix of rank
/// one. `c_ij = 1 + scale_i`, the batches being drawn from a distribution with variance 1.
fn data(seed: u64, batches: usize) -> Result<ClosureObjective<'static>> {
    let x = Var::from_tensor(&Tensor::ones(D, DType::F64, &Device::Cpu)?)?;
    let params = Params::new([("x".to_string(), x.clone())])?;
    let scales = Streams::new(seed).at(Purpose::Test, 77).normals(batches);
    let (y, again) = (x.clone(), scales.clone());
    let objective = ClosureObjective::new(params, vec![1; batches], move |i| {
        (x.sqr()?.sum_all()? * (0.5 * (1.0 + scales[i])))? + (x.sum_all()?.sqr()? * 2.0)?
    })?;
    Ok(objective.with_tangent(move |i, v: &ParamVec| {
        let v = v.entry(0).map_err(candle_core::Error::wrap)?;
        let diagonal = ((y.as_tensor() * &v)?.sum_all()? * (1.0 + again[i]))?;
        diagonal + ((y.sum_all()? * v.sum_all()?)? * 4.0)?
    }))
}

#[test]
fn it_is_the_spread_of_the_trace_over_fresh_data() -> Result<()> {
    // tr H = D (1 + mean of the scales) + 4 D: its standard deviation over data is D / sqrt(batches)
    let batches = 25;
    let truth = D as f64 / (batches as f64).sqrt();
    let sphere = TraceConfig::fixed(8).with_probe(ProbeDistribution::Sphere);
    let mut means = [0.0; 3];
    let runs = 100;
    for seed in 0..runs {
        let objective = data(seed, batches)?;
        let mut hessian = TangentHessian::new(&objective)?;
        let s = Streams::new(seed);
        let reports = [
            Hutchinson::new(sphere.clone())?.run(&mut hessian, &s, &mut Silent)?,
            HutchPlusPlus::new(sphere.clone())?.run(&mut hessian, &s, &mut Silent)?,
            XTrace::new(sphere.clone())?.run(&mut hessian, &s, &mut Silent)?,
        ];
        for (mean, report) in means.iter_mut().zip(reports) {
            *mean += report.data_std_error.expect("many batches").powi(2) / runs as f64;
            assert_eq!(report.probe_std_error, report.trace.std_error);
        }
    }
    println!("data error {means:?}, true variance {}", truth * truth);
    for mean in means {
        // the sample variance of 25 has a relative standard deviation of 0.29: four standard errors over 100 runs
        assert!((mean / truth.powi(2) - 1.0).abs() < 4.0 * 0.29 / 10.0, "{means:?} {}", truth * truth);
    }
    Ok(())
}

#[test]
fn more_probes_shrink_the_error_of_the_probes_alone() -> Result<()> {
    let objective = data(3, 16)?;
    let mut hessian = DifferenceHessian::new(&objective)?;
    let mut run =
        |probes| Hutchinson::new(TraceConfig::fixed(probes))?.run(&mut hessian, &Streams::new(1), &mut Silent);
    let (few, many) = (run(10)?, run(1000)?);
    let ratio = |a: Option<f64>, b: Option<f64>| a.expect("an error") / b.expect("an error");
    assert!((5.0..20.0).contains(&ratio(few.probe_std_error, many.probe_std_error)), "a tenth");
    // the batches' Hessians differ by multiples of the identity, which signs see without noise
    assert!((ratio(few.data_std_error, many.data_std_error) - 1.0).abs() < 1e-6);
    Ok(())
}

#[test]
fn one_batch_has_none() -> Result<()> {
    let objective = data(3, 1)?;
    let report = Hutchinson::new(TraceConfig::fixed(9))?.run(
        &mut TangentHessian::new(&objective)?,
        &Streams::new(1),
        &mut Silent,
    )?;
    assert_eq!((report.data_std_error, objective.batches()), (None, 1));
    assert!(report.probe_std_error.is_some());
    let json = serde_json::to_value(&report).expect("serialisable");
    for key in ["estimator", "probe_distribution", "probe_std_error", "data_std_error"] {
        assert!(json.get(key).is_some(), "{key}");
    }
    Ok(())
}
