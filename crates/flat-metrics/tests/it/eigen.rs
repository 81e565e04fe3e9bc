//! Extreme eigenpairs of matrices whose spectrum is known.

use crate::mlp::Mlp;
use candle_core::DType;
use flat_core::{ParamVec, Purpose, Streams};
use flat_metrics::{
    Dense, Eigenpair, Eigenpairs, Error, Lanczos, LanczosConfig, LinearOperator, Measured, Progress, Result, Silent,
    Stop, TangentHessian,
};
use std::ops::ControlFlow;

/// `Q diag(lambda) Q^T` with Q the product of three random reflections.
pub fn with_spectrum(lambda: &[f64], seed: u64) -> Result<Dense> {
    let d = lambda.len();
    let mut q: Vec<Vec<f64>> = (0..d).map(|i| (0..d).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for k in 0..3 {
        let u = Streams::new(seed).at(Purpose::Test, k).normals(d);
        let uu: f64 = u.iter().map(|x| x * x).sum();
        for row in &mut q {
            let along = 2.0 * row.iter().zip(&u).map(|(a, b)| a * b).sum::<f64>() / uu;
            row.iter_mut().zip(&u).for_each(|(a, b)| *a -= along * b);
        }
    }
    Dense::from_fn(d, |i, j| (0..d).map(|k| lambda[k] * q[i][k] * q[j][k]).sum())
}

fn solve(
    a: &mut dyn LinearOperator,
    top: usize,
    bottom: usize,
    rel_tol: f64,
    seed: u64,
) -> Result<Measured<Eigenpairs>> {
    let config = LanczosConfig { top, bottom, rel_tol, ..LanczosConfig::default() };
    Lanczos::new(config)?.run(a, &Streams::new(seed), &mut Silent)
}

fn values(pairs: &[Eigenpair]) -> Vec<f64> {
    pairs.iter().map(|p| p.value).collect()
}

fn assert_close(found: &[Eigenpair], exact: &[f64], tol: f64) {
    assert_eq!(found.len(), exact.len());
    for (p, x) in found.iter().zip(exact) {
        assert!((p.value - x).abs() <= tol, "{:?} instead of {exact:?}", values(found));
    }
}

/// Reported and true residuals, `||A v - lambda v||`, of all pairs; all vectors are orthonormal.
fn residuals(a: &mut dyn LinearOperator, report: &Measured<Eigenpairs>, orthonormal: f64) -> Result<Vec<[f64; 2]>> {
    let pairs: Vec<&Eigenpair> = report.top.iter().chain(&report.bottom).collect();
    let mut out = Vec::new();
    for (i, p) in pairs.iter().enumerate() {
        for (j, q) in pairs.iter().enumerate() {
            let dot = p.vector.dot(&q.vector)?;
            assert!((dot - f64::from(u8::from(i == j))).abs() < orthonormal, "{i} {j} {dot}");
        }
        out.push([p.residual, a.apply(&p.vector)?.plus(-p.value, &p.vector)?.norm()?]);
    }
    Ok(out)
}

/// Eigenvalues -3 .. 10 at d = 60, the ends apart from the rest.
fn spectrum() -> Vec<f64> {
    let middle = (0..52).map(|k| 0.02 * f64::from(k) - 0.5);
    [-3.0, -2.5, -1.5].into_iter().chain(middle).chain([2.0, 3.0, 4.5, 7.0, 10.0]).collect()
}

#[test]
fn both_ends_of_a_known_spectrum_are_found_before_the_dimension_is_used_up() -> Result<()> {
    let mut a = with_spectrum(&spectrum(), 1)?;
    let report = solve(&mut a, 5, 3, 1e-6, 1)?;
    assert!(report.converged && report.stop == Stop::RelTol);
    assert!(report.effort.matvecs < 45 && report.restarts == 0, "{}", report.effort.matvecs);
    // a value errs by residual^2 / gap: (1e-5)^2 / 0.5
    assert_close(&report.top, &[10.0, 7.0, 4.5, 3.0, 2.0], 1e-9);
    assert_close(&report.bottom, &[-3.0, -2.5, -1.5], 1e-9);
    assert_eq!(
        (report.provenance.dim, report.effort.seed, report.provenance.operator.as_deref()),
        (60, Some(1), Some("dense"))
    );
    Ok(())
}

#[test]
fn every_residual_is_the_true_one_converged_or_not() -> Result<()> {
    let mut a = with_spectrum(&spectrum(), 2)?;
    let mut converged = Vec::new();
    for max_matvecs in [8, 12, 20, 30, 60] {
        let config = LanczosConfig { top: 5, bottom: 3, max_matvecs, rel_tol: 1e-12 };
        let report = Lanczos::new(config)?.run(&mut a, &Streams::new(3), &mut Silent)?;
        assert!(report.effort.matvecs <= max_matvecs);
        let pairs = residuals(&mut a, &report, 1e-13)?;
        for [reported, actual] in &pairs {
            // rounding of 60 products of numbers up to 10
            assert!((reported - actual).abs() < 1e-12, "{max_matvecs}: {reported:e} {actual:e}");
        }
        let worst = pairs.iter().map(|r| r[1]).fold(0.0, f64::max);
        match report.converged {
            true => assert!(worst < 2e-11, "{worst:e}"),
            false => assert!(report.stop == Stop::Budget && worst > 1e-11, "{worst:e}"),
        }
        converged.push(report.converged);
    }
    assert!(!converged[0] && converged[4], "{converged:?}");
    Ok(())
}

#[test]
fn multiple_eigenvalues_are_found_as_often_as_they_occur_where_the_space_closes() -> Result<()> {
    // 9, 9, 9, 4, 4, 1 x 33, -2: four distinct eigenvalues, so that the space closes after four products
    let value = |i: usize| match i {
        0..3 => 9.0,
        3..5 => 4.0,
        39 => -2.0,
        _ => 1.0,
    };
    let mut a = Dense::from_fn(40, |i, j| if i == j { value(i) } else { 0.0 })?;
    for seed in 0..5 {
        for top in 1..=7 {
            let report = solve(&mut a, top, 2, 1e-10, seed)?;
            assert!(report.converged && report.restarts > 0, "{top}: {:?}", report.stop);
            assert_close(&report.top, &[9.0, 9.0, 9.0, 4.0, 4.0, 1.0, 1.0][..top], 1e-12);
            assert_close(&report.bottom, &[-2.0, 1.0], 1e-12);
            assert!(residuals(&mut a, &report, 1e-12)?.iter().flatten().all(|r| *r < 1e-12));
        }
        let report = solve(&mut a, 1, 0, 1e-10, seed)?;
        assert!(
            report.converged && report.effort.matvecs < 10,
            "no more restarts than needed: {}",
            report.effort.matvecs
        );
    }
    Ok(())
}

#[test]
fn the_whole_spectrum_of_the_identity_the_zero_matrix_and_a_number() -> Result<()> {
    for value in [0.0, 1.0, -2.5] {
        for d in [1, 7] {
            let mut a = Dense::from_fn(d, |i, j| if i == j { value } else { 0.0 })?;
            let report = solve(&mut a, d, 0, 1e-6, 0)?;
            assert!(report.converged && report.effort.matvecs == d as u64);
            assert_close(&report.top, &vec![value; d], 1e-14);
        }
    }
    Ok(())
}

/// The `count` largest eigenvalues in size, each by power iteration and then taken out of the matrix.
fn by_power_iteration(a: &Dense, count: usize) -> Vec<f64> {
    let d = a.dim();
    let mut rows: Vec<Vec<f64>> = (0..d).map(|i| (0..d).map(|j| a.at(i, j)).collect()).collect();
    (0..count)
        .map(|_| {
            let mut v = vec![1.0; d];
            let mut value = 0.0;
            for _ in 0..20_000 {
                let w: Vec<f64> = rows.iter().map(|r| r.iter().zip(&v).map(|(a, x)| a * x).sum()).collect();
                let norm = w.iter().map(|x| x * x).sum::<f64>().sqrt();
                value = w.iter().zip(&v).map(|(a, b)| a * b).sum::<f64>() / v.iter().map(|x| x * x).sum::<f64>();
                v = w.iter().map(|x| x / norm).collect();
            }
            for (i, row) in rows.iter_mut().enumerate() {
                row.iter_mut().zip(&v).for_each(|(a, x)| *a -= value * v[i] * x);
            }
            value
        })
        .collect()
}

#[test]
fn the_top_of_a_hessian_is_that_of_its_dense_matrix() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let mut hessian = TangentHessian::new(&objective)?;
    let report = solve(&mut hessian, 3, 1, 1e-8, 5)?;
    assert!(report.converged);
    let exact = mlp.exact_hessian()?;
    // shifted by more than its norm, the matrix has positive eigenvalues alone, and so has its negative
    let (d, shift) = (exact.dim(), exact.frobenius());
    let shifted = |sign: f64| Dense::from_fn(d, |i, j| if i == j { shift } else { 0.0 } + sign * exact.at(i, j));
    let expected: Vec<f64> = by_power_iteration(&shifted(1.0)?, 3).iter().map(|x| x - shift).collect();
    let lowest = shift - by_power_iteration(&shifted(-1.0)?, 1)[0];
    // some roundings of the shift, in a sum of 43
    assert_close(&report.top, &expected, 1e-13 * shift);
    assert_close(&report.bottom, &[lowest], 1e-13 * shift);
    assert!(expected[0] > expected[1] && expected[1] > expected[2] && lowest < 0.0, "{expected:?} {lowest}");
    assert_eq!((report.provenance.examples, report.provenance.batches), (Some(12), Some(3)));

    let narrow = Mlp::new(DType::F32)?;
    let objective = narrow.objective()?;
    let mut hessian = TangentHessian::new(&objective)?;
    let report = solve(&mut hessian, 3, 1, 1e-6, 5)?;
    // the f32 Hessian differs from the f64 one by 2e-6 at most
    assert!(report.converged, "{:?} {:?}", report.stop, report.top);
    assert_close(&report.top, &expected, 2e-6 * shift);
    for [reported, actual] in residuals(&mut hessian, &report, 1e-5)? {
        // rounding of the vectors and of a product
        println!("f32 {reported:.1e} {actual:.1e}");
        assert!((reported - actual).abs() < 1e-6 * expected[0], "{reported:e} {actual:e}");
    }
    Ok(())
}

