//! Sharpness against closed forms on quadratics, where every maximum and mean is known.

use crate::mlp::{Mlp, SIZES};
use candle_core::{DType, Device, Tensor, Var, bail};
use flat_core::{Params, Streams};
use flat_metrics::{
    ClosureObjective, Error, Geometry, Measured, Noise, Progress, Result, Rise, Sharpness, Silent, Stop, gradient,
};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

const X: [f64; 6] = [0.5, -1.0, 2.0, 0.1, -0.3, 1.5];

/// `sum_i a_i x_i^2 / 2` at X, in as many equal batches as there are diagonals.
struct Quadratic {
    params: Params,
    diagonals: Vec<[f64; 6]>,
}

impl Quadratic {
    fn new(diagonals: Vec<[f64; 6]>, x: [f64; 6]) -> Result<Self> {
        let var = Var::from_tensor(&Tensor::new(&x, &Device::Cpu)?)?;
        Ok(Self { params: Params::new([("x".to_string(), var)])?, diagonals })
    }

    fn objective(&self) -> Result<ClosureObjective<'_>> {
        ClosureObjective::new(self.params.clone(), vec![1; self.diagonals.len()], |i| {
            let a = Tensor::new(&self.diagonals[i], &Device::Cpu)?;
            (a * self.params.vars()[0].sqr()?)?.sum_all()? * 0.5
        })
    }

    fn run(&self, sharpness: Sharpness, seed: u64) -> Result<Measured<Rise>> {
        sharpness.run(&self.objective()?, &Streams::new(seed), &mut Silent)
    }
}

const A: [f64; 6] = [3.0, 1.0, 0.5, 2.0, 0.0, 0.25];

fn grad(a: [f64; 6], x: [f64; 6]) -> [f64; 6] {
    std::array::from_fn(|i| a[i] * x[i])
}

/// `max sum a_i d_i^2 / 2 + g_i d_i` over `||d|| <= rho`, for a convex function by the secular equation: d = g / (l - a) with
/// `||d|| = rho` and l above the largest a.
fn trust_region(a: &[f64], g: &[f64], rho: f64) -> f64 {
    let top = a.iter().copied().fold(0.0, f64::max);
    let at = |l: f64| -> Vec<f64> { a.iter().zip(g).map(|(a, g)| g / (l - a)).collect() };
    let norm = |d: &[f64]| d.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (mut lo, mut hi) = (top + 1e-13, top + norm(g) / rho + 1.0);
    for _ in 0..200 {
        let mid = 0.5 * (lo + hi);
        if norm(&at(mid)) > rho { lo = mid } else { hi = mid }
    }
    at(hi).iter().zip(a).zip(g).map(|((d, a), g)| 0.5 * a * d * d + g * d).sum()
}

#[test]
fn the_first_order_step_is_the_one_of_its_norm() -> Result<()> {
    let f = Quadratic::new(vec![A], X)?;
    let (g, rho) = (grad(A, X), 0.3);
    let rise = |d: [f64; 6]| (0..6).map(|i| 0.5 * A[i] * d[i] * d[i] + g[i] * d[i]).sum::<f64>();
    let norm = g.iter().map(|x| x * x).sum::<f64>().sqrt();
    let eta = 0.01;
    let t: [f64; 6] = std::array::from_fn(|i| X[i].abs() + eta);
    let tg = (0..6).map(|i| (t[i] * g[i]).powi(2)).sum::<f64>().sqrt();
    let sign = |x: f64| if x == 0.0 { 0.0 } else { x.signum() };
    let cases = [
        (Geometry::L2, rise(std::array::from_fn(|i| rho * g[i] / norm))),
        (Geometry::LInf, rise(std::array::from_fn(|i| rho * sign(g[i])))),
        (Geometry::AdaptiveL2 { eta }, rise(std::array::from_fn(|i| rho * t[i] * t[i] * g[i] / tg))),
        (Geometry::AdaptiveLInf { eta }, rise(std::array::from_fn(|i| rho * t[i] * sign(g[i])))),
    ];
    for (geometry, exact) in cases {
        let report = f.run(Sharpness::FirstOrder { rho, geometry }, 0)?;
        // rounding of losses of size 3
        assert!((report.value - exact).abs() < 1e-14, "{geometry:?}: {} {exact}", report.value);
        assert_eq!((report.effort.gradients, report.effort.losses, report.estimate.as_ref()), (1, 2, None));
        assert!((report.displaced - report.loss - report.value).abs() < 1e-15);
    }
    Ok(())
}

