//! Certificates of functions whose minima, flow and trace are known in closed form.

use candle_core::{Device, Tensor, Var};
use flat_core::{Params, Purpose, Streams};
use flat_metrics::{
    Certificate, CertificateConfig, ClosureObjective, DifferenceHessian, Error, FlowConfig, Judgement, Known, Measured,
    Progress, Result, Silent, Stop, Verdict,
};
use std::ops::ControlFlow;

fn params(x: &[f64]) -> Result<Params> {
    Ok(Params::new([("x".to_string(), Var::from_tensor(&Tensor::new(x, &Device::Cpu)?)?)])?)
}

fn certify(
    x: &[f64],
    f: impl Fn(&Tensor) -> candle_core::Result<Tensor> + Send + Sync,
    config: CertificateConfig,
    seed: u64,
) -> Result<Measured<Judgement>> {
    let params = params(x)?;
    let var = params.vars()[0].clone();
    let objective = ClosureObjective::new(params.clone(), vec![1], move |_| f(var.as_tensor()))?;
    let mut hessian = DifferenceHessian::new(&objective)?;
    let before: Vec<u64> = params.read()?.to_f64()?.into_iter().map(f64::to_bits).collect();
    let report = Certificate::new(config)?.run(&objective, &mut hessian, &Streams::new(seed), &mut Silent)?;
    let after: Vec<u64> = params.read()?.to_f64()?.into_iter().map(f64::to_bits).collect();
    assert_eq!(before, after, "theta is bit-equal");
    Ok(report)
}

fn config(eps: f64, eps_prime: f64) -> CertificateConfig {
    let flow = FlowConfig { grad_tol: 1e-9, rel_tol: 1e-4, max_gradients: 100_000 };
    CertificateConfig { eps, eps_prime: Some(eps_prime), flow, ..CertificateConfig::default() }
}

/// `(x1 x2 - 1)^2`.
fn hyperbola(x: &Tensor) -> candle_core::Result<Tensor> {
    (x.get(0)?.mul(&x.get(1)?)? - 1.0)?.sqr()
}

/// `(<y, z> - 1)^2 / 2` of x = (y, z).
fn inner(x: &Tensor) -> candle_core::Result<Tensor> {
    let d = x.elem_count() / 2;
    (x.narrow(0, 0, d)?.mul(&x.narrow(0, d, d)?)?.sum_all()? - 1.0)?.sqr()? * 0.5
}

/// The limit of the flow of both: it keeps `|x1|^2 - |x2|^2` of each pair; in two dimensions x1 x2 = 1 besides.
fn limit([a, b]: [f64; 2]) -> [f64; 2] {
    let c = a * a - b * b;
    let x = a.signum() * ((c + (c * c + 4.0).sqrt()) / 2.0).sqrt();
    [x, 1.0 / x]
}

#[test]
fn the_hyperbola_has_its_limit_its_slope_and_its_tangent() -> Result<()> {
    for x in [[2.2, 0.6], [0.2, 1.5], [3.0, 0.5], [-1.4, -0.3]] {
        let report = certify(&x, hyperbola, config(1.0, 1.0), 1)?;
        let [a, b] = limit(x);
        let found = report.limit.to_f64()?;
        // the flow's own account of its error is an upper estimate
        let gap = (found[0] - a).hypot(found[1] - b);
        let [near, far] = report.distance_interval;
        assert!(gap < 1e-4 && gap <= far - report.distance, "{gap:e} {:?}", report.distance_interval);
        let distance = (x[0] - a).hypot(x[1] - b);
        assert!(near <= distance && distance <= far && far - near < 0.01 * distance, "{distance} [{near}, {far}]");
        assert!(report.grad_norm_limit <= 1e-9 && report.flow.stop == Stop::Arrived);
        // eigenvalues 2 (x1^2 + x2^2) and 0
        let spectrum = report.spectrum.as_ref().expect("a spectrum");
        let top = 2.0 * (found[0].powi(2) + found[1].powi(2));
        assert!((spectrum.largest[0][0] - top).abs() < 1e-7 * top, "{spectrum:?}");
        assert_eq!((spectrum.rank, spectrum.complete), (1, true));
        // trbar = x1^2 + x2^2; its gradient along the tangent (x1, -x2) is 2 |x1^2 - x2^2| / |x|
        let slope = report.slope.as_ref().expect("a slope");
        let exact = 2.0 * (found[0].powi(2) - found[1].powi(2)).abs() / found[0].hypot(found[1]);
        let [lo, hi] = slope.interval;
        assert!(slope.known == Known::Interval && lo <= exact && exact <= hi, "{exact} [{lo}, {hi}]");
        assert!(hi - lo < 1e-4 * exact, "{exact} [{lo}, {hi}]");
        let [lo, hi] = slope.trace_interval;
        assert!(lo <= top / 2.0 + 1e-9 && top / 2.0 - 1e-9 <= hi && hi - lo < 1e-6, "{top} [{lo}, {hi}]");
        // the direction is the tangent, up the trace
        let t = slope.direction.to_f64()?;
        let along = (t[0] * found[0] - t[1] * found[1]) * (found[0].abs() - found[1].abs());
        assert!((t[0] * found[1] + t[1] * found[0]).abs() < 1e-6 * t[0].hypot(t[1]) && along > 0.0, "{t:?}");
    }
    Ok(())
}

