//! The mean step of RS and SA along the minima, against the identities of the paper.

use super::bowl::Bowl;
use super::fit::Interval;
use super::landscape::{Analytic, Landscape, dot};
use super::walk::{Algorithm, Choice};
use crate::study::Study;
use anyhow::Result;
use flat_core::ParamVec;
use flat_run::signal;
use serde::{Deserialize, Serialize};

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Setting {
    pub(super) dim: usize,
    pub(super) rho: f64,
    /// Steps of RS; SA, whose only draw is a sign and a tiny offset, gets a hundredth.
    samples: u64,
    seed: u64,
}

/// Mean of v along `t = dPhi grad trbar`, divided by `(rho^2 / 2) ||t||^2`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Drifts {
    pub(super) setting: Setting,
    /// Of RS: 1 by the identity.
    pub(super) rs: Interval,
    /// Of SA: D by the identity.
    pub(super) sa: Interval,
    /// SA over RS, with an interval from both (delta method).
    pub(super) ratio: Interval,
}

/// The places of the study's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Places {
    dims: Vec<usize>,
    rhos: Vec<f64>,
    /// Steps of RS at each.
    samples: u64,
}

impl Places {
    /// The measurements.
    pub(super) fn settings(&self, seed: u64) -> Vec<Setting> {
        let of = |dim: usize| self.rhos.iter().map(move |&rho| Setting { dim, rho, samples: self.samples, seed });
        self.dims.iter().flat_map(|&dim| of(dim)).collect()
    }
}

/// Runs all; `None` where a signal asked to stop.
pub(super) fn run(study: &mut Study<'_>, places: &Places) -> Result<Option<Vec<Drifts>>> {
    study.all(places.settings(study.provenance().seed), |study, setting| {
        let key = format!("drift-d{}-rho{}", setting.dim, setting.rho);
        study.cell(&key, &setting, |_| measure(setting))
    })
}

fn measure(setting: Setting) -> Result<Option<Drifts>> {
    let (Some(rs), Some(sa)) = (
        coefficients(setting, Algorithm::Rs, setting.samples)?,
        coefficients(setting, Algorithm::Sa, setting.samples / 100)?,
    ) else {
        return Ok(None);
    };
    let (rs, sa) = (Interval::mean(&rs)?, Interval::mean(&sa)?);
    let relative = |x: &Interval| (x.ci95[1] - x.value) / x.value;
    let value = sa.value / rs.value;
    let half = value * relative(&rs).hypot(relative(&sa));
    Ok(Some(Drifts { setting, rs, sa, ratio: Interval { value, ci95: [value - half, value + half] } }))
}

/// The coefficient of every one of `samples` single steps of size 1 from the minimum y = 3 e1, z = e1 / 3, where the gradient is
/// 0 and the step is -v. No variance reduction: along the minima the term of first order in rho vanishes by itself.
fn coefficients(setting: Setting, algorithm: Algorithm, samples: u64) -> Result<Option<Vec<f64>>> {
    let bowl = Bowl::new(setting.dim);
    let mut x = vec![0.0; setting.dim];
    (x[0], x[setting.dim / 2]) = (3.0, 1.0 / 3.0);
    let t = bowl.tangent_gradient(&x);
    let unit = setting.rho * setting.rho / 2.0 * dot(&t, &t);
    let mut objective = Analytic::new(&bowl, &x)?;
    let choice = Choice { algorithm, eta: 1.0, plain: 1.0, rho: setting.rho, gate: f64::INFINITY };
    let mut optimizer = choice.optimizer(&objective, setting.dim, setting.seed)?;
    let theta = ParamVec::from_f64(objective.params().space(), x.clone())?;
    let mut all = Vec::new();
    for k in 0..samples {
        objective.params().write(&theta)?;
        optimizer.step(&mut objective)?;
        let moved = objective.x()?;
        all.push((dot(&x, &t) - dot(&moved, &t)) / unit);
        if k % 1024 == 0 && signal::stop_requested() {
            return Ok(None);
        }
    }
    Ok(Some(all))
}
