//! An algorithm's walk over a landscape until it stands at an (eps, sqrt eps)-flat point.

use super::landscape::{Analytic, Landscape, distance, norm};
use anyhow::Result;
use flat_optim::{Gate, GradientRule, Nso, Optimizer, Plain, Rsp, Sam, Sap, Sgd};
use flat_run::signal;
use serde::{Deserialize, Serialize};

/// The algorithms that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Algorithm {
    /// Plain gradient descent.
    Gd,
    /// SAM on the whole batch.
    Sam,
    /// Noise stability optimization, sigma = rho / sqrt(D).
    Nso,
    /// Algorithm 1, randomly smoothed perturbation.
    Rs,
    /// Algorithm 2, sharpness-aware perturbation.
    Sa,
}

impl Algorithm {
    pub(super) const ALL: [Self; 5] = [Self::Gd, Self::Sam, Self::Nso, Self::Rs, Self::Sa];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gd => "GD",
            Self::Sam => "SAM",
            Self::Nso => "NSO",
            Self::Rs => "RS",
            Self::Sa => "SA",
        }
    }
}

/// delta of the theorems: every run may fail with at most this probability.
pub(super) const DELTA: f64 = 0.5;

/// What an algorithm runs with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Choice {
    /// Which one.
    pub(super) algorithm: Algorithm,
    /// Learning rate of a perturbed step.
    pub(super) eta: f64,
    /// Learning rate of a plain step.
    pub(super) plain: f64,
    /// Perturbation radius.
    pub(super) rho: f64,
    /// Gradient norm up to which steps are perturbed, eps0.
    pub(super) gate: f64,
}

impl Choice {
    /// The theorems' choices with every constant hidden in O() set to 1: for RS eta = delta eps, rho = delta sqrt(eps),
    /// eps0 = delta^1.5 eps, eta' = 1 / beta; for SA the same times nu, nu and nu^1.5, nu = min(D, eps^-1/3). The other
    /// algorithms get those of RS.
    pub(super) fn of_theorem(algorithm: Algorithm, eps: f64, dim: usize, beta: f64) -> Self {
        let nu = if algorithm == Algorithm::Sa { (dim as f64).min(eps.powf(-1.0 / 3.0)) } else { 1.0 };
        Self {
            algorithm,
            eta: nu * DELTA * eps,
            plain: 1.0 / beta,
            rho: nu * DELTA * eps.sqrt(),
            gate: (nu * DELTA).powf(1.5) * eps,
        }
    }

    /// Perturbed steps that the mean drift needs for a time of the flow `dx/dt = -dPhi grad trbar`: a step moves by
    /// `eta rho^2 / 2` times that field, one of SA by D times as much.
    pub(super) fn steps_for(&self, time: f64, dim: usize) -> f64 {
        let times = if self.algorithm == Algorithm::Sa { dim as f64 } else { 1.0 };
        2.0 * time / (self.eta * self.rho * self.rho * times)
    }

    /// The optimizer, by the rules of flat-optim.
    pub(super) fn optimizer(&self, objective: &Analytic<'_>, dim: usize, seed: u64) -> Result<Optimizer> {
        let (rho, gate) = (self.rho, Gate::default().eps0(self.gate).plain_lr(Some(self.plain)));
        let rule: Box<dyn GradientRule> = match self.algorithm {
            Algorithm::Gd => Plain.into(),
            Algorithm::Sam => Sam::new(rho).into(),
            Algorithm::Nso => Nso::new(rho / (dim as f64).sqrt()).into(),
            Algorithm::Rs => Rsp::new(rho).gate(gate).into(),
            Algorithm::Sa => Sap::new(rho).gate(gate).examples(1).into(),
        };
        let lr = if self.algorithm == Algorithm::Gd { self.plain } else { self.eta };
        Ok(Optimizer::builder(objective.params()).rule(rule).base(Sgd::new(lr).momentum(0.0)).seed(seed).build()?)
    }
}

/// How a walk went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Walk {
    /// Whether the point was reached; otherwise `steps` is the limit that was set.
    pub(super) reached: bool,
    /// Steps until then, those of the last phase included.
    pub(super) steps: u64,
    /// Perturbed ones among them.
    pub(super) perturbed: u64,
    /// Steps of the last phase, plain gradient descent towards Phi(x).
    pub(super) descent: u64,
    /// Gradients of f, an evaluation of one of n samples counted as 1/n.
    pub(super) queries: f64,
    /// `||x - Phi(x)||` at the end.
    pub(super) distance: f64,
    /// `||dPhi grad trbar||` at Phi(x) at the end.
    pub(super) slope: f64,
    /// trbar at Phi(x) at the end.
    pub(super) trbar: f64,
    /// Where it ended; not kept with the results.
    #[serde(skip)]
    pub(super) x: Vec<f64>,
}

/// Runs until Phi(x) has `||dPhi grad trbar|| <= sqrt(eps)`, looking after every step (every `limit / 20,000` of them where
/// there are more), then descends without perturbation until `||x - Phi(x)|| <= eps`. `None` where a signal asked to stop.
pub(super) fn walk(
    landscape: &dyn Landscape,
    start: &[f64],
    choice: &Choice,
    eps: f64,
    limit: u64,
    seed: u64,
) -> Result<Option<Walk>> {
    let mut objective = Analytic::new(landscape, start)?;
    let mut optimizer = choice.optimizer(&objective, landscape.dim(), seed)?;
    let every = (limit / 20_000).max(1);
    let slope = |x: &[f64]| norm(&landscape.tangent_gradient(&landscape.limit(x)));
    let (mut steps, mut perturbed) = (0, 0);
    let mut x = start.to_vec();
    let mut here = slope(&x);
    while here > eps.sqrt() && steps < limit {
        perturbed += u64::from(optimizer.step(&mut objective)?.perturbed);
        steps += 1;
        if steps % every == 0 || steps == limit {
            x = objective.x()?;
            here = slope(&x);
            if signal::stop_requested() {
                return Ok(None);
            }
        }
    }
    let mut queries = optimizer.evals();
    let on_manifold = |x: &[f64]| distance(x, &landscape.limit(x));
    let mut descent = 0;
    if here <= eps.sqrt() {
        let plain = Choice { algorithm: Algorithm::Gd, ..*choice };
        let mut optimizer = plain.optimizer(&objective, landscape.dim(), seed)?;
        while on_manifold(&x) > eps && descent < limit {
            optimizer.step(&mut objective)?;
            descent += 1;
            x = objective.x()?;
        }
        queries += optimizer.evals();
    }
    let (at, away) = (landscape.limit(&x), on_manifold(&x));
    let end = norm(&landscape.tangent_gradient(&at));
    Ok(Some(Walk {
        // the descent moves Phi(x) a little: it is looked at again
        reached: away <= eps && end <= eps.sqrt() * (1.0 + 1e-3),
        steps: steps + descent,
        perturbed,
        descent,
        queries,
        distance: away,
        slope: end,
        trbar: landscape.trbar(&at),
        x,
    }))
}