#[test]
fn the_verdict_is_the_comparison_of_both_intervals() -> Result<()> {
    let verdict = |x: [f64; 2], eps, prime| Ok::<_, Error>(certify(&x, hyperbola, config(eps, prime), 2)?.verdict);
    assert_eq!(verdict([1.02, 0.99], 0.1, 0.5)?, Verdict::Flat);
    assert_eq!(verdict([1.02, 0.99], 0.001, 0.5)?, Verdict::NotFlat, "too far from the minimum");
    assert_eq!(verdict([4.0, 0.25], 0.1, 0.5)?, Verdict::NotFlat, "a sharp minimum");
    // at distance 0.0070 with an error of a hundredth of it
    let distance = certify(&[1.02, 0.99], hyperbola, config(1.0, 0.5), 2)?.distance;
    let loose = FlowConfig { rel_tol: 0.5, ..FlowConfig::default() };
    let config = CertificateConfig { flow: loose, ..config(distance, 0.5) };
    assert_eq!(certify(&[1.02, 0.99], hyperbola, config, 2)?.verdict, Verdict::Undecided);
    Ok(())
}

#[test]
fn the_inner_product_has_its_slope_along_the_minima() -> Result<()> {
    let d = 10;
    let mut x = vec![0.0; 2 * d];
    (x[0], x[d]) = (3.0, 1.0 / 3.0);
    let r2: f64 = 9.0 + 1.0 / 9.0;
    let exact = (r2 - 4.0 / r2).sqrt() / d as f64;
    for seed in 0..5 {
        let report = certify(&x, inner, config(0.1, 1.0), seed)?;
        let spectrum = report.spectrum.as_ref().expect("a spectrum");
        assert_eq!((spectrum.rank, report.distance, report.flow.steps), (1, 0.0, 0));
        let slope = report.slope.as_ref().expect("a slope");
        let [lo, hi] = slope.interval;
        assert!(lo <= exact && exact <= hi && hi - lo < 1e-5 * exact, "{exact} [{lo}, {hi}]");
    }
    Ok(())
}

#[test]
fn a_quadratic_is_flat_everywhere_and_its_limit_is_the_projection() -> Result<()> {
    let a = [4.0, 2.0, 0.5, 0.0, 0.0, 0.0];
    let x = [0.03, -0.04, 0.05, 1.0, -2.0, 3.0];
    let f = move |x: &Tensor| (Tensor::new(&a, &Device::Cpu)? * x.sqr()?)?.sum_all()? * 0.5;
    let report = certify(&x, f, config(0.1, 1e-3), 0)?;
    let distance = 0.005f64.sqrt();
    assert!((report.distance - distance).abs() < 1e-8, "{}", report.distance);
    assert_eq!(report.verdict, Verdict::Flat, "{}", report.reason);
    let spectrum = report.spectrum.as_ref().expect("a spectrum");
    assert!(spectrum.rank == 3 && spectrum.complete && spectrum.smallest[0].abs() <= spectrum.zero, "{spectrum:?}");
    // third derivatives vanish: rounding is left
    assert!(report.slope.as_ref().expect("a slope").interval[1] < 1e-4);
    assert_eq!(certify(&x, f, config(0.01, 1e-3), 0)?.verdict, Verdict::NotFlat);
    Ok(())
}

