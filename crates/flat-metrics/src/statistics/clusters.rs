//! The error that comes from the choice of examples.

use super::estimate::Moments;
use crate::operator::BatchForm;
use std::collections::BTreeMap;

/// What each group of batches contributes to a trace, over several probes: groups are taken as clusters of examples.
///
/// With `q_ik` the form of group i at probe k and `w_i` its weight, `t_i = mean_k q_ik` estimates the trace of the group
/// and `T = sum_i w_i t_i` that of the data. Had other examples been drawn, T would vary with the variance
/// `B/(B-1) sum_i w_i^2 (t_i - T)^2` (the usual one of a mean over clusters). `t_i - T` carries noise of the probes as
/// well, which is not the data's: its variance, seen in how `q_ik - sum_j w_j q_jk` varies with k, is subtracted.
#[derive(Debug, Default)]
pub(crate) struct Clusters {
    weights: Vec<f64>,
    /// `q_ik - sum_j w_j q_jk` over k.
    gaps: Vec<Moments>,
    /// What is added to each without an error of its own.
    fixed: Vec<f64>,
    /// The operator did not tell its batches.
    unknown: bool,
}

impl Clusters {
    /// Forms of the groups less the mean of all.
    fn gaps_of(&mut self, batches: &[BatchForm]) -> Option<Vec<f64>> {
        let mut groups = BTreeMap::new();
        for b in batches {
            let (weight, sum) = groups.entry(b.group).or_insert((0.0, 0.0));
            *weight += b.weight;
            *sum += b.weight * b.form;
        }
        if self.weights.is_empty() {
            self.weights = groups.values().map(|(weight, _)| *weight).collect();
            self.gaps = vec![Moments::default(); groups.len()];
            self.fixed = vec![0.0; groups.len()];
        }
        self.unknown |= groups.is_empty() || groups.len() != self.weights.len();
        let mean: f64 = groups.values().map(|(_, sum)| sum).sum();
        (!self.unknown).then(|| groups.values().map(|(weight, sum)| sum / weight - mean).collect())
    }

    /// Groups, where there are two or more.
    pub(crate) fn count(&self) -> Option<usize> {
        (!self.unknown && self.weights.len() >= 2).then_some(self.weights.len())
    }

    /// Takes in the forms of one probe, times `scale`.
    pub(crate) fn push(&mut self, batches: &[BatchForm], scale: f64) {
        let Some(gaps) = self.gaps_of(batches) else { return };
        self.gaps.iter_mut().zip(gaps).for_each(|(gap, x)| gap.push(scale * x));
    }

    /// Adds a part that no probe's noise is in, such as a form of a vector that is held fixed.
    pub(crate) fn add(&mut self, batches: &[BatchForm]) {
        let Some(gaps) = self.gaps_of(batches) else { return };
        self.fixed.iter_mut().zip(gaps).for_each(|(sum, x)| *sum += x);
    }

    /// Standard error from the choice of examples. `None` with fewer than two groups or probes, and where the noise of
    /// the probes hides it.
    pub(crate) fn std_error(&self) -> Option<f64> {
        let n = self.weights.len();
        if self.unknown || n < 2 {
            return None;
        }
        let mut variance = 0.0;
        for ((w, gap), fixed) in self.weights.iter().zip(&self.gaps).zip(&self.fixed) {
            variance += w * w * ((gap.mean() + fixed).powi(2) - gap.squared_error()?);
        }
        (variance > 0.0).then(|| (variance * n as f64 / (n as f64 - 1.0)).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flat_core::{Purpose, Streams};

    #[test]
    fn the_variance_among_batches_is_found_apart_from_that_of_the_probes() {
        // q_ik = b_i + p_k + e_ik with standard deviations 1, 5 and 2; the error of the mean of 40 batches is 1 / sqrt(40)
        let (batches, probes, runs) = (40, 10, 400);
        let mut mean = 0.0;
        for run in 0..runs {
            let s = Streams::new(run);
            let (b, p) = (s.at(Purpose::Test, 0).normals(batches), s.at(Purpose::Test, 1).normals(probes));
            let mut clusters = Clusters::default();
            for (k, p) in p.iter().enumerate() {
                let e = s.at2(Purpose::Test, 2, k as u64).normals(batches);
                let form = |i: usize| b[i] + 5.0 * p + 2.0 * e[i];
                let weight = 1.0 / batches as f64;
                let forms: Vec<_> = (0..batches).map(|i| BatchForm { weight, form: form(i), group: i }).collect();
                clusters.push(&forms, 1.0);
            }
            mean += clusters.std_error().expect("many batches").powi(2) / runs as f64;
        }
        // the sample variance of 40 has a relative standard deviation of about 0.3 here: four standard errors over 400
        assert!((mean * batches as f64 - 1.0).abs() < 4.0 * 0.3 / 20.0, "{}", mean * batches as f64);
    }

    #[test]
    fn nothing_is_said_of_one_batch_or_one_probe() {
        let of = |weight, form, group| BatchForm { weight, form, group };
        let two = [of(0.5, 1.0, 0), of(0.5, 3.0, 1)];
        let mut clusters = Clusters::default();
        clusters.push(&two, 1.0);
        assert_eq!(clusters.std_error(), None);
        clusters.push(&two, 1.0);
        // two batches at 1 and 3: the standard error of their mean is 1
        assert_eq!(clusters.std_error(), Some(1.0));
        let mut one = Clusters::default();
        (0..3).for_each(|_| one.push(&[of(1.0, 1.0, 0)], 1.0));
        assert_eq!(one.std_error(), None);
        // the same two groups in three batches
        let mut three = Clusters::default();
        (0..2).for_each(|_| three.push(&[of(0.25, 0.0, 0), of(0.25, 2.0, 0), of(0.5, 3.0, 1)], 1.0));
        assert_eq!((three.std_error(), three.count()), (Some(1.0), Some(2)));
        let mut silent = Clusters::default();
        (0..3).for_each(|_| silent.push(&[], 1.0));
        assert_eq!(silent.std_error(), None);
    }
}
