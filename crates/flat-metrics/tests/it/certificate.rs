//! Certificates of functions whose minima, flow and trace are known in closed form.

use candle_core::{Device, Tensor, Var};
use flat_core::{Params, Streams};
use flat_metrics::{
    Certificate, CertificateConfig, CertificateReport, ClosureObjective, DifferenceHessian, Error, FlowConfig,
    FlowStop, Result, Verdict,
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
) -> Result<CertificateReport> {
    let params = params(x)?;
    let var = params.vars()[0].clone();
    let objective = ClosureObjective::new(params.clone(), vec![1], move |_| f(var.as_tensor()))?;
    let mut hessian = DifferenceHessian::new(&objective)?;
    let before: Vec<u64> = params.read()?.to_f64()?.into_iter().map(f64::to_bits).collect();
    let report = Certificate::new(config)?.run(&objective, &mut hessian, &Streams::new(seed))?;
    let after: Vec<u64> = params.read()?.to_f64()?.into_iter().map(f64::to_bits).collect();
    assert_eq!(before, after, "theta is bit-equal");
    Ok(report)
}

fn config(eps: f64, eps_prime: f64, probes: u64) -> CertificateConfig {
    let flow = FlowConfig { grad_tol: 1e-9, rel_tol: 1e-8, max_gradients: 100_000 };
    CertificateConfig { eps, eps_prime, probes, flow, ..CertificateConfig::default() }
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
    let x = ((c + (c * c + 4.0).sqrt()) / 2.0).sqrt();
    [x, 1.0 / x]
}

#[test]
fn the_hyperbola_has_its_limit_its_gradient_and_its_tangent() -> Result<()> {
    let x = [2.2, 0.6];
    let report = certify(&x, hyperbola, config(1.0, 1.0, 2000), 1)?;
    let [a, b] = limit(x);
    let found = report.limit.to_f64()?;
    // the flow's own account of its error is an upper estimate
    let gap = (found[0] - a).hypot(found[1] - b);
    assert!(
        gap < 1e-5 && gap <= report.distance_interval[1] - report.distance,
        "{gap:e} {:?}",
        report.distance_interval
    );
    let distance = (x[0] - a).hypot(x[1] - b);
    assert!((report.distance - distance).abs() < 1e-5);
    assert!(report.distance_interval[0] <= distance && distance <= report.distance_interval[1]);
    assert!(
        (report.loss - (2.2f64 * 0.6 - 1.0).powi(2)).abs() < 1e-15 && (report.loss_gap - report.loss).abs() < 1e-12
    );
    let slope = 2.0 * (2.2 * 0.6 - 1.0) * 2.2f64.hypot(0.6);
    assert!((report.grad_norm - slope).abs() < 1e-12 && report.grad_norm_limit <= 1e-9);
    assert_eq!((report.rank, report.flow.stopped_by), (1, FlowStop::GradTol));
    // eigenvalues 2 (x1^2 + x2^2) and 0
    assert!((report.eigenvalues[0][0] - 2.0 * (a * a + b * b)).abs() < 1e-4, "{:?}", report.eigenvalues);
    // grad trbar = 2 x, along the tangent (x1, -x2): 2 |x1^2 - x2^2| / |x|
    let exact = 2.0 * (a * a - b * b) / a.hypot(b);
    let [lo, hi] = report.projected_norm_ci95;
    assert!(lo < exact && exact < hi && hi - lo < 0.2 * exact, "{exact} [{lo}, {hi}]");
    let whole = &report.gradient_norm_squared;
    let error = whole.std_error.expect("many probes");
    assert!((whole.value - 4.0 * (a * a + b * b)).abs() < 5.0 * error, "{whole:?}");
    // the direction is the tangent
    let t = report.direction.to_f64()?;
    assert!((t[0] * b + t[1] * a).abs() < 1e-6 * t[0].hypot(t[1]) && t[0] > 0.0, "{t:?}");
    assert_eq!(report.verdict, Verdict::NotFlat);
    assert!(report.reason.contains("eps'"), "{}", report.reason);
    Ok(())
}

#[test]
fn the_verdict_is_the_comparison_of_both_intervals() -> Result<()> {
    let verdict = |x: [f64; 2], eps, prime| Ok::<_, Error>(certify(&x, hyperbola, config(eps, prime, 400), 2)?.verdict);
    assert_eq!(verdict([1.02, 0.99], 0.1, 0.5)?, Verdict::Flat);
    assert_eq!(verdict([1.02, 0.99], 0.001, 0.5)?, Verdict::NotFlat, "too far from the minimum");
    assert_eq!(verdict([4.0, 0.25], 0.1, 0.5)?, Verdict::NotFlat, "a sharp minimum");
    // 0.12 is within the interval of a norm of 0.085
    assert_eq!(verdict([1.02, 0.99], 0.1, 0.12)?, Verdict::Undecided);
    Ok(())
}

