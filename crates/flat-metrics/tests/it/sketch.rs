//! Hutch++ and XTrace on explicit matrices.

use crate::spectra::{classifier, with_spectrum};
use flat_core::{Purpose, Streams};
use flat_metrics::{
    Dense, Error, HutchPlusPlus, Hutchinson, LinearOperator, Measured, ModelObjective, Observer, ProbeDistribution,
    Product, Progress, Provenance, Result, Silent, Stop, TangentHessian, Trace, TraceConfig, XTrace,
};
use std::ops::ControlFlow;

const PROBES: [ProbeDistribution; 3] =
    [ProbeDistribution::Rademacher, ProbeDistribution::Gaussian, ProbeDistribution::Sphere];

fn run(name: &str, a: &mut Dense, matvecs: u64, probe: ProbeDistribution, seed: u64) -> Result<Measured<Trace>> {
    let (config, streams) = (TraceConfig::fixed(matvecs).with_probe(probe), Streams::new(seed));
    match name {
        "hutchinson" => Hutchinson::new(config)?.run(a, &streams, &mut Silent),
        "hutch++" => HutchPlusPlus::new(config)?.run(a, &streams, &mut Silent),
        _ => XTrace::new(config)?.run(a, &streams, &mut Silent),
    }
}

/// Coverage of the intervals and root mean square of the errors over 2,000 seeds.
fn coverage(name: &str, a: &mut Dense, matvecs: u64, probe: ProbeDistribution) -> Result<f64> {
    let (truth, seeds) = (a.trace(), 2000);
    let (mut hits, mut bias, mut squares, mut claimed, mut theirs) = (0, 0.0, 0.0, 0.0, 0);
    for seed in 0..seeds {
        let report = run(name, a, matvecs, probe, seed)?;
        let t = &report.trace;
        let [lo, hi] = t.ci95.expect("many probes");
        // the interval that XTrace's authors' own error estimate would give
        let narrow = report.leave_one_out.map_or(1.0, |e| e / t.std_error.expect("many probes")) * (hi - lo) / 2.0;
        theirs += u32::from((t.value - truth).abs() <= narrow);
        hits += u32::from(lo <= truth && truth <= hi);
        bias += (t.value - truth) / seeds as f64;
        squares += (t.value - truth).powi(2) / seeds as f64;
        claimed += t.std_error.expect("many probes").powi(2) / seeds as f64;
    }
    let rate = f64::from(hits) / seeds as f64;
    println!(
        "{matvecs:>3} products, {name:<11} {probe:<11} coverage {rate:.3} ({:.3} by leave-one-out)  error {:.4}  claimed {:.4}  trace {truth:.2}",
        f64::from(theirs) / seeds as f64,
        squares.sqrt(),
        claimed.sqrt()
    );
    // unbiased: four standard errors of the mean over the seeds
    assert!(bias.abs() < 4.0 * (squares / seeds as f64).sqrt(), "{name} {probe}: {bias}");
    Ok(rate)
}

#[test]
fn intervals_of_every_estimator_and_distribution_cover_at_the_nominal_rate() -> Result<()> {
    let mut a = with_spectrum(&classifier(80), 3)?;
    for name in ["hutchinson", "hutch++"] {
        for probe in PROBES {
            let rate = coverage(name, &mut a, 64, probe)?;
            assert!((rate - 0.95).abs() <= 0.02, "{name} {probe}: {rate}");
        }
    }
    // the error of dependent samples is an approximation, on the safe side here
    let rate = coverage("xtrace", &mut a, 64, ProbeDistribution::Sphere)?;
    assert!((0.93..=0.985).contains(&rate), "xtrace: {rate}");
    Ok(())
}