#[test]
fn a_tolerance_below_the_operators_rounding_ends_with_what_there_is() -> Result<()> {
    let narrow = Mlp::new(DType::F32)?;
    let objective = narrow.objective()?;
    let report = solve(&mut TangentHessian::new(&objective)?, 2, 0, 1e-12, 5)?;
    assert!(!report.converged && report.effort.matvecs < 43, "{} {:?}", report.effort.matvecs, report.stop);
    assert_eq!(report.stop, Stop::Rounding);
    Ok(())
}

#[test]
fn an_asymmetric_operator_shows_in_the_residuals() -> Result<()> {
    let (exact, noise) = (with_spectrum(&spectrum(), 8)?, Streams::new(8).at(Purpose::Test, 9).normals(60 * 60));
    let mut a = Dense::from_fn(60, |i, j| exact.at(i, j) + 1e-6 * noise[60 * i + j])?;
    let report = solve(&mut a, 3, 1, 1e-9, 0)?;
    assert!(!report.converged && report.stop == Stop::Rounding);
    for [reported, actual] in residuals(&mut a, &report, 1e-12)? {
        // what is left out are random columns of some 1e-6 sqrt(2 * 30), added with the weights of a unit vector
        assert!(actual > 1e-6 && actual < 1e-5, "{actual:e}");
        assert!(reported > actual / 2.0 && reported < actual * 2.0, "{reported:e} {actual:e}");
    }
    Ok(())
}