#[test]
fn m_sharpness_ascends_for_each_batch_apart() -> Result<()> {
    let b = [0.5, 2.0, 1.0, 0.0, 4.0, 1.0];
    let f = Quadratic::new(vec![A, b], X)?;
    let rho = 0.2;
    let one = |a: [f64; 6]| {
        let g = grad(a, X);
        let norm = g.iter().map(|x| x * x).sum::<f64>().sqrt();
        rho * norm + (0..6).map(|i| 0.5 * a[i] * (rho * g[i] / norm).powi(2)).sum::<f64>()
    };
    let report = f.run(Sharpness::PerBatch { rho, geometry: Geometry::L2 }, 0)?;
    assert!((report.value - 0.5 * (one(A) + one(b))).abs() < 1e-14);
    let whole = f.run(Sharpness::FirstOrder { rho, geometry: Geometry::L2 }, 0)?;
    assert!(report.value > whole.value + 1e-3, "steps of their own reach higher than a common one");
    Ok(())
}

#[test]
fn the_worst_case_is_the_trust_regions_value() -> Result<()> {
    let eta = 0.01;
    let t: [f64; 6] = std::array::from_fn(|i| X[i].abs() + eta);
    for rho in [0.1, 1.0, 5.0] {
        let f = Quadratic::new(vec![A], X)?;
        let worst = |geometry| f.run(Sharpness::Worst { rho, geometry, steps: 300, starts: 3 }, 1);
        let l2 = worst(Geometry::L2)?;
        let exact = trust_region(&A, &grad(A, X), rho);
        // the ascent ends where halved steps no longer raise a loss of size 50
        assert!((l2.value - exact).abs() < 1e-7 * exact, "{rho}: {} {exact}", l2.value);
        // an ascent may end on the one lower local maximum that a trust region can have (Martinez 1994), never above the top
        assert!(
            l2.starts.len() == 3 && l2.starts.iter().all(|s| *s > 0.0 && *s < exact * (1.0 + 1e-12)),
            "{:?}",
            l2.starts
        );
        // separable: each coordinate goes to the end that its slope points to, one of slope 0 anywhere
        let linf = worst(Geometry::LInf)?;
        let exact: f64 = (0..6).map(|i| 0.5 * A[i] * rho * rho + (A[i] * X[i]).abs() * rho).sum();
        assert!((linf.value - exact).abs() < 1e-12 * exact, "{rho}: {} {exact}", linf.value);
        // in units of t the curvatures are a t^2 and the slopes g t
        let adaptive = worst(Geometry::AdaptiveL2 { eta })?;
        let scaled: [f64; 6] = std::array::from_fn(|i| A[i] * t[i] * t[i]);
        let slope: [f64; 6] = std::array::from_fn(|i| A[i] * X[i] * t[i]);
        let exact = trust_region(&scaled, &slope, rho);
        assert!((adaptive.value - exact).abs() < 1e-7 * exact, "{rho}: {} {exact}", adaptive.value);
        assert!(adaptive.effort.gradients <= 3 * 301);
    }
    Ok(())
}

#[test]
fn at_a_minimum_the_worst_case_is_half_the_largest_eigenvalue_times_rho_squared() -> Result<()> {
    let f = Quadratic::new(vec![A], [0.0; 6])?;
    let report = f.run(Sharpness::Worst { rho: 0.5, geometry: Geometry::L2, steps: 200, starts: 2 }, 3)?;
    assert!((report.value - 0.5 * 3.0 * 0.25).abs() < 1e-8, "{}", report.value);
    let flat = f.run(Sharpness::FirstOrder { rho: 0.5, geometry: Geometry::L2 }, 3)?;
    assert_eq!(flat.value, 0.0, "without a gradient there is no step");
    Ok(())
}

