//! A check of the closed forms against the certificate, which sees only the loss.

use super::landscape::{distance, norm};
use super::sweep::{Along, Family, setting};
use super::walk::{Algorithm, Choice, walk};
use crate::study::Study;
use anyhow::Result;
use candle_core::{Device, Tensor, Var};
use flat_core::{Params, Streams};
use flat_metrics::{Certificate, CertificateConfig, ClosureObjective, DifferenceHessian, FlowConfig};
use serde::{Deserialize, Serialize};

/// Both answers at one point.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Check {
    pub(super) family: Family,
    /// `start` of a walk of RS or its `end`.
    pub(super) place: String,
    pub(super) eps: f64,
    /// `||x - Phi(x)||` and `||dPhi grad trbar||` in closed form.
    pub(super) exact: [f64; 2],
    /// The distance by the numerically followed flow.
    pub(super) distance: f64,
    /// The interval of the projected norm.
    #[serde(alias = "norm_ci95")]
    pub(super) norm_interval: [f64; 2],
    pub(super) verdict: String,
}

const DIM: usize = 4;
/// eps of the walks.
pub(super) const EPS: f64 = 0.1;

/// Functions that are checked, a cell each.
pub(super) const CELLS: usize = FAMILIES.len();

const FAMILIES: [Family; 2] = [Family::Bowl, Family::Valley];

/// Checks the start and the end of a walk on both functions; `None` where a signal asked to stop.
pub(super) fn run(study: &mut Study<'_>) -> Result<Option<Vec<Check>>> {
    let seed = study.provenance().seed;
    let checks = study.all(FAMILIES, |study, family| {
        let key = format!("crosscheck-{family:?}").to_lowercase();
        study.cell(&key, &(family, DIM, EPS, seed), |_| both(family, seed))
    })?;
    Ok(checks.map(|checks| checks.concat()))
}

fn both(family: Family, seed: u64) -> Result<Option<Vec<Check>>> {
    let (landscape, start, beta, time) = setting(family, Along::Eps, EPS, DIM);
    let choice = Choice::of_theorem(Algorithm::Rs, EPS, DIM, beta);
    let limit = (8.0 * choice.steps_for(time, DIM)).ceil() as u64;
    let Some(end) = walk(&*landscape, &start, &choice, EPS, limit, seed)? else { return Ok(None) };
    let mut checks = Vec::new();
    for (place, x) in [("start", start), ("end", end.x)] {
        let at = landscape.limit(&x);
        let var = Var::from_tensor(&Tensor::new(x.as_slice(), &Device::Cpu)?)?;
        let params = Params::new([("x".to_string(), var.clone())])?;
        let objective = ClosureObjective::new(params, vec![1], move |_| loss(family, var.as_tensor()))?;
        let config = CertificateConfig {
            eps: EPS,
            eps_prime: Some(EPS.sqrt()),
            flow: FlowConfig { grad_tol: 1e-9, rel_tol: 1e-4, max_gradients: 100_000 },
            ..CertificateConfig::default()
        };
        let mut hessian = DifferenceHessian::new(&objective)?;
        let report =
            Certificate::new(config)?.run(&objective, &mut hessian, &Streams::new(seed), &mut flat_metrics::Silent)?;
        checks.push(Check {
            family,
            place: place.into(),
            eps: EPS,
            exact: [distance(&x, &at), norm(&landscape.tangent_gradient(&at))],
            distance: report.distance,
            norm_interval: report.slope.as_ref().map_or([f64::NAN; 2], |s| s.interval),
            verdict: format!("{:?}", report.verdict),
        });
    }
    Ok(Some(checks))
}

/// The functions again, as a graph of tensors.
fn loss(family: Family, x: &Tensor) -> candle_core::Result<Tensor> {
    match family {
        Family::Bowl => {
            let (y, z) = (x.narrow(0, 0, DIM / 2)?, x.narrow(0, DIM / 2, DIM / 2)?);
            ((y * z)?.sum_all()? - 1.0)?.sqr()? * 0.5
        }
        Family::Valley => {
            let height = (x.get(0)? * (2.0 * EPS.sqrt()))?.exp()?;
            (height * x.narrow(0, 1, DIM - 1)?.sqr()?.sum_all()?)? * (0.5 * DIM as f64 / (DIM - 1) as f64)
        }
    }
}
