//! The eigenproblem of a small dense symmetric matrix.

use super::tridiagonal::tridiagonal;

/// Eigenvalues in descending order with orthonormal eigenvectors of a symmetric matrix given by rows: Householder's
/// reflections to tridiagonal form (Householder 1958), then [`tridiagonal`]. Backward stable; about 6 n^3 multiplications.
pub(crate) fn symmetric(mut a: Vec<Vec<f64>>) -> Vec<(f64, Vec<f64>)> {
    let n = a.len();
    let mut q: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for k in 0..n.saturating_sub(2) {
        let mut v: Vec<f64> = (k + 1..n).map(|i| a[i][k]).collect();
        if v[1..].iter().all(|x| *x == 0.0) {
            continue;
        }
        let norm = v.iter().fold(0.0f64, |s, x| s.hypot(*x)).copysign(v[0]);
        v[0] += norm;
        let square = dot(&v, &v);
        // A - v w^T - w v^T with w = p - <p, v>/|v|^2 v and p = 2/|v|^2 A v
        let mut w: Vec<f64> = a[k + 1..].iter().map(|row| 2.0 / square * dot(&row[k + 1..], &v)).collect();
        let along = dot(&w, &v) / square;
        w.iter_mut().zip(&v).for_each(|(w, v)| *w -= along * v);
        for (i, row) in a[k + 1..].iter_mut().enumerate() {
            row[k] = if i == 0 { -norm } else { 0.0 };
            for (j, x) in row[k + 1..].iter_mut().enumerate() {
                *x -= v[i] * w[j] + w[i] * v[j];
            }
        }
        for row in &mut q {
            let along = 2.0 / square * dot(&row[k + 1..], &v);
            row[k + 1..].iter_mut().zip(&v).for_each(|(x, v)| *x -= along * v);
        }
    }
    let diagonal: Vec<f64> = (0..n).map(|i| a[i][i]).collect();
    let beside: Vec<f64> = (1..n).map(|i| a[i][i - 1]).collect();
    let (values, vectors) = tridiagonal(&diagonal, &beside);
    let back = |t: Vec<f64>| q.iter().map(|row| dot(row, &t)).collect();
    let mut pairs: Vec<(f64, Vec<f64>)> = values.into_iter().zip(vectors.into_iter().map(back)).collect();
    pairs.sort_by(|x, y| y.0.total_cmp(&x.0));
    pairs
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flat_core::{Purpose, Streams};

    #[test]
    fn every_pair_is_one_of_the_matrix_and_the_vectors_are_orthonormal() {
        for n in [1, 2, 3, 7, 40] {
            let x = Streams::new(3).at(Purpose::Test, n as u64).normals(n * n);
            let a: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| x[i * n + j] + x[j * n + i]).collect()).collect();
            let pairs = symmetric(a.clone());
            // the norm of such a matrix is about 2 sqrt(2 n), and some n roundings of it add up
            let tol = 1e-15 * (n as f64).powf(1.5) * 4.0;
            assert!(pairs.windows(2).all(|p| p[0].0 >= p[1].0));
            for (i, (value, v)) in pairs.iter().enumerate() {
                let worst = a.iter().zip(v).map(|(row, x)| (dot(row, v) - value * x).abs()).fold(0.0, f64::max);
                assert!(worst < tol, "{n} {i}: {worst:e}");
                for (j, (_, w)) in pairs.iter().enumerate() {
                    assert!((dot(v, w) - f64::from(u8::from(i == j))).abs() < tol, "{n} {i} {j}");
                }
            }
        }
    }

    #[test]
    fn a_matrix_of_ones_has_n_once_and_zero_otherwise() {
        let pairs = symmetric(vec![vec![1.0; 6]; 6]);
        assert!((pairs[0].0 - 6.0).abs() < 1e-14);
        assert!(pairs[1..].iter().all(|(value, _)| value.abs() < 1e-14));
    }
}
