//! Extreme eigenpairs of an operator, such as the sharpness: the largest eigenvalue of the Hessian.

use crate::krylov::{Krylov, Ritz};
use crate::{Error, LinearOperator, Result, Tick};
use flat_core::{ParamVec, Streams};
use serde::Serialize;
use std::ops::ControlFlow;
use std::time::Instant;

/// Settings of [`Lanczos`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LanczosConfig {
    /// Pairs wanted at the upper end of the spectrum.
    pub top: usize,
    /// Pairs wanted at the lower end.
    pub bottom: usize,
    /// Most operator products, at least `top + bottom`; never more than d are spent.
    pub max_matvecs: u64,
    /// A pair is accepted once its residual is at most this fraction of the largest Ritz value in size.
    pub rel_tol: f64,
}

impl Default for LanczosConfig {
    /// Five pairs at the top and one at the bottom, to 1e-6 of the largest, with at most 200 products.
    fn default() -> Self {
        Self { top: 5, bottom: 1, max_matvecs: 200, rel_tol: 1e-6 }
    }
}

impl LanczosConfig {
    /// The same settings, if they make sense.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the field.
    pub fn validated(self) -> Result<Self> {
        let bad = |field, value: String, remedy| Err(Error::BadConfig { field, value, remedy });
        let wanted = self.top.saturating_add(self.bottom);
        if wanted == 0 {
            return bad("top + bottom", "0".into(), "ask for at least one eigenpair");
        }
        if self.max_matvecs < wanted as u64 {
            return bad("max_matvecs", self.max_matvecs.to_string(), "allow at least top + bottom products");
        }
        if !(self.rel_tol.is_finite() && self.rel_tol > 0.0) {
            return bad("rel_tol", self.rel_tol.to_string(), "give a positive fraction, such as 1e-6");
        }
        Ok(self)
    }
}

/// Lanczos' method with full reorthogonalisation (Lanczos 1950, "An Iteration Method for the Solution of the Eigenvalue
/// Problem of Linear Differential and Integral Operators").
///
/// m products build an orthonormal basis Q of the Krylov space of a random start vector, in which the operator is a
/// tridiagonal matrix T. The eigenvalues of T (Ritz values) approach those of A from inside, the extreme and well
/// separated ones first; an eigenpair (theta, s) of T gives the pair (theta, Q s) of A with the residual
/// `beta_m |s_m|`, and some eigenvalue of A is within the residual of theta.
///
/// Every new vector is orthogonalised twice against all before it, so that rounding makes no spurious copies. Beside the
/// m products this takes about `4 m^2 d` multiplications and holds m + 2 vectors of d numbers: 200 products on a million
/// f32 parameters keep 0.8 GB.
///
/// **Multiplicity.** The Krylov space of one vector holds one vector of each eigenspace, so a multiple eigenvalue is
/// found once, the rest of its eigenspace being out of reach. Where the space closes (`beta` vanishes: few distinct
/// eigenvalues), the iteration goes on with a fresh random vector orthogonal to all before, and ends only when what it
/// finds there does not belong among the wanted pairs: then multiple eigenvalues are reported as often as they occur.
/// Where the wanted pairs converge before it closes, a multiple eigenvalue is reported once. As with any method that sees
/// products alone, a residual proves that an eigenvalue is near, not that none beyond it was missed.
///
/// The start vector is uniform on the sphere, which almost surely has a part in every eigenspace; signs may be
/// orthogonal to one. It is drawn from the stream (seed, probe, 2^64 - 1), those after restarts from the indices below:
/// [`crate::Hutchinson`] counts its probes from 0, so a trace and a spectrum of one seed never share a vector, however
/// many probes there are.
#[derive(Debug, Clone)]
pub struct Lanczos {
    config: LanczosConfig,
}

/// An approximate eigenvalue and eigenvector. Serializes without the vector.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Eigenpair {
    /// The Ritz value lambda.
    pub value: f64,
    /// `||A v - lambda v||` from the recurrence: `beta_m |s_m|`, joined with what rounding or asymmetry of the operator
    /// put outside the tridiagonal matrix. Some eigenvalue of A is at most this far from `value`, up to the rounding of the
    /// vectors themselves (machine precision times the norm of A).
    pub residual: f64,
    /// The Ritz vector v, of norm 1; its sign is arbitrary.
    #[serde(skip)]
    pub vector: ParamVec,
}

