//! The closed forms against differences and against the flow followed step by step.

use super::bowl::Bowl;
use super::landscape::{Landscape, distance, dot};
use super::sparse::Sparse;
use super::sweep::Sweep;
use super::valley::Valley;
use super::walk::{Algorithm, Choice, walk};
use super::{FILE, File};
use crate::recipe::parse;
use crate::scale::Scale;
use anyhow::Result;
use flat_core::{Purpose, Streams};

/// Every landscape with a point near its minima.
fn all() -> Vec<(&'static str, Box<dyn Landscape>, Vec<f64>)> {
    let near = |x: Vec<f64>, by: f64| -> Vec<f64> {
        let noise = Streams::new(3).at(Purpose::Test, 0).normals(x.len());
        x.iter().zip(noise).map(|(x, e)| x + by * e).collect()
    };
    let (bowl, sparse) = (Bowl::new(6), Sparse::new(24, 2));
    vec![
        ("hyperbola", Box::new(Bowl::hyperbola()), near(vec![2.0, 0.5], 0.1)),
        ("bowl", Box::new(bowl), near(bowl.minimum(3.0), 0.1)),
        ("valley", Box::new(Valley::new(5, 0.7)), near(vec![-0.3; 5], 0.2)),
        ("sparse", Box::new(sparse), near(sparse.start(1.0), 0.05)),
    ]
}

fn value(f: &dyn Landscape, x: &[f64]) -> f64 {
    f.value_and_gradient(x, 0..f.samples(), &mut vec![0.0; x.len()])
}

fn gradient(f: &dyn Landscape, x: &[f64]) -> Vec<f64> {
    let mut g = vec![0.0; x.len()];
    f.value_and_gradient(x, 0..f.samples(), &mut g);
    g
}

/// Central differences of a function of x.
fn differences(x: &[f64], h: f64, f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let at = |i: usize, by: f64| {
        let mut x = x.to_vec();
        x[i] += by;
        f(&x)
    };
    (0..x.len()).map(|i| (at(i, h) - at(i, -h)) / (2.0 * h)).collect()
}

#[test]
fn gradients_are_those_of_the_values_and_average_over_the_samples() {
    for (name, f, x) in all() {
        let (f, n) = (&*f, f.samples());
        // truncation h^2 and rounding 1e-16 / h, both about 1e-10
        assert!(distance(&gradient(f, &x), &differences(&x, 1e-5, |x| value(f, x))) < 1e-8, "{name}");
        let mut mean = vec![0.0; x.len()];
        for i in 0..n {
            let mut g = vec![0.0; x.len()];
            f.value_and_gradient(&x, i..i + 1, &mut g);
            mean.iter_mut().zip(g).for_each(|(m, g)| *m += g / n as f64);
        }
        assert!(distance(&mean, &gradient(f, &x)) < 1e-13, "{name}");
    }
}

#[test]
fn limits_are_those_of_the_flow_by_runge_kutta() {
    for (name, f, x) in all() {
        let f = &*f;
        let mut at = x.clone();
        let h = 0.01;
        for _ in 0..10_000 {
            let step = |k: &[f64], by: f64| -> Vec<f64> {
                let moved: Vec<f64> = at.iter().zip(k).map(|(x, k)| x + by * k).collect();
                gradient(f, &moved).iter().map(|g| -g).collect()
            };
            let k1 = step(&vec![0.0; x.len()], 0.0);
            let k2 = step(&k1, h / 2.0);
            let k3 = step(&k2, h / 2.0);
            let k4 = step(&k3, h);
            for i in 0..x.len() {
                at[i] += h / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]);
            }
        }
        let limit = f.limit(&x);
        // the order-4 error of steps of 0.01 against curvatures up to 10
        assert!(distance(&limit, &at) < 1e-6, "{name} {limit:?} {at:?}");
        assert!(distance(&limit, &x) > 1e-3, "{name}: the point is off the minima");
        assert!(value(f, &limit) < 1e-20, "{name}");
        assert!(distance(&f.limit(&limit), &limit) < 1e-9, "{name}: a minimum is its own limit");
    }
}

#[test]
fn the_slope_is_the_gradient_of_trbar_after_phi() {
    for (name, f, x) in all() {
        let f = &*f;
        let at = f.limit(&x);
        let exact = f.tangent_gradient(&at);
        // at a minimum, grad (trbar o Phi) = dPhi^T grad trbar and dPhi is symmetric
        let found = differences(&at, 1e-5, |x| f.trbar(&f.limit(x)));
        assert!(distance(&exact, &found) < 1e-7, "{name} {exact:?} {found:?}");
    }
}