#[test]
fn keskars_number_is_the_worst_case_in_his_box_relative_to_the_loss() -> Result<()> {
    let f = Quadratic::new(vec![A], X)?;
    let epsilon = 0.05;
    let report = f.run(Sharpness::Keskar { epsilon, steps: 50, starts: 2 }, 0)?;
    let rise = |i: usize| {
        let r = epsilon * (X[i].abs() + 1.0);
        0.5 * A[i] * r * r + (A[i] * X[i]).abs() * r
    };
    let loss: f64 = (0..6).map(|i| 0.5 * A[i] * X[i] * X[i]).sum();
    let exact = 100.0 * (0..6).map(rise).sum::<f64>() / (1.0 + loss);
    assert!((report.value - exact).abs() < 1e-10 * exact, "{} {exact}", report.value);
    Ok(())
}

#[test]
fn averages_are_half_the_trace_times_the_variance() -> Result<()> {
    let f = Quadratic::new(vec![A], X)?;
    let (rho, trace) = (0.4, A.iter().sum::<f64>());
    let within = |report: &Measured<Rise>, exact: f64| {
        let e = report.estimate.as_ref().expect("random");
        let error = e.std_error.expect("many pairs");
        assert!((report.value - exact).abs() < 5.0 * error, "{} +- {error} instead of {exact}", report.value);
        assert!(error < 0.1 * exact && e.value == report.value && e.ci95.expect("many")[0] < report.value);
    };
    for noise in [Noise::Sphere, Noise::Gaussian] {
        let report = f.run(Sharpness::Average { rho, noise, adaptive: None, pairs: 400 }, 5)?;
        within(&report, rho * rho * trace / 12.0);
        assert_eq!((report.effort.losses, report.effort.gradients), (801, 0));
        let eta = 0.1;
        let scaled: f64 = (0..6).map(|i| A[i] * (X[i].abs() + eta).powi(2)).sum();
        within(
            &f.run(Sharpness::Average { rho, noise, adaptive: Some(eta), pairs: 400 }, 5)?,
            rho * rho * scaled / 12.0,
        );
    }
    let filtered = f.run(Sharpness::LowPass { sigma: 0.3, pairs: 400 }, 6)?;
    within(&filtered, filtered.loss + 0.5 * 0.09 * trace);
    // on a sphere about a round bowl every displacement is as good as any other
    let round = Quadratic::new(vec![[2.0; 6]], X)?;
    let report = round.run(Sharpness::Average { rho, noise: Noise::Sphere, adaptive: None, pairs: 2 }, 0)?;
    assert!((report.value - rho * rho).abs() < 1e-14, "{}", report.value);
    Ok(())
}

#[test]
fn a_network_is_sharper_in_the_worst_case_than_by_one_step_than_on_average() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let (_, g) = gradient(&objective)?;
    let rho = 0.05;
    let run = |s: Sharpness| s.run(&objective, &Streams::new(0), &mut Silent);
    let first = run(Sharpness::FirstOrder { rho, geometry: Geometry::L2 })?;
    let worst = run(Sharpness::Worst { rho, geometry: Geometry::L2, steps: 50, starts: 2 })?;
    let mean = run(Sharpness::Average { rho, noise: Noise::Sphere, adaptive: None, pairs: 20 })?;
    assert!(worst.value >= first.value && first.value > mean.value, "{} {} {}", worst.value, first.value, mean.value);
    // to first order the step gains rho ||g||, to second at most rho^2 lambda / 2 more
    assert!((first.value - rho * g.norm()?).abs() < 10.0 * rho * rho, "{}", first.value);
    Ok(())
}

fn all() -> [Sharpness; 6] {
    let (rho, geometry) = (0.1, Geometry::AdaptiveL2 { eta: 0.01 });
    [
        Sharpness::FirstOrder { rho, geometry },
        Sharpness::PerBatch { rho, geometry: Geometry::LInf },
        Sharpness::Average { rho, noise: Noise::Gaussian, adaptive: None, pairs: 2 },
        Sharpness::Worst { rho, geometry, steps: 2, starts: 2 },
        Sharpness::LowPass { sigma: 0.01, pairs: 2 },
        Sharpness::Keskar { epsilon: 1e-3, steps: 2, starts: 2 },
    ]
}

