//! The dominant subspace against dense eigenvalues and projectors.

use crate::eigen::with_spectrum;
use crate::mlp::Mlp;
use candle_core::DType;
use flat_core::{ParamVec, Purpose, Streams};
use flat_metrics::{
    Dense, Dominant, DominantConfig, DominantSubspace, Error, LinearOperator, Measured, Progress, Result, Silent, Stop,
    TangentHessian,
};
use std::ops::ControlFlow;

fn exactly(k: usize) -> DominantConfig {
    DominantConfig { rel_tol: 1e-10, ..DominantConfig::of(k) }
}

fn first(a: &mut dyn LinearOperator, config: DominantConfig, seed: u64) -> Result<Measured<Dominant>> {
    DominantSubspace::new(config)?.run(a, &Streams::new(seed), 0, &mut Silent)
}

fn values(found: &Dominant) -> Vec<f64> {
    found.pairs.iter().map(|p| p.value).collect()
}

/// All eigenvalues in descending order with their vectors, by Jacobi's rotations on the host.
fn jacobi(a: &Dense) -> Vec<(f64, Vec<f64>)> {
    let d = a.dim();
    let mut m: Vec<Vec<f64>> = (0..d).map(|i| (0..d).map(|j| a.at(i, j)).collect()).collect();
    let mut v: Vec<Vec<f64>> = (0..d).map(|i| (0..d).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for _ in 0..30 {
        for p in 0..d {
            for q in p + 1..d {
                if m[p][q] == 0.0 {
                    continue;
                }
                let half = (m[q][q] - m[p][p]) / (2.0 * m[p][q]);
                let t = half.signum() / (half.abs() + half.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for row in m.iter_mut().chain(&mut v) {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                let (upper, lower) = (m[p].clone(), m[q].clone());
                m[p] = upper.iter().zip(&lower).map(|(x, y)| c * x - s * y).collect();
                m[q] = upper.iter().zip(&lower).map(|(x, y)| s * x + c * y).collect();
            }
        }
    }
    let mut pairs: Vec<(f64, Vec<f64>)> = (0..d).map(|i| (m[i][i], v.iter().map(|row| row[i]).collect())).collect();
    pairs.sort_by(|x, y| y.0.total_cmp(&x.0));
    pairs
}

/// Norm of the part of the exact k vectors outside the found space: the sine of the largest angle at most, times sqrt k.
fn outside(exact: &[(f64, Vec<f64>)], found: &Dominant) -> Result<f64> {
    let space = found.pairs[0].vector.space();
    let mut square = 0.0;
    for (_, v) in &exact[..found.pairs.len()] {
        let mut v = ParamVec::from_f64(&space, v.clone())?;
        for p in &found.pairs {
            let along = p.vector.dot(&v)?;
            v.add_scaled(-along, &p.vector)?;
        }
        square += v.dot(&v)?;
    }
    Ok(square.sqrt())
}

#[test]
fn the_top_of_a_network_is_that_of_its_dense_hessian() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let exact = jacobi(&mlp.exact_hessian()?);
    for k in [1, 2, 3, 5, 10] {
        let found = first(&mut TangentHessian::new(&objective)?, exactly(k), 4)?;
        assert!(found.converged && !found.warm, "{k}: {:?}", found.stop);
        for (value, (exact, _)) in values(&found).iter().zip(&exact) {
            assert!((value - exact).abs() < 1e-8, "{k}: {value} {exact}");
        }
        let gap = exact[k - 1].0 - exact[k].0;
        assert!((found.gap.expect("43 > k") - gap).abs() < 1e-8, "{k}");
        // Davis and Kahan: residuals over the gap; twice for a gap between Ritz values and eigenvalues
        let bound = 2.0 * found.residual * (k as f64).sqrt() / gap + 1e-12;
        let error = outside(&exact, &found)?;
        assert!(error <= bound, "{k}: {error:e} {bound:e}");
    }
    Ok(())
}

#[test]
fn the_projector_errs_by_the_residual_over_the_gap() -> Result<()> {
    let lambda: Vec<f64> = (0..60).map(|i| 10.0 * 0.8f64.powi(i)).collect();
    let mut a = with_spectrum(&lambda, 1)?;
    let exact = jacobi(&a);
    for rel_tol in [1e-1, 1e-2, 1e-3, 1e-5] {
        let found = first(&mut a, DominantConfig { rel_tol, ..DominantConfig::of(4) }, 2)?;
        let error = outside(&exact, &found)?;
        let bound = 2.0 * found.residual * 2.0 / (lambda[3] - lambda[4]) + 1e-12;
        assert!(found.converged && found.residual <= rel_tol * 10.0, "{rel_tol}");
        assert!(error <= bound, "{rel_tol}: {error:e} {bound:e}");
    }
    Ok(())
}

#[test]
fn residuals_are_the_true_ones_and_the_vectors_orthonormal() -> Result<()> {
    let mut a = with_spectrum(&(0..50).map(|i| f64::from(50 - i)).collect::<Vec<_>>(), 3)?;
    let found = first(&mut a, DominantConfig::of(5), 1)?;
    for (i, p) in found.pairs.iter().enumerate() {
        let residual = a.apply(&p.vector)?.plus(-p.value, &p.vector)?.norm()?;
        // rounding of products of numbers up to 50
        assert!((residual - p.residual).abs() < 1e-12, "{residual:e} {:e}", p.residual);
        for (j, q) in found.pairs.iter().enumerate() {
            assert!((p.vector.dot(&q.vector)? - f64::from(u8::from(i == j))).abs() < 1e-12);
        }
    }
    Ok(())
}

#[test]
fn the_largest_are_those_by_value_however_negative_the_rest_is() -> Result<()> {
    let mut lambda = vec![-100.0, -50.0, -20.0, 3.0, 2.0, 1.5];
    lambda.extend((0..34).map(|i| -0.02 * f64::from(i)));
    let found = first(&mut with_spectrum(&lambda, 5)?, exactly(3), 1)?;
    assert!(found.converged);
    for (value, exact) in values(&found).iter().zip([3.0, 2.0, 1.5]) {
        assert!((value - exact).abs() < 1e-8, "{value} {exact}");
    }
    assert!((found.gap.expect("40 > 3") - 1.5).abs() < 1e-6);
    let negative =
        first(&mut with_spectrum(&lambda.iter().map(|x| -x.abs() - 1.0).collect::<Vec<_>>(), 5)?, exactly(2), 1)?;
    assert!((values(&negative)[0] + 1.0).abs() < 1e-8, "of a negative definite matrix: {:?}", values(&negative));
    Ok(())
}

#[test]
fn a_tie_at_k_has_no_gap_and_every_copy_is_found() -> Result<()> {
    let mut lambda = vec![5.0, 4.0, 4.0, 4.0, 2.0];
    lambda.extend((0..40).map(|i| 1.0 / f64::from(i + 1)));
    for k in 1..=4 {
        for seed in 0..4 {
            let found = first(&mut with_spectrum(&lambda, 6)?, exactly(k), seed)?;
            for (value, exact) in values(&found).iter().zip(&lambda) {
                assert!((value - exact).abs() < 1e-8, "{k} {seed}: {:?}", values(&found));
            }
            let gap = found.gap.expect("45 > 4");
            assert!((gap - (lambda[k - 1] - lambda[k])).abs() < 1e-6, "{k} {seed}: {gap}");
        }
    }
    Ok(())
}

#[test]
fn new_directions_are_found_within_a_few_calls_and_all_copies_of_one_from_nothing() -> Result<()> {
    // the same eigenvectors with other eigenvalues: the kept vectors are exact, and none of them is wanted any more; a fresh
    // vector a call is all that can show the new ones, and it has one direction in an eigenspace
    let before: Vec<f64> = (0..40).map(|i| if i < 4 { 10.0 - f64::from(i) } else { 0.01 * f64::from(i) }).collect();
    for above in [[20.0, 21.0], [20.0, 20.0]] {
        for seed in 0..10 {
            let after: Vec<f64> = (0..40).map(|i| if i >= 38 { above[i - 38] } else { before[i] }).collect();
            let mut subspace = DominantSubspace::new(exactly(2))?;
            subspace.run(&mut with_spectrum(&before, 7)?, &Streams::new(seed), 0, &mut Silent)?;
            let mut a = with_spectrum(&after, 7)?;
            let mut found = Vec::new();
            for call in 1..=6 {
                let at = subspace.run(&mut a, &Streams::new(seed), call, &mut Silent)?;
                assert!(at.warm && at.converged);
                found = values(&at);
            }
            assert!((found[0] - above[1]).abs() < 1e-8, "{seed}: {found:?}");
            assert!(above[0] == above[1] || (found[1] - above[0]).abs() < 1e-8, "{seed}: {found:?}");
            subspace.take();
            let anew = subspace.run(&mut a, &Streams::new(seed), 7, &mut Silent)?;
            let found = values(&anew);
            assert!(
                !anew.warm && (found[0] - above[1]).abs() + (found[1] - above[0]).abs() < 1e-8,
                "{seed}: {found:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn what_is_kept_saves_products_where_the_operator_moves_little() -> Result<()> {
    let lambda: Vec<f64> = (0..200).map(|i| 10.0 * 0.9f64.powi(i)).collect();
    let a = with_spectrum(&lambda, 8)?;
    let noise = Streams::new(8).at(Purpose::Test, 1).normals(200 * 200);
    // the noise is symmetric of norm about 2 sqrt(2 * 200)
    let moved =
        |by: f64| Dense::from_fn(200, |i, j| a.at(i, j) + by / 40.0 * (noise[200 * i + j] + noise[200 * j + i]));
    let mut subspace = DominantSubspace::new(DominantConfig::of(10))?;
    let cold = subspace.run(&mut moved(0.0)?, &Streams::new(0), 0, &mut Silent)?.effort.matvecs;
    let mut spent = Vec::new();
    for (i, by) in [1e-4, 1e-3, 1e-2, 1e-1, 1.0].into_iter().enumerate() {
        let mut subspace = DominantSubspace::new(DominantConfig::of(10))?;
        subspace.run(&mut moved(0.0)?, &Streams::new(0), 0, &mut Silent)?;
        let found = subspace.run(&mut moved(by)?, &Streams::new(0), 1 + i as u64, &mut Silent)?;
        assert!(found.converged);
        spent.push(found.effort.matvecs);
    }
    println!("cold {cold}, warm {spent:?}");
    assert!(spent[0] == 14, "the kept vectors and the fresh one: {spent:?}");
    assert!(spent[..3].iter().all(|n| *n < cold / 2), "{cold} {spent:?}");
    Ok(())
}

#[test]
fn kept_vectors_and_index_decide_the_result() -> Result<()> {
    let mut a = with_spectrum(&(0..40).map(|i| 1.0 / f64::from(i + 1)).collect::<Vec<_>>(), 9)?;
    let mut one = DominantSubspace::new(DominantConfig::of(3))?;
    one.run(&mut a, &Streams::new(1), 0, &mut Silent)?;
    let mut other = DominantSubspace::new(DominantConfig::of(3))?;
    other.begin_with(one.block().iter().map(ParamVec::duplicate).collect::<std::result::Result<_, _>>()?);
    let (x, y) =
        (one.run(&mut a, &Streams::new(1), 5, &mut Silent)?, other.run(&mut a, &Streams::new(1), 5, &mut Silent)?);
    for (x, y) in x.pairs.iter().zip(&y.pairs) {
        assert_eq!((x.value, x.vector.to_f64()?), (y.value, y.vector.to_f64()?));
    }
    assert_eq!(x.effort.matvecs, y.effort.matvecs);
    Ok(())
}

#[test]
fn small_spaces_are_used_up_and_have_no_gap_at_their_dimension() -> Result<()> {
    for d in 1..=6 {
        let lambda: Vec<f64> = (0..d).map(|i| f64::from(3 - i)).collect();
        let mut a = with_spectrum(&lambda, 2)?;
        for k in 1..=d as usize {
            let mut subspace = DominantSubspace::new(exactly(k))?;
            for index in 0..2 {
                let found = subspace.run(&mut a, &Streams::new(3), index, &mut Silent)?;
                assert!(found.converged, "{d} {k} {:?}", found.stop);
                assert!(values(&found).iter().zip(&lambda).all(|(x, y)| (x - y).abs() < 1e-12), "{d} {k}");
                assert_eq!(found.gap.is_none(), k == d as usize);
            }
        }
    }
    let zero = first(&mut Dense::from_fn(6, |_, _| 0.0)?, exactly(2), 0)?;
    assert!(zero.converged && values(&zero) == [0.0, 0.0] && zero.gap == Some(0.0));
    Ok(())
}

#[test]
fn a_span_that_is_cut_back_still_arrives() -> Result<()> {
    // eigenvalues so close that far more products than vectors are needed
    let lambda: Vec<f64> = (0..150).map(|i| 2.0 - 0.01 * f64::from(i)).collect();
    let found = first(&mut with_spectrum(&lambda, 4)?, DominantConfig { max_matvecs: 5000, ..exactly(2) }, 1)?;
    assert!(found.converged && found.effort.matvecs > 20, "{:?} {}", found.stop, found.effort.matvecs);
    assert!(values(&found).iter().zip(&lambda).all(|(x, y)| (x - y).abs() < 1e-8));
    Ok(())
}

#[test]
fn the_budget_ends_it_and_an_interruption_keeps_what_was_kept() -> Result<()> {
    let mut a = with_spectrum(&(0..80).map(|i| 1.0 - 0.001 * f64::from(i)).collect::<Vec<_>>(), 4)?;
    let config = DominantConfig { max_matvecs: 9, ..exactly(2) };
    let mut subspace = DominantSubspace::new(config)?;
    let found = subspace.run(&mut a, &Streams::new(0), 0, &mut Silent)?;
    assert_eq!((found.stop, found.converged, found.effort.matvecs), (Stop::Budget, false, 9));
    let kept = subspace.block()[0].to_f64()?;
    let stop = &mut |p: &Progress| if p.done < 4 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    assert!(matches!(subspace.run(&mut a, &Streams::new(0), 1, stop), Err(Error::Interrupted)));
    assert_eq!(subspace.block()[0].to_f64()?, kept);
    Ok(())
}

#[test]
fn settings_that_make_no_sense_are_named() -> Result<()> {
    let field = |c: DominantConfig| match DominantSubspace::new(c) {
        Err(Error::BadConfig { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(DominantConfig::of(0)), "k");
    assert_eq!(field(DominantConfig { max_matvecs: 3, ..DominantConfig::of(1) }), "max_matvecs");
    assert_eq!(field(DominantConfig { rel_tol: 0.0, ..DominantConfig::of(1) }), "rel_tol");
    let message = first(&mut Dense::from_fn(3, |_, _| 1.0)?, DominantConfig::of(4), 0).expect_err("4 of 3").to_string();
    assert!(message.contains("`k` is 4 for d = 3"), "{message}");
    Ok(())
}
