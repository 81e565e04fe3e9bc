//! The small matrices of [`crate::XTrace`], and its value without each of its probes.

use super::sketch::scale_of_projected;
use crate::Result;
use crate::linalg::Basis;
use crate::statistics::ProbeDistribution;
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
    /// From Q, A Q and the upper triangle of R by columns. Costs `m^2 / 2` inner products; calls `watch(done, of)` for every
    /// column.
    ///
    /// # Errors
    /// That of `watch`; vectors of another space.
    pub(crate) fn new(
        basis: &Basis,
        a_basis: &[ParamVec],
        mut r: Vec<Vec<f64>>,
        dim: usize,
        watch: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        let m = r.len();
        r.iter_mut().for_each(|column| column.resize(m, 0.0));
        let mut c = vec![vec![0.0; m]; m];
        for (i, q) in basis.vectors().iter().enumerate() {
            watch(i, m)?;
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
    /// of XTrace on all probes but the i-th. Costs `24 m^3` multiplications; calls `watch(done, of)` every `m^2` of them.
    ///
    /// # Errors
    /// That of `watch`.
    pub(crate) fn jackknife(
        &self,
        left_out: &[Vec<f64>],
        probe: ProbeDistribution,
        watch: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<f64> {
        let m = self.r.len();
        let (mut images, mut values) = (Vec::with_capacity(m), Vec::with_capacity(m));
        for (i, (s, w)) in left_out.iter().zip(&self.w).enumerate() {
            watch(i, 2 * m)?;
            images.push(Images { s: self.times(s), w: self.times(w) });
        }
        for i in 0..m {
            watch(m + i, 2 * m)?;
            values.push(self.value_without(i, left_out, &images, probe));
        }
        let mean = values.iter().sum::<f64>() / m as f64;
        let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
        Ok((squares * (m as f64 - 1.0) / m as f64).sqrt())
    }

    /// XTrace's value on all probes but the i-th. Each vector goes along with its product by C, which follows it by
    /// linearity: no pair of probes costs a product.
    fn value_without(&self, i: usize, left_out: &[Vec<f64>], images: &[Images], probe: ProbeDistribution) -> f64 {
        let m = self.r.len();
        let one = (&left_out[i], &images[i].s);
        let trace: f64 = (0..m).map(|j| self.c[j][j]).sum::<f64>() - dot(one.0, one.1);
        let (mut two, mut c_two) = (vec![0.0; m], vec![0.0; m]);
        let (mut mu, mut c_mu) = (vec![0.0; m], vec![0.0; m]);
        let mut sum = 0.0;
        for j in (0..m).filter(|j| *j != i) {
            // the directions of Q that only the probes i and j reach
            two.copy_from_slice(&left_out[j]);
            c_two.copy_from_slice(&images[j].s);
            for _ in 0..2 {
                subtract(&mut two, &mut c_two, one);
            }
            let norm = dot(&two, &two).sqrt();
            let scale = if norm > 0.0 { 1.0 / norm } else { 1.0 };
            two.iter_mut().chain(&mut c_two).for_each(|x| *x *= scale);
            mu.copy_from_slice(&self.w[j]);
            c_mu.copy_from_slice(&images[j].w);
            subtract(&mut mu, &mut c_mu, one);
            subtract(&mut mu, &mut c_mu, (&two, &c_two));
            let rest = dot(&self.w[j], &self.r[j]) - 2.0 * dot(&mu, &self.r[j]) + dot(&mu, &c_mu);
            let scale = scale_of_projected(probe, self.squared[j] - dot(&mu, &mu), self.dim + 2 - m);
            sum += trace - dot(&two, &c_two) + scale * rest;
        }
        sum / (m as f64 - 1.0)
    }

    /// `C x`.
    fn times(&self, x: &[f64]) -> Vec<f64> {
        self.c.iter().map(|row| dot(row, x)).collect()
    }
}

/// Products by C of what belongs to one probe.
struct Images {
    /// Of the direction that it alone reaches.
    s: Vec<f64>,
    /// Of `Q^T w`.
    w: Vec<f64>,
}

/// Takes from `x` its part along the unit vector s, and from `C x` the same multiple of `C s`.
fn subtract(x: &mut [f64], c_x: &mut [f64], (s, c_s): (&Vec<f64>, &Vec<f64>)) {
    let along = dot(x, s);
    x.iter_mut().zip(s).for_each(|(x, s)| *x -= along * s);
    c_x.iter_mut().zip(c_s).for_each(|(x, s)| *x -= along * s);
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
    use flat_core::{Purpose, Streams};

    /// Random small matrices of m probes.
    fn random(m: usize) -> (Small, Vec<Vec<f64>>) {
        let draw = |k: u64, n: usize| Streams::new(7).at(Purpose::Test, k).normals(n);
        let rows = |k: u64| -> Vec<Vec<f64>> { (0..m as u64).map(|i| draw(k + i, m)).collect() };
        let r: Vec<Vec<f64>> = (0..m).map(|i| draw(100_000 + i as u64, i + 1)).collect();
        let left_out = left_out(&r);
        let a = rows(0);
        let c = (0..m).map(|i| (0..m).map(|j| a[i][j] + a[j][i]).collect()).collect();
        let full = |mut column: Vec<f64>| {
            column.resize(m, 0.0);
            column
        };
        let r = r.into_iter().map(full).collect();
        let squared = draw(900_000, m).iter().map(|x| 10.0 * m as f64 + x.abs()).collect();
        (Small { r, c, w: rows(200_000), squared, dim: 10 * m }, left_out)
    }

    #[test]
    fn values_without_a_probe_are_the_definitions() -> Result<()> {
        let m = 9;
        let (small, left_out) = random(m);
        let form = |x: &[f64]| dot(x, &small.times(x));
        let values: Vec<f64> = (0..m)
            .map(|i| {
                let one = &left_out[i];
                let trace: f64 = (0..m).map(|j| small.c[j][j]).sum::<f64>() - form(one);
                let value = |j: usize| {
                    let mut two = without(without(left_out[j].clone(), one), one);
                    let norm = dot(&two, &two).sqrt();
                    two.iter_mut().for_each(|x| *x /= norm);
                    let mu = without(without(small.w[j].clone(), one), &two);
                    let rest = dot(&small.w[j], &small.r[j]) - 2.0 * dot(&mu, &small.r[j]) + form(&mu);
                    let left = small.squared[j] - dot(&mu, &mu);
                    trace - form(&two) + scale_of_projected(ProbeDistribution::Sphere, left, small.dim + 2 - m) * rest
                };
                (0..m).filter(|j| *j != i).map(value).sum::<f64>() / (m as f64 - 1.0)
            })
            .collect();
        let mean = values.iter().sum::<f64>() / m as f64;
        let exact = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() * (m as f64 - 1.0) / m as f64).sqrt();
        let found = small.jackknife(&left_out, ProbeDistribution::Sphere, &mut |_, _| Ok(()))?;
        assert!((found / exact - 1.0).abs() < 1e-10, "{found} {exact}");
        Ok(())
    }

    #[test]
    fn the_jackknife_of_many_probes_asks_often_whether_to_go_on() -> Result<()> {
        let (small, left_out) = random(300);
        let mut asked = 0;
        small.jackknife(&left_out, ProbeDistribution::Sphere, &mut |done, of| {
            assert_eq!((done, of), (asked, 600));
            asked += 1;
            Ok(())
        })?;
        assert_eq!(asked, 600);
        let stop = &mut |done, _| if done < 350 { Ok(()) } else { Err(crate::Error::Interrupted) };
        let stopped = small.jackknife(&left_out, ProbeDistribution::Sphere, stop);
        assert!(matches!(stopped, Err(crate::Error::Interrupted)));
        Ok(())
    }

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