#[test]
fn trbar_is_the_trace_of_the_hessian_at_the_minima() {
    for (name, f, x) in all() {
        let f = &*f;
        let at = f.limit(&x);
        let trace: f64 = (0..x.len()).map(|i| differences(&at, 1e-5, |x| gradient(f, x)[i])[i]).sum();
        assert!((trace / x.len() as f64 - f.trbar(&at)).abs() < 1e-7, "{name}");
    }
}

#[test]
fn flow_times_are_those_of_steps_along_the_slope() {
    let (bowl, valley) = (Bowl::new(6), Valley::new(5, 0.4));
    let cases: [(&dyn Landscape, Vec<f64>, f64); 2] = [
        (&bowl, bowl.minimum(bowl.q2_at(0.8)), bowl.flow_time(bowl.q2_at(0.8), bowl.q2_at(0.2))),
        (&valley, vec![0.0; 5], valley.flow_time(0.2)),
    ];
    for (f, mut x, time) in cases {
        let steps = 20_000;
        for _ in 0..steps {
            let t = f.tangent_gradient(&x);
            x.iter_mut().zip(t).for_each(|(x, t)| *x -= time / steps as f64 * t);
            x = f.limit(&x);
        }
        let t = f.tangent_gradient(&x);
        // Euler's error falls as one over the steps
        assert!((dot(&t, &t).sqrt() - 0.2).abs() < 1e-3, "{}", dot(&t, &t).sqrt());
    }
}

#[test]
fn the_sparse_solution_is_the_flattest_minimum() {
    let sparse = Sparse::new(24, 2);
    let mut best = vec![0.0; 24];
    (best[0], best[12]) = (2.0f64.sqrt(), -(2.0f64.sqrt()));
    assert!(value(&sparse, &best) < 1e-30);
    assert!((sparse.trbar(&best) - sparse.least_trbar()).abs() < 1e-15);
    assert_eq!(sparse.distance_to_flattest(&best), 0.0);
    assert!(dot(&sparse.tangent_gradient(&best), &sparse.tangent_gradient(&best)) < 1e-30);
    let start = sparse.start(1.0);
    assert!(value(&sparse, &start) < 1e-28, "the start is a minimum");
    // any other minimum is sharper
    for seed in 0..20 {
        let noise = Streams::new(seed).at(Purpose::Test, 1).normals(24);
        let x: Vec<f64> = best.iter().zip(noise).map(|(x, e)| x + 0.1 * e).collect();
        assert!(sparse.trbar(&sparse.limit(&x)) > sparse.least_trbar());
    }
}

#[test]
fn a_walk_reaches_what_it_claims_and_descent_alone_never_does() -> Result<()> {
    let (eps, bowl) = (0.1, Bowl::new(4));
    let q2 = 4.0;
    let start: Vec<f64> = bowl.minimum(q2).iter().map(|x| 1.01 * x).collect();
    for algorithm in [Algorithm::Rs, Algorithm::Sa, Algorithm::Gd] {
        let choice = Choice::of_theorem(algorithm, eps, 4, bowl.curvature(q2));
        let predicted = choice.steps_for(bowl.flow_time(q2, bowl.q2_at(eps.sqrt())), 4);
        let found = walk(&bowl, &start, &choice, eps, (4.0 * predicted) as u64, 1)?.expect("no signal");
        assert_eq!(found.reached, algorithm != Algorithm::Gd, "{algorithm:?} {found:?}");
        if found.reached {
            assert!(found.distance <= eps && found.slope <= eps.sqrt() * 1.001);
            // the mean drift is the leading term; noise and the steps beyond eps0 make up the rest
            assert!((0.5..2.0).contains(&(found.perturbed as f64 / predicted)), "{algorithm:?} {found:?} {predicted}");
        }
    }
    Ok(())
}

#[test]
fn the_study_s_file_has_every_scale_and_along_a_sweep_one_of_eps_and_dim_is_fixed() -> Result<()> {
    for scale in Scale::ALL {
        let mut file: File = parse(None, FILE)?;
        for line in file.scales.at(scale)?.sweeps.iter().map(Sweep::line) {
            let mut coordinates: Vec<f64> = line.places.iter().map(|p| line.coordinate(*p)).collect();
            coordinates.dedup();
            assert_eq!(coordinates.len(), line.places.len(), "{line:?}");
        }
    }
    Ok(())
}