#[test]
fn a_slow_direction_is_followed_to_its_end_though_the_gradient_is_below_its_tolerance() -> Result<()> {
    // one direction of curvature 1e-4 or less, in which the gradient is below the default grad_tol of 1e-6
    for (slow, length) in [(1e-4, 0.0064), (1e-6, 0.5), (1e-8, 5.0)] {
        let f = move |x: &Tensor| {
            let a: Vec<f64> = (0..40)
                .map(|i| {
                    if i == 7 {
                        slow
                    } else if i < 30 {
                        1.0 + i as f64
                    } else {
                        0.0
                    }
                })
                .collect();
            (Tensor::new(a, &Device::Cpu)? * x.sqr()?)?.sum_all()? * 0.5
        };
        let mut x = vec![0.0; 40];
        x[35] = 2.0;
        x[7] = length;
        let report = certify(&x, f, CertificateConfig { eps_prime: Some(1.0), ..CertificateConfig::default() }, 3)?;
        let [near, far] = report.distance_interval;
        assert!(near <= length && length <= far && near > 0.9 * length, "{length} [{near}, {far}] {:?}", report.flow);
        let right = if length > 0.1 { Verdict::NotFlat } else { Verdict::Flat };
        assert_eq!(report.verdict, right, "{} {}", report.reason, length);
    }
    Ok(())
}

#[test]
fn without_the_whole_range_distance_and_slope_are_bounds_and_nothing_is_said() -> Result<()> {
    let (d, rank) = (60, 40);
    let f = move |x: &Tensor| {
        let a: Vec<f64> = (0..d).map(|i| if i < rank { 1.0 + i as f64 } else { 0.0 }).collect();
        // the curvature of the range changes along the first direction of the kernel: slope of the trace 0.5 * 820 / 60
        let height = (x.get(rank)? * 0.5)?.exp()?;
        (height * (Tensor::new(a, &Device::Cpu)? * x.sqr()?)?.sum_all()?)? * 0.5
    };
    let mut x = vec![0.0; d];
    x[0] = 1e-3;
    let exact = 0.5 * (1..=rank).sum::<usize>() as f64 / d as f64;
    let whole = certify(&x, f, CertificateConfig::default(), 1)?;
    let slope = whole.slope.as_ref().expect("a slope");
    // the flow moves along the kernel by -x_0^2 / 8
    let along = whole.limit.to_f64()?[rank];
    assert!((along + 1e-6 / 8.0).abs() <= whole.flow.error, "{along} {:?}", whole.flow);
    let exact = exact * (0.5 * along).exp();
    assert!(slope.interval[0] <= exact && exact <= slope.interval[1], "{exact} {:?}", slope.interval);
    assert_eq!(
        (whole.verdict, slope.known),
        (Verdict::NotFlat, Known::Interval),
        "0.5 a unit of length: {}",
        whole.reason
    );
    for seed in 0..8 {
        let few = CertificateConfig { max_matvecs: 20, ..CertificateConfig::default() };
        let report = certify(&x, f, few, seed)?;
        assert_eq!((report.verdict, report.distance_known), (Verdict::Undecided, Known::AtLeast));
        assert!(report.distance_interval[0] <= 1e-3 && report.distance_interval[1].is_infinite());
        let slope = report.slope.as_ref().expect("a bound");
        assert!(slope.known == Known::AtMost && slope.interval[1] >= exact, "{exact} {slope:?}");
        assert!(report.reason.to_string().contains("max_matvecs"), "{}", report.reason);
    }
    Ok(())
}

#[test]
fn strict_saddles_are_no_minima_whatever_the_number_of_their_negative_eigenvalues() -> Result<()> {
    for (seed, negative) in [(0, 1), (1, 2), (2, 5), (3, 13)] {
        let d = 30;
        // random signs and sizes, a kernel of ten, and a cubic term that vanishes at the saddle
        let sizes = Streams::new(seed).at(Purpose::Test, 0).normals(d);
        let a: Vec<f64> = (0..d)
            .map(|i| {
                let size = 0.01 + sizes[i].abs();
                if i < negative {
                    -size
                } else if i < 20 {
                    size
                } else {
                    0.0
                }
            })
            .collect();
        let lowest = a.iter().copied().fold(0.0, f64::min);
        let f = move |x: &Tensor| {
            let square = (Tensor::new(a.as_slice(), &Device::Cpu)? * x.sqr()?)?.sum_all()?;
            ((square * 0.5)? + x.powf(3.0)?.sum_all()?)? + x.powf(4.0)?.sum_all()?
        };
        let report = certify(&vec![0.0; d], f, CertificateConfig::default(), seed)?;
        assert_eq!(report.verdict, Verdict::NotAMinimum, "{} {}", negative, report.reason);
        let [low, residual] = report.spectrum.as_ref().expect("a spectrum").smallest;
        assert!((low - lowest).abs() <= residual + 1e-6, "{low} +- {residual}, {lowest}");
        assert!(report.slope.is_none() && report.reason.to_string().contains("eigenvalue -"));
    }
    Ok(())
}

