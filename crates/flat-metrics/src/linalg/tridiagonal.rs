//! The eigenproblem of a symmetric tridiagonal matrix.

/// Eigenvalues, in no order, and orthonormal eigenvectors of the symmetric tridiagonal matrix with the given diagonal and
/// off-diagonal, both finite: the implicit QL method with Wilkinson's shift, which converges for every such matrix
/// (Wilkinson 1968, "Global Convergence of Tridiagonal QR Algorithm with Origin Shifts"). Backward stable: errors are a
/// few roundings of the largest element. About 3 n^3 rotated pairs of numbers.
pub(crate) fn tridiagonal(diagonal: &[f64], off_diagonal: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = diagonal.len();
    let (mut d, mut e) = (diagonal.to_vec(), off_diagonal.to_vec());
    let norm = d.iter().chain(&e).fold(0.0f64, |s, x| s.max(x.abs()));
    let mut vectors: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for l in 0..n {
        // a unit in the last place more each sweep, so that rounding cannot stall it
        let mut negligible = f64::EPSILON * norm;
        loop {
            // l..=m is the block that hangs together
            let m = (l..n - 1).find(|&i| e[i].abs() <= negligible).unwrap_or(n - 1);
            if m == l {
                break;
            }
            negligible += f64::EPSILON * norm;
            // the eigenvalue of the upper 2 x 2 block closest to d[l]
            let half = (d[l + 1] - d[l]) / 2.0;
            let shift = d[l] - e[l] * (e[l] / (half + half.hypot(e[l]).copysign(half)));
            // the first rotation is that of a QL step; the others chase the element it puts at (i - 1, i + 1) off the top
            let (mut x, mut bulge) = (d[m] - shift, e[m - 1]);
            for i in (l..m).rev() {
                let r = x.hypot(bulge);
                let (c, s) = if r == 0.0 { (1.0, 0.0) } else { (x / r, bulge / r) };
                if i + 1 < m {
                    e[i + 1] = r;
                }
                let (a, b, g) = (d[i], d[i + 1], e[i]);
                let t = s * (a - b) + 2.0 * c * g;
                d[i + 1] = b + s * t;
                d[i] = a - s * t;
                e[i] = c * t - g;
                x = e[i];
                if i > l {
                    bulge = s * e[i - 1];
                    e[i - 1] *= c;
                }
                let (head, tail) = vectors.split_at_mut(i + 1);
                for (p, q) in head[i].iter_mut().zip(&mut tail[0]) {
                    (*p, *q) = (c * *p - s * *q, s * *p + c * *q);
                }
            }
        }
    }
    (d, vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sorted eigenvalues, after a check of the vectors: orthonormal, and `T v = lambda v`.
    fn checked(d: &[f64], e: &[f64]) -> Vec<f64> {
        let n = d.len();
        let (mut values, vectors) = tridiagonal(d, e);
        let norm = d.iter().chain(e).fold(0.0f64, |s, x| s.max(x.abs()));
        // each of some 2 n sweeps rounds a few times
        let tol = 1e-15 * n as f64;
        for (i, v) in vectors.iter().enumerate() {
            for (j, w) in vectors.iter().enumerate() {
                let dot: f64 = v.iter().zip(w).map(|(a, b)| a * b).sum();
                assert!((dot - f64::from(u8::from(i == j))).abs() < tol, "{i} {j} {dot}");
            }
            for k in 0..n {
                let below = if k > 0 { e[k - 1] * v[k - 1] } else { 0.0 };
                let above = if k + 1 < n { e[k] * v[k + 1] } else { 0.0 };
                assert!((below + d[k] * v[k] + above - values[i] * v[k]).abs() <= tol * norm, "{i} {k}");
            }
        }
        values.sort_by(f64::total_cmp);
        values
    }

    #[test]
    fn the_second_difference_has_its_cosines() {
        for n in [1, 2, 3, 50] {
            let values = checked(&vec![2.0; n], &vec![-1.0; n - 1]);
            for (k, value) in values.iter().enumerate() {
                let exact = 2.0 - 2.0 * (std::f64::consts::PI * (k + 1) as f64 / (n + 1) as f64).cos();
                assert!((value - exact).abs() < 4e-15 * n as f64, "{n} {k} {value} {exact}");
            }
        }
    }

    #[test]
    fn clements_matrix_has_integers() {
        // zero diagonal, sqrt(i (n - i)) beside it: 1 - n, 3 - n, .., n - 1 (Clement 1959)
        let n = 30;
        let e: Vec<f64> = (1..n).map(|i| ((i * (n - i)) as f64).sqrt()).collect();
        for (k, value) in checked(&vec![0.0; n], &e).iter().enumerate() {
            assert!((value - (2.0 * k as f64 - 29.0)).abs() < 1e-12, "{k} {value}");
        }
    }

    #[test]
    fn uncoupled_blocks_stay_apart_even_with_equal_eigenvalues() {
        let (d, e) = ([1.0, 1.0, 7.0, 1.0, 1.0], [2.0, 0.0, 0.0, 2.0]);
        let values = checked(&d, &e);
        for (value, exact) in values.iter().zip([-1.0, -1.0, 3.0, 3.0, 7.0]) {
            assert!((value - exact).abs() < 1e-14, "{value}");
        }
        for v in tridiagonal(&d, &e).1 {
            let parts = [&v[..2], &v[2..3], &v[3..]];
            assert_eq!(parts.iter().filter(|p| p.iter().any(|x| *x != 0.0)).count(), 1, "{v:?}");
        }
    }

    #[test]
    fn zero_and_diagonal_matrices_are_left_as_they_are() {
        assert_eq!(checked(&[0.0; 4], &[0.0; 3]), [0.0; 4]);
        assert_eq!(checked(&[3.0, -1.0, 2.0], &[0.0; 2]), [-1.0, 2.0, 3.0]);
    }
}