#[test]
#[ignore = "a minute: the coverage that the documentation states"]
fn coverage_at_other_numbers_of_products_and_spectra() -> Result<()> {
    let d = 80;
    let power = (0..d).map(|k| f64::from(k + 1).powi(-2)).collect::<Vec<_>>();
    let flat = (0..d).map(|k| 1.0 + f64::from(k) / f64::from(d)).collect::<Vec<_>>();
    for (spectrum, lambda) in [("classifier", classifier(d as usize)), ("1/k^2", power), ("flat", flat)] {
        println!("{spectrum}");
        let mut a = with_spectrum(&lambda, 3)?;
        for matvecs in [10, 16, 30, 64] {
            for name in ["hutchinson", "hutch++", "xtrace"] {
                for probe in [ProbeDistribution::Rademacher, ProbeDistribution::Sphere] {
                    let rate = coverage(name, &mut a, matvecs, probe)?;
                    assert!(rate > 0.85, "{name} {probe}: {rate}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn the_error_at_equal_products_is_at_most_half_of_hutchinsons() -> Result<()> {
    let mut a = with_spectrum(&classifier(150), 4)?;
    let truth = a.trace();
    let mut error = |name: &str, probe| -> Result<f64> {
        let mut squares = 0.0;
        for seed in 0..200 {
            squares += (run(name, &mut a, 60, probe, seed)?.trace.value - truth).powi(2) / 200.0;
        }
        Ok(squares.sqrt())
    };
    let plain = error("hutchinson", ProbeDistribution::Rademacher)?;
    for name in ["hutch++", "xtrace"] {
        let better = error(name, ProbeDistribution::Sphere)?;
        println!("60 products: hutchinson {plain:.3}, {name} {better:.3}");
        assert!(better < 0.5 * plain, "{name}: {better} against {plain}");
    }
    Ok(())
}

#[test]
fn a_matrix_of_small_rank_is_exact() -> Result<()> {
    let mut lambda = vec![0.0; 40];
    lambda[..5].copy_from_slice(&[5.0, 4.0, 3.0, -2.0, 1.0]);
    let mut a = with_spectrum(&lambda, 5)?;
    for name in ["hutch++", "xtrace"] {
        for probe in PROBES {
            for matvecs in [20, 36] {
                let report = run(name, &mut a, matvecs, probe, 1)?;
                // rounding of some hundred operations
                assert!((report.trace.value - 11.0).abs() < 1e-11, "{name} {probe} {matvecs}: {}", report.trace.value);
                assert!(report.trace.std_error.expect("many") < 1e-11, "{name} {probe} {matvecs}");
            }
        }
    }
    let mut zero = Dense::from_fn(12, |_, _| 0.0)?;
    for name in ["hutch++", "xtrace"] {
        // XTrace divides by the smallest number there is
        assert!(run(name, &mut zero, 9, ProbeDistribution::Sphere, 1)?.trace.value.abs() < 1e-300, "{name}");
    }
    Ok(())
}

#[test]
fn as_many_products_as_dimensions_leave_almost_nothing_to_chance() -> Result<()> {
    let mut a = with_spectrum(&classifier(12), 6)?;
    // Hutch++ knows the whole range with 12 of 36 products
    let report = run("hutch++", &mut a, 36, ProbeDistribution::Gaussian, 1)?;
    assert!((report.trace.value - a.trace()).abs() < 1e-10, "{}", report.trace.value);
    // XTrace leaves one direction out at a time
    let report = run("xtrace", &mut a, 24, ProbeDistribution::Sphere, 1)?;
    assert!((report.trace.value - a.trace()).abs() < 1e-8, "{}", report.trace.value);
    for (name, matvecs) in [("hutch++", 39), ("xtrace", 26)] {
        let message = run(name, &mut a, matvecs, ProbeDistribution::Sphere, 1).expect_err("too many").to_string();
        assert!(message.contains("exact_trace"), "{message}");
    }
    Ok(())
}

#[test]
fn xtrace_does_not_depend_on_how_the_bases_are_computed() -> Result<()> {
    // the definition, with a Gram-Schmidt basis of its own for every probe, in plain host arithmetic
    let (d, m) = (20, 6);
    let mut a = with_spectrum(&classifier(d), 7)?;
    let s = Streams::new(11);
    let space = a.space().clone();
    for probe in PROBES {
        let mut values = Vec::new();
        let z: Vec<Vec<f64>> = (0..m)
            .map(|i| probe.draw(&space, &s.at(Purpose::Probe, i))?.to_f64().map_err(Into::into))
            .collect::<Result<_>>()?;
        let times = |x: &[f64]| -> Vec<f64> { (0..d).map(|i| (0..d).map(|j| a.at(i, j) * x[j]).sum()).collect() };
        let dot = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(a, b)| a * b).sum() };
        for i in 0..m as usize {
            let mut q: Vec<Vec<f64>> = Vec::new();
            for (_, z) in z.iter().enumerate().filter(|(j, _)| *j != i) {
                let mut y = times(z);
                for _ in 0..2 {
                    for p in &q {
                        let c = dot(p, &y);
                        y.iter_mut().zip(p).for_each(|(y, p)| *y -= c * p);
                    }
                }
                let norm = dot(&y, &y).sqrt();
                q.push(y.into_iter().map(|y| y / norm).collect());
            }
            let mut rest = z[i].clone();
            for p in &q {
                let c = dot(p, &rest);
                rest.iter_mut().zip(p).for_each(|(r, p)| *r -= c * p);
            }
            let scale = match probe {
                ProbeDistribution::Rademacher => 1.0,
                _ => (d - q.len()) as f64 / dot(&rest, &rest),
            };
            let exact: f64 = q.iter().map(|p| dot(p, &times(p))).sum();
            values.push(exact + scale * dot(&rest, &times(&rest)));
        }
        let mean = values.iter().sum::<f64>() / m as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (m * (m - 1)) as f64;
        let whole = run("xtrace", &mut a, 2 * m, probe, 11)?;
        let report = whole.trace.clone();
        assert!((report.value - mean).abs() < 1e-10, "{probe}: {} {mean}", report.value);
        assert!((whole.leave_one_out.expect("xtrace") - variance.sqrt()).abs() < 1e-10, "{probe}");
        assert_eq!((report.probes, report.matvecs), (m, 2 * m));
    }
    Ok(())
}

#[test]
fn layers_sum_to_the_total_and_estimate_their_own_blocks() -> Result<()> {
    let model = crate::models::model(flat_nn::networks::MLP, 3, flat_nn::Activation::Tanh, candle_core::DType::F64)?;
    let held = crate::models::batches(&model)?;
    let objective = ModelObjective::new(&model, crate::models::LOSS, flat_nn::Mode::Eval, held)?;
    let mut hessian = TangentHessian::new(&objective)?;
    let exact = flat_metrics::exact_trace(&mut hessian, &mut |_: &Progress| ControlFlow::Continue(()))?;
    let mut sums = std::collections::BTreeMap::<String, f64>::new();
    let runs = 200;
    for name in ["hutch++", "xtrace"] {
        sums.clear();
        let mut squares = std::collections::BTreeMap::<String, f64>::new();
        for seed in 0..runs {
            let config = TraceConfig::fixed(12).with_probe(ProbeDistribution::Sphere);
            let report = match name {
                "hutch++" => HutchPlusPlus::new(config)?.run(&mut hessian, &Streams::new(seed), &mut Silent)?,
                _ => XTrace::new(config)?.run(&mut hessian, &Streams::new(seed), &mut Silent)?,
            };
            let sum: f64 = report.per_layer.values().map(|e| e.value).sum();
            assert!((sum - report.trace.value).abs() < 1e-12 * exact.trace.abs(), "{name}");
            for (layer, e) in &report.per_layer {
                *sums.entry(layer.clone()).or_default() += e.value / runs as f64;
                *squares.entry(layer.clone()).or_default() += (e.value - exact.per_layer[layer]).powi(2) / runs as f64;
            }
        }
        for (layer, mean) in &sums {
            // unbiased block by block: four standard errors
            let error = (squares[layer] / runs as f64).sqrt();
            assert!((mean - exact.per_layer[layer]).abs() < 4.0 * error, "{name} {layer}: {mean}");
        }
    }
    Ok(())
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() -> Result<()> {
    let field = |r: Result<HutchPlusPlus>| match r {
        Err(Error::BadConfig { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(HutchPlusPlus::new(TraceConfig::fixed(3))), "max_probes");
    assert_eq!(field(HutchPlusPlus::new(TraceConfig::to_tolerance(0.1, 30))), "rel_tol");
    assert!(XTrace::new(TraceConfig::fixed(2)).is_err());
    Ok(())
}

/// An operator that must not be multiplied with.
struct Huge(flat_core::Space);

impl LinearOperator for Huge {
    fn space(&self) -> &flat_core::Space {
        &self.0
    }
    fn product(&mut self, _: &flat_core::ParamVec, _: &mut dyn Observer) -> Result<Product> {
        panic!("a product")
    }
    fn matvecs(&self) -> u64 {
        0
    }
    fn provenance(&self) -> Provenance {
        Provenance::default()
    }
}

#[test]
fn more_vectors_than_fit_in_memory_are_refused_before_the_first_product() -> Result<()> {
    let layout = flat_core::Layout::new([("x".to_string(), candle_core::Shape::from(1 << 30))])?;
    let space = flat_core::Space {
        layout: std::sync::Arc::new(layout),
        dtype: candle_core::DType::F32,
        device: candle_core::Device::Cpu,
    };
    for error in [
        HutchPlusPlus::new(TraceConfig::fixed(30))?.run(&mut Huge(space.clone()), &Streams::new(0), &mut Silent).err(),
        XTrace::new(TraceConfig::fixed(30))?.run(&mut Huge(space.clone()), &Streams::new(0), &mut Silent).err(),
    ] {
        let message = error.expect("56 GiB").to_string();
        assert!(message.contains("GiB") && message.contains("Hutchinson"), "{message}");
    }
    Ok(())
}

#[test]
fn an_interrupted_sketch_is_hutchinsons_estimate_of_its_first_products() -> Result<()> {
    for (name, at) in [("hutch++", 5), ("xtrace", 7), ("xtrace", 14)] {
        let mut a = with_spectrum(&classifier(30), 8)?;
        let config = TraceConfig::fixed(20).with_probe(ProbeDistribution::Sphere);
        let stop = &mut |p: &Progress| match p.done < at {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        let (streams, mut seen) = (Streams::new(0), 0);
        let report = match name {
            "hutch++" => HutchPlusPlus::new(config.clone())?.run(&mut a, &streams, stop)?,
            _ => XTrace::new(config.clone())?.run(&mut a, &streams, stop)?,
        };
        seen += a.matvecs();
        assert_eq!((seen, report.stop), (at, Stop::Interrupted), "{name}");
        // 20 products: 6 of hutch++ and 10 of xtrace are of the probes themselves
        let probes = at.min(10);
        let plain = TraceConfig { max_probes: probes, ..config };
        let other = Hutchinson::new(plain)?.run(&mut a, &streams, &mut Silent)?;
        assert_eq!((report.trace.value, report.trace.ci95), (other.trace.value, other.trace.ci95), "{name}");
        assert!(report.estimator.contains("interrupted") && report.leave_one_out.is_none(), "{}", report.estimator);
    }
    // the arithmetic after the last product can be interrupted too
    let mut a = with_spectrum(&classifier(30), 8)?;
    let mut asked = 0;
    let report = XTrace::new(TraceConfig::fixed(20))?.run(&mut a, &Streams::new(0), &mut |p: &Progress| {
        asked += u32::from(p.done == 20);
        if asked < 15 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    assert_eq!((report.stop, report.trace.probes, a.matvecs()), (Stop::Interrupted, 10, 20));
    let none =
        XTrace::new(TraceConfig::fixed(20))?.run(&mut a, &Streams::new(0), &mut |_: &Progress| ControlFlow::Break(()));
    assert!(matches!(none, Err(Error::Interrupted)));
    Ok(())
}