#[test]
fn the_flow_from_beside_a_saddle_leaves_it_for_the_minimum() -> Result<()> {
    // x^4 / 4 - x^2 / 2 + y^2 / 2: the saddle 0, the minima (+-1, 0)
    let f = |x: &Tensor| {
        let (x, y) = (x.get(0)?, x.get(1)?);
        ((x.powf(4.0)? * 0.25)? - (x.sqr()? * 0.5)?)? + (y.sqr()? * 0.5)?
    };
    for start in [1e-2, -1e-3] {
        let report = certify(&[start, 0.3], f, CertificateConfig::default(), 0)?;
        let exact = (1.0 - start.abs()).hypot(0.3);
        let [near, far] = report.distance_interval;
        assert!(near <= exact && exact <= far && far - near < 0.1 * exact, "{exact} [{near}, {far}]");
        assert_eq!(report.verdict, Verdict::NotFlat);
    }
    assert_eq!(certify(&[0.0, 0.3], f, CertificateConfig::default(), 0)?.verdict, Verdict::NotAMinimum);
    Ok(())
}

#[test]
fn a_loss_without_a_minimiser_is_undecided() -> Result<()> {
    let logistic = |x: &Tensor| (x.neg()?.exp()? + 1.0)?.log()?.sum_all();
    let flow = FlowConfig { max_gradients: 60, ..FlowConfig::default() };
    let report = certify(&[1.0, 2.0], logistic, CertificateConfig { flow, ..config(0.1, 1.0) }, 0)?;
    assert_eq!((report.verdict, report.flow.stop), (Verdict::Undecided, Stop::Budget));
    assert!(report.flow.gradients + report.flow.matvecs <= 60 && report.loss_gap > 0.0);
    assert!(report.reason.to_string().contains("max_gradients") && report.distance_known == Known::AtLeast);
    Ok(())
}

#[test]
fn an_interruption_restores_and_reports_what_was_reached() -> Result<()> {
    let params = params(&[2.2, 0.6])?;
    let var = params.vars()[0].clone();
    let objective = ClosureObjective::new(params.clone(), vec![1], move |_| hyperbola(var.as_tensor()))?;
    let mut hessian = DifferenceHessian::new(&objective)?;
    let before = params.read()?.to_f64()?;
    let mut until = |stop_at: u64| {
        let mut calls = 0;
        let certificate = Certificate::new(config(1.0, 1.0))?;
        let outcome = certificate.run(&objective, &mut hessian, &Streams::new(0), &mut |_: &Progress| {
            calls += 1;
            if calls > stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(params.read()?.to_f64()?, before);
        outcome.map(|report| (report, calls))
    };
    let (whole, calls) = until(u64::MAX)?;
    assert!(whole.stop == Stop::Complete);
    assert!(matches!(until(0), Err(Error::Interrupted)), "nothing is known yet");
    let (mut spectra, mut flows) = (0, 0);
    for stop_at in 1..calls {
        let (report, _) = until(stop_at)?;
        assert!(
            report.stop == Stop::Interrupted && report.verdict == Verdict::Undecided && report.slope.is_none(),
            "{stop_at}"
        );
        assert!(report.distance <= whole.distance + 1e-6, "{stop_at}");
        flows += u32::from(report.flow.stop == Stop::Interrupted);
        spectra += u32::from(report.spectrum.is_some());
    }
    assert!(flows > 0 && spectra > 0, "{flows} {spectra}");
    Ok(())
}

#[test]
fn settings_out_of_range_are_named() {
    let field = |c: CertificateConfig| match Certificate::new(c) {
        Err(Error::BadConfig { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let ok = CertificateConfig::default();
    assert_eq!(field(CertificateConfig { eps: 0.0, ..ok.clone() }), "eps");
    assert_eq!(field(CertificateConfig { eps_prime: Some(f64::NAN), ..ok.clone() }), "eps_prime");
    assert_eq!(field(CertificateConfig { rho: Some(-1.0), ..ok.clone() }), "rho");
    assert_eq!(field(CertificateConfig { probes: 3, ..ok.clone() }), "probes");
    assert_eq!(field(CertificateConfig { max_matvecs: 3, ..ok.clone() }), "max_matvecs");
    let flow = FlowConfig { grad_tol: 0.0, ..FlowConfig::default() };
    assert_eq!(field(CertificateConfig { flow, ..ok }), "grad_tol");
}