#[test]
fn theta_is_bit_equal_after_success_error_interruption_and_panic() -> Result<()> {
    for dtype in [DType::F32, DType::F64] {
        let mlp = Mlp::new(dtype)?;
        let bits = || -> Result<Vec<u64>> { Ok(mlp.params.read()?.to_f64()?.into_iter().map(f64::to_bits).collect()) };
        let before = bits()?;
        for sharpness in all() {
            // evaluations of batches: 2 for the check, 3 for the loss at theta, then the measure's own
            for (fail_at, panics) in [(100_000, false), (4, false), (6, false), (9, false), (9, true), (6, true)] {
                let calls = AtomicUsize::new(0);
                let objective = ClosureObjective::new(mlp.params.clone(), SIZES.to_vec(), |i| {
                    if calls.fetch_add(1, Ordering::Relaxed) == fail_at {
                        if panics {
                            panic!("on purpose");
                        }
                        bail!("the disk is gone");
                    }
                    mlp.loss(i)
                })?;
                let run = || sharpness.run(&objective, &Streams::new(0), &mut Silent);
                let outcome = catch_unwind(AssertUnwindSafe(run));
                match (fail_at, panics) {
                    (100_000, _) => assert!(matches!(outcome, Ok(Ok(_))), "{sharpness:?}: {outcome:?}"),
                    (_, true) => assert!(outcome.is_err(), "{sharpness:?} {fail_at}"),
                    _ => assert!(matches!(outcome, Ok(Err(_))), "{sharpness:?} {fail_at}"),
                }
                assert_eq!(bits()?, before, "{sharpness:?} {fail_at} {panics}");
            }
            let objective = mlp.objective()?;
            let stopped = sharpness.run(&objective, &Streams::new(0), &mut |p: &Progress| {
                if p.done < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            assert!(matches!(stopped, Err(Error::Interrupted)) || sharpness.max_evaluations() == 3, "{sharpness:?}");
            assert_eq!(bits()?, before);
        }
    }
    Ok(())
}

#[test]
fn an_interrupted_average_reports_its_pairs_and_costs_stay_within_what_was_announced() -> Result<()> {
    let f = Quadratic::new(vec![A], X)?;
    let objective = f.objective()?;
    let average = Sharpness::Average { rho: 0.1, noise: Noise::Sphere, adaptive: None, pairs: 10 };
    let stopped = average.run(&objective, &Streams::new(0), &mut |p: &Progress| {
        if p.done < 8 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    assert!(stopped.stop == Stop::Interrupted && stopped.result.estimate.expect("pairs").probes == 3);
    for sharpness in all() {
        let report = f.run(sharpness, 0)?;
        assert!(report.effort.gradients + report.effort.losses <= sharpness.max_evaluations(), "{report:?}");
        let again = f.run(sharpness, 0)?;
        assert_eq!((report.value, report.result.starts), (again.value, again.result.starts), "one seed, one result");
    }
    Ok(())
}

#[test]
fn settings_out_of_range_are_named() {
    let field = |s: Sharpness| match s.validated() {
        Err(Error::BadConfig { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let geometry = Geometry::L2;
    for rho in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(field(Sharpness::FirstOrder { rho, geometry }), "rho");
    }
    let bad = Geometry::AdaptiveL2 { eta: -1.0 };
    assert_eq!(field(Sharpness::PerBatch { rho: 0.1, geometry: bad }), "eta");
    assert_eq!(field(Sharpness::LowPass { sigma: 0.1, pairs: 0 }), "pairs");
    assert_eq!(field(Sharpness::LowPass { sigma: 0.0, pairs: 1 }), "sigma");
    assert_eq!(field(Sharpness::Worst { rho: 0.1, geometry, steps: 0, starts: 1 }), "steps");
    assert_eq!(field(Sharpness::Worst { rho: 0.1, geometry, steps: 1, starts: 0 }), "starts");
    assert_eq!(field(Sharpness::Keskar { epsilon: 0.0, steps: 1, starts: 1 }), "epsilon");
}