/// How far [`Lanczos`] has come; given to its callback before every batch and after every product.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct EigenProgress {
    /// Products completed.
    pub matvecs: u64,
    /// Most products there will be.
    pub max_matvecs: u64,
    /// Position within the current product.
    pub tick: Tick,
    /// Largest Ritz value at the last look; `None` before the first, at `top + bottom` products.
    pub top: Option<f64>,
    /// Smallest Ritz value at the last look.
    pub bottom: Option<f64>,
    /// Largest residual among the wanted pairs at the last look, relative to the largest Ritz value in size.
    pub residual: Option<f64>,
    /// Seconds since the start.
    pub wall_s: f64,
}

/// Why the iteration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EigenStop {
    /// Every wanted pair is as accurate as `rel_tol` asks.
    RelTol,
    /// The operator's own rounding or asymmetry is above `rel_tol` and all that is left of the residuals: more products
    /// cannot help. Measure in f64, or with a larger `rel_tol`.
    Rounding,
    /// All d dimensions are used up, with residuals above `rel_tol`.
    Dimension,
    /// All `max_matvecs` were spent.
    Budget,
    /// The callback asked to stop; the report covers the products completed.
    Interrupted,
}

/// Eigenpairs, and what they were computed on.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct EigenReport {
    /// The largest eigenvalues, in descending order.
    pub top: Vec<Eigenpair>,
    /// The smallest eigenvalues, in ascending order.
    pub bottom: Vec<Eigenpair>,
    /// Operator products spent.
    pub matvecs: u64,
    /// Times the Krylov space closed and a fresh vector was taken.
    pub restarts: u64,
    /// d, the number of trainable parameters.
    pub dim: usize,
    /// Kind of operator and how it was evaluated.
    pub operator: String,
    /// Examples that the loss averages over; `None` for a matrix given as such.
    pub examples: Option<usize>,
    /// Batches these were taken in.
    pub batches: Option<usize>,
    /// BatchNorm mode, where known.
    pub bn_mode: Option<String>,
    /// Element type, `f32` or `f64`.
    pub dtype: String,
    /// Seed of the start vector.
    pub seed: u64,
    /// The settings.
    pub config: LanczosConfig,
    /// Whether every wanted pair met `rel_tol`: `stopped_by` is [`EigenStop::RelTol`].
    pub converged: bool,
    /// Why the iteration ended.
    pub stopped_by: EigenStop,
    /// Seconds spent.
    pub wall_s: f64,
}

impl Lanczos {
    /// The method with these settings.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the setting that makes no sense.
    pub fn new(config: LanczosConfig) -> Result<Self> {
        Ok(Self { config: config.validated()? })
    }

