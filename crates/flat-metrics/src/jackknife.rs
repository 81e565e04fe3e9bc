//! The small matrices of [`crate::XTrace`], and its value without each of its probes.

use crate::orthonormal::Basis;
use crate::sketch::scale_of_projected;
use crate::{ProbeDistribution, Result};
use flat_core::ParamVec;

/// `A W = Q R` and all there is to know of it in m dimensions.
pub(crate) struct Small {
    /// Columns of R, of length m.
    pub(crate) r: Vec<Vec<f64>>,
    /// `Q^T A Q`, row by row, symmetric.
    c: Vec<Vec<f64>>,
    /// Columns of `Q^T W`.
    w: Vec<Vec<f64>>,
    /// Squared norms of the probes.
    squared: Vec<f64>,
    dim: usize,
}

impl Small {
    /// From Q, A Q and the upper triangle of R by columns. Costs `m^2 / 2` inner products.
    pub(crate) fn new(basis: &Basis, a_basis: &[ParamVec], mut r: Vec<Vec<f64>>, dim: usize) -> Result<Self> {
        let m = r.len();
        r.iter_mut().for_each(|column| column.resize(m, 0.0));
        let mut c = vec![vec![0.0; m]; m];
        for (i, q) in basis.vectors().iter().enumerate() {
            for j in 0..=i {
                let form = q.dot(&a_basis[j])?;
                (c[i][j], c[j][i]) = (form, form);
            }
        }
        Ok(Self { r, c, w: Vec::with_capacity(m), squared: Vec::with_capacity(m), dim })
    }

    /// Takes in `Q^T w` and the squared norm of the next probe w.
    pub(crate) fn push(&mut self, w: Vec<f64>, squared: f64) {
        self.w.push(w);
        self.squared.push(squared);
    }

    /// The jackknife's standard error (Quenouille 1956, Tukey 1958): `sqrt((m - 1)/m sum_i (x_i - mean)^2)`, x_i the value
    /// of XTrace on all probes but the i-th. Costs `m^4` multiplications.
    pub(crate) fn jackknife(&self, left_out: &[Vec<f64>], probe: ProbeDistribution) -> f64 {
        let m = self.r.len();
        let values: Vec<f64> = (0..m).map(|i| self.value_without(i, left_out, probe)).collect();
        let mean = values.iter().sum::<f64>() / m as f64;
        let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
        (squares * (m as f64 - 1.0) / m as f64).sqrt()
    }

    /// XTrace's value on all probes but the i-th.
    fn value_without(&self, i: usize, left_out: &[Vec<f64>], probe: ProbeDistribution) -> f64 {
        let m = self.r.len();
        let one = &left_out[i];
        let trace: f64 = (0..m).map(|j| self.c[j][j]).sum::<f64>() - self.form(one);
        let mut sum = 0.0;
        for j in (0..m).filter(|j| *j != i) {
            // the directions of Q that only the probes i and j reach
            let mut two = without(without(left_out[j].clone(), one), one);
            let norm = dot(&two, &two).sqrt();
            two.iter_mut().for_each(|x| *x /= if norm > 0.0 { norm } else { 1.0 });
            let mu = without(without(self.w[j].clone(), one), &two);
            let rest = dot(&self.w[j], &self.r[j]) - 2.0 * dot(&mu, &self.r[j]) + self.form(&mu);
            let scale = scale_of_projected(probe, self.squared[j] - dot(&mu, &mu), self.dim + 2 - m);
            sum += trace - self.form(&two) + scale * rest;
        }
        sum / (m as f64 - 1.0)
    }

    /// `<x, C x>`.
    fn form(&self, x: &[f64]) -> f64 {
        self.c.iter().zip(x).map(|(row, x_i)| x_i * dot(row, x)).sum()
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(a, b)| a * b).sum()
}

/// `x` less its part along the unit vector `s`.
pub(crate) fn without(mut x: Vec<f64>, s: &[f64]) -> Vec<f64> {
    let along = dot(&x, s);
    x.iter_mut().zip(s).for_each(|(x, s)| *x -= along * s);
    x
}

/// The columns of `R^-T`, each of norm 1: s_i is orthogonal to every column of R but the i-th. `r[i]` holds column i of
/// the upper triangle.
///
/// A zero on the diagonal, of a direction that none of the probes is needed for, counts as 1e-8 of the largest element:
/// leaving any probe out then leaves that direction out, tilted by no more than that, and the rest spans all there is.
pub(crate) fn left_out(r: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let m = r.len();
    let largest = r.iter().flatten().fold(0.0f64, |s, x| s.max(x.abs()));
    let tiny = if largest > 0.0 { 1e-8 * largest } else { 1.0 };
    (0..m)
        .map(|i| {
            // R^T s = e_i from the top: row j of R^T is column j of R
            let mut s = vec![0.0; m];
            s[i] = 1.0;
            for j in i + 1..m {
                let known: f64 = dot(&r[j][i..j], &s[i..j]);
                s[j] = -known / if r[j][j] == 0.0 { tiny } else { r[j][j] };
                // only the direction counts: keep it in range
                let size = s[i..=j].iter().fold(0.0f64, |m, x| m.max(x.abs()));
                if size > 1e100 {
                    s[i..=j].iter_mut().for_each(|x| *x /= size);
                }
            }
            let norm = dot(&s, &s).sqrt();
            s.iter_mut().for_each(|x| *x /= norm);
            s
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direction_left_out_is_orthogonal_to_all_other_columns() {
        let r = vec![vec![2.0], vec![-1.0, 0.5], vec![3.0, 0.1, 1e-3]];
        for (i, s) in left_out(&r).iter().enumerate() {
            assert!((s.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-14);
            for (j, column) in r.iter().enumerate() {
                let along: f64 = column.iter().zip(s).map(|(r, s)| r * s).sum();
                assert_eq!(along.abs() < 1e-14, i != j, "{i} {j} {along}");
            }
        }
    }
}