#[test]
fn one_seed_gives_one_result_and_another_the_same_values() -> Result<()> {
    let mut a = with_spectrum(&spectrum(), 4)?;
    let (one, again, other) =
        (solve(&mut a, 2, 1, 1e-9, 7)?, solve(&mut a, 2, 1, 1e-9, 7)?, solve(&mut a, 2, 1, 1e-9, 8)?);
    assert_eq!(values(&one.top), values(&again.top));
    assert_eq!(one.top[0].vector.to_f64()?, again.top[0].vector.to_f64()?);
    assert_eq!(one.effort.matvecs, again.effort.matvecs);
    assert_ne!(one.top[0].vector.to_f64()?, other.top[0].vector.to_f64()?);
    assert_close(&other.top, &values(&one.top), 1e-13);
    Ok(())
}

#[test]
fn interruption_reports_the_products_completed_or_is_an_error() -> Result<()> {
    let mut a = with_spectrum(&spectrum(), 5)?;
    let lanczos = Lanczos::new(LanczosConfig { top: 2, bottom: 1, max_matvecs: 50, rel_tol: 1e-12 })?;
    for (after, within) in [(10, false), (10, true), (3, false), (3, true)] {
        let mut seen = Vec::new();
        let report = lanczos.run(&mut a, &Streams::new(1), &mut |p: &Progress| {
            seen.push(p.done);
            let inside = p.batch < p.batches;
            if p.done == after && inside == within { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        assert_eq!((report.effort.matvecs, report.stop, report.converged), (after, Stop::Interrupted, false));
        for [reported, actual] in residuals(&mut a, &report, 1e-13)? {
            assert!((reported - actual).abs() < 1e-12, "{reported:e} {actual:e}");
        }
        assert!(seen.is_sorted());
    }
    for after in [0, 2] {
        let stop = &mut |p: &Progress| match p.done >= after {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        assert!(matches!(lanczos.run(&mut a, &Streams::new(1), stop), Err(Error::Interrupted)), "{after}");
    }
    Ok(())
}

#[test]
fn the_progress_names_the_extremes_and_the_residual_falls() -> Result<()> {
    let mut a = with_spectrum(&spectrum(), 6)?;
    let mut last = None;
    let lanczos = Lanczos::new(LanczosConfig { top: 1, bottom: 1, ..LanczosConfig::default() })?;
    let report = lanczos.run(&mut a, &Streams::new(1), &mut |p: &Progress| {
        assert_eq!(p.of, 60, "never more than d");
        assert_eq!(p.error.is_some(), p.done >= 2);
        last = p.error;
        ControlFlow::Continue(())
    })?;
    assert!(last.is_some_and(|r| r > 1e-6 && r < 1e-3), "{last:?}");
    assert!(report.top[0].residual <= 1e-5 && report.bottom[0].residual <= 1e-5);
    Ok(())
}

#[test]
fn settings_that_make_no_sense_are_named() -> Result<()> {
    let field = |c: LanczosConfig| match Lanczos::new(c) {
        Err(Error::BadConfig { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let ok = LanczosConfig::default();
    assert_eq!(field(LanczosConfig { top: 0, bottom: 0, ..ok.clone() }), "top + bottom");
    assert_eq!(field(LanczosConfig { max_matvecs: 5, ..ok.clone() }), "max_matvecs");
    assert_eq!(field(LanczosConfig { rel_tol: 0.0, ..ok.clone() }), "rel_tol");
    assert_eq!(field(LanczosConfig { rel_tol: f64::NAN, ..ok.clone() }), "rel_tol");
    let mut small = Dense::from_fn(4, |i, j| f64::from(u8::from(i == j)))?;
    let message = solve(&mut small, 3, 2, 1e-6, 0).expect_err("five pairs of four").to_string();
    assert!(message.contains("`top + bottom` is 5 for d = 4"), "{message}");
    assert_eq!(small.matvecs(), 0, "refused before any product");
    Ok(())
}

#[test]
fn a_product_that_is_not_finite_is_an_error() -> Result<()> {
    let mut a = Dense::from_fn(5, |i, j| if i + j == 3 { f64::NAN } else { 1.0 })?;
    let error = solve(&mut a, 1, 0, 1e-6, 0).expect_err("NaN");
    assert!(matches!(error, Error::NonFinite { .. }), "{error}");
    Ok(())
}

#[test]
fn the_report_serializes_without_the_vectors() -> Result<()> {
    let mut a = with_spectrum(&spectrum(), 7)?;
    let report = solve(&mut a, 2, 1, 1e-6, 0)?;
    let json = serde_json::to_value(&report).expect("numbers and text");
    assert_eq!(json["top"][0]["value"], report.top[0].value);
    assert_eq!(json["bottom"][0]["residual"], report.bottom[0].residual);
    assert!(json["top"][0].get("vector").is_none());
    assert_eq!(json["stopped_by"], "rel_tol");
    let v: &ParamVec = &report.top[0].vector;
    assert!((v.norm()? - 1.0).abs() < 1e-15);
    Ok(())
}