    /// Finds the pairs. Costs at most `min(max_matvecs, d)` products.
    ///
    /// # Errors
    /// More pairs wanted than d; a product that is not finite; the operator's own.
    pub fn run(&self, operator: &mut dyn LinearOperator, streams: &Streams) -> Result<EigenReport> {
        self.run_watched(operator, streams, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`Self::run`], calling `progress` before every batch and after every product. [`ControlFlow::Break`] ends the
    /// run with the report of the products completed. The callback must not use the model, which may be displaced.
    ///
    /// # Errors
    /// As [`Self::run`]; [`Error::Interrupted`] with fewer than `top + bottom` products completed.
    pub fn run_watched(
        &self,
        operator: &mut dyn LinearOperator,
        streams: &Streams,
        progress: &mut dyn FnMut(&EigenProgress) -> ControlFlow<()>,
    ) -> Result<EigenReport> {
        let (start, before) = (Instant::now(), operator.matvecs());
        let space = operator.space().clone();
        let (d, wanted) = (space.layout.len(), self.config.top + self.config.bottom);
        if wanted > d {
            return Err(Error::BadConfig {
                field: "top + bottom",
                value: format!("{wanted} for d = {d}"),
                remedy: "a matrix has d eigenpairs: ask for at most d in all",
            });
        }
        let max_matvecs = self.config.max_matvecs.min(d as u64);
        let mut krylov = Krylov::new(&space, streams)?;
        let (mut look, mut next_look) = (None::<Look>, wanted);
        let stopped_by = loop {
            let at = |matvecs, tick, look: Option<Look>| EigenProgress {
                matvecs,
                max_matvecs,
                tick,
                top: look.map(|l| l.range[1]),
                bottom: look.map(|l| l.range[0]),
                residual: look.map(|l| l.residual),
                wall_s: start.elapsed().as_secs_f64(),
            };
            let mut last = Tick { done: 0, of: 1 };
            let product = operator.apply_watched(krylov.current(), &mut |tick| {
                last = tick;
                progress(&at(krylov.steps() as u64, tick, look))
            });
            let remainder = match product {
                Ok(product) => krylov.absorb(product)?,
                Err(Error::Interrupted) if krylov.steps() >= wanted => break EigenStop::Interrupted,
                Err(e) => return Err(e),
            };
            let steps = krylov.steps();
            let spent = steps as u64 == max_matvecs;
            if steps >= wanted && (steps >= next_look || spent || krylov.closed) {
                let now = self.look(&krylov.ritz()?, &krylov, steps == d);
                // seldom enough that the small eigenproblems stay cheap, at up to 5 % more products
                next_look = steps + (steps / 20).max(1);
                look = Some(now);
                if now.done {
                    break if now.residual <= self.config.rel_tol { EigenStop::RelTol } else { EigenStop::Rounding };
                }
            }
            if spent {
                break if steps == d { EigenStop::Dimension } else { EigenStop::Budget };
            }
            let done = Tick { done: last.of, of: last.of };
            if progress(&at(steps as u64, done, look)).is_break() {
                match steps >= wanted {
                    true => break EigenStop::Interrupted,
                    false => return Err(Error::Interrupted),
                }
            }
            krylov.extend(remainder, &space, streams)?;
        };
        let (ritz, origin) = (krylov.ritz()?, operator.origin());
        let n = ritz.len();
        let pairs = |which: &mut dyn Iterator<Item = usize>| -> Result<Vec<Eigenpair>> {
            which.map(|i| krylov.pair(&ritz[i], &space)).collect()
        };
        Ok(EigenReport {
            top: pairs(&mut (n - self.config.top..n).rev())?,
            bottom: pairs(&mut (0..self.config.bottom))?,
            matvecs: operator.matvecs() - before,
            restarts: krylov.restarts,
            dim: d,
            operator: origin.operator,
            examples: origin.examples,
            batches: origin.batches,
            bn_mode: origin.bn_mode,
            dtype: space.dtype.as_str().into(),
            seed: streams.seed(),
            config: self.config.clone(),
            converged: stopped_by == EigenStop::RelTol,
            stopped_by,
            wall_s: start.elapsed().as_secs_f64(),
        })
    }

    /// Judges the Ritz pairs, given in ascending order.
    fn look(&self, ritz: &[Ritz], krylov: &Krylov, full: bool) -> Look {
        let (n, top, bottom) = (ritz.len(), self.config.top, self.config.bottom);
        let range = [ritz[0].value, ritz[n - 1].value];
        let scale = range[0].abs().max(range[1].abs());
        let tol = self.config.rel_tol * scale;
        let settled = |r: &Ritz| r.coupling <= tol.max(r.noise);
        let wanted = || ritz[..bottom].iter().chain(&ritz[n - top..]);
        let worst = wanted().map(Ritz::residual).fold(0.0, f64::max);
        // beyond the closed spaces there may be further copies: the current space, which explores what is left, must
        // reach no farther than the wanted pairs do
        let exhausted = || {
            let mut here = ritz.iter().filter(|r| r.here);
            let (Some(low), high) = (here.next(), here.next_back()) else { return false };
            let high = high.unwrap_or(low);
            (bottom == 0 || settled(low) && low.value >= ritz[bottom - 1].value - tol)
                && (top == 0 || settled(high) && high.value <= ritz[n - top].value + tol)
        };
        let complete = full || if krylov.restarts == 0 { !krylov.closed } else { exhausted() };
        let residual = if worst == 0.0 { 0.0 } else { worst / scale };
        Look { range, residual, done: complete && wanted().all(settled) }
    }
}

/// The Ritz pairs at one time.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// Smallest and largest Ritz value.
    range: [f64; 2],
    /// Largest residual of the wanted pairs, relative.
    residual: f64,
    /// Nothing is gained by going on.
    done: bool,
}