#[test]
fn the_inner_product_has_its_gradient_along_the_minima() -> Result<()> {
    let d = 10;
    let mut x = vec![0.0; 2 * d];
    (x[0], x[d]) = (3.0, 1.0 / 3.0);
    let r2: f64 = 9.0 + 1.0 / 9.0;
    let exact = (r2 - 4.0 / r2).sqrt() / d as f64;
    let (mut covered, mut unbiased, mut biased, runs) = (0, 0.0, 0.0, 60);
    for seed in 0..runs {
        let report = certify(&x, inner, config(0.1, 1.0, 40), seed)?;
        assert_eq!((report.rank, report.distance, report.flow.steps), (1, 0.0, 0));
        let [lo, hi] = report.projected_norm_ci95;
        covered += u32::from(lo <= exact && exact <= hi);
        unbiased += report.projected_norm_squared.value / f64::from(runs as u32);
        biased += report.direction.norm()?.powi(2) / f64::from(runs as u32);
    }
    // 57 of 60 for a normal sample
    assert!(covered >= 51, "{covered} of {runs}");
    let square = exact * exact;
    assert!((unbiased - square).abs() < 0.1 * square, "{unbiased} {square}");
    assert!(biased > 1.15 * square, "the squared norm of the mean is too large by the variance: {biased} {square}");
    Ok(())
}

#[test]
fn a_quadratic_is_flat_everywhere_and_its_limit_is_the_projection() -> Result<()> {
    let a = [4.0, 2.0, 0.5, 0.0, 0.0, 0.0];
    let x = [0.03, -0.04, 0.05, 1.0, -2.0, 3.0];
    let f = move |x: &Tensor| (Tensor::new(&a, &Device::Cpu)? * x.sqr()?)?.sum_all()? * 0.5;
    let report = certify(&x, f, config(0.1, 1e-3, 8), 0)?;
    let distance = 0.005f64.sqrt();
    assert!((report.distance - distance).abs() < 1e-5, "{}", report.distance);
    assert_eq!((report.rank, report.verdict), (3, Verdict::Flat));
    assert!((report.gap[0].expect("three") - 0.5).abs() < 1e-6 && report.gap[1].expect("six").abs() < 1e-6);
    // third derivatives vanish: differences of linear gradients leave rounding, 4e-16 * 4 / rho^2 with rho 4e-4
    assert!(report.projected_norm_ci95[1] < 1e-6, "{:?}", report.projected_norm_ci95);
    let off = config(0.01, 1e-3, 8);
    assert_eq!(certify(&x, f, off, 0)?.verdict, Verdict::NotFlat);
    let fewer = CertificateConfig { rank: Some(1), ..config(0.1, 1e-3, 8) };
    assert_eq!(certify(&x, f, fewer, 0)?.rank, 1);
    Ok(())
}

#[test]
fn a_loss_without_a_minimiser_is_undecided() -> Result<()> {
    let logistic = |x: &Tensor| (x.neg()?.exp()? + 1.0)?.log()?.sum_all();
    let budget = FlowConfig { max_gradients: 60, ..FlowConfig::default() };
    let report = certify(&[1.0, 2.0], logistic, CertificateConfig { flow: budget, ..config(0.1, 1.0, 4) }, 0)?;
    assert_eq!((report.verdict, report.flow.stopped_by), (Verdict::Undecided, FlowStop::Budget));
    assert!(report.flow.gradients <= 60 && report.loss_gap > 0.0 && report.reason.contains("max_gradients"));
    Ok(())
}

#[test]
fn interruption_certifies_nothing_and_restores() -> Result<()> {
    let params = params(&[2.2, 0.6])?;
    let var = params.vars()[0].clone();
    let objective = ClosureObjective::new(params.clone(), vec![1], move |_| hyperbola(var.as_tensor()))?;
    let mut hessian = DifferenceHessian::new(&objective)?;
    let before = params.read()?.to_f64()?;
    for stop_at in [0, 10, 200, 210, 230] {
        let mut calls = 0;
        let outcome = Certificate::new(config(1.0, 1.0, 50))?.run_watched(
            &objective,
            &mut hessian,
            &Streams::new(0),
            &mut |_| {
                calls += 1;
                if calls > stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        );
        assert!(matches!(outcome, Err(Error::Interrupted)), "{stop_at}");
        assert_eq!(params.read()?.to_f64()?, before);
    }
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
    assert_eq!(field(CertificateConfig { eps_prime: f64::NAN, ..ok.clone() }), "eps_prime");
    assert_eq!(field(CertificateConfig { rho: Some(-1.0), ..ok.clone() }), "rho");
    assert_eq!(field(CertificateConfig { probes: 3, ..ok.clone() }), "probes");
    assert_eq!(field(CertificateConfig { rank: Some(21), ..ok.clone() }), "rank");
    assert_eq!(field(CertificateConfig { max_rank: 0, ..ok.clone() }), "max_rank");
    let flow = FlowConfig { grad_tol: 0.0, ..FlowConfig::default() };
    assert_eq!(field(CertificateConfig { flow, ..ok }), "grad_tol");
}
