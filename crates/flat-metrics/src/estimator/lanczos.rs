//! Extreme eigenpairs of an operator, such as the sharpness: the largest eigenvalue of the Hessian.

use crate::linalg::{Eigenpair, Krylov, Ritz};
use crate::measured::{Measured, Stop};
use crate::observer::{Observer, Progress};
use crate::operator::{LinearOperator, Meter};
use crate::{Error, Result};
use flat_core::Streams;
use serde::Serialize;

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
    /// The same settings, once their ranges are checked.
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
            return bad("max_matvecs", self.max_matvecs.to_string(), "allow at least one product an eigenpair");
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
///
/// [Ranks](flat_comm::here) share out the batches of each product; the pairs are those of one process.
#[derive(Debug, Clone)]
pub struct Lanczos {
    config: LanczosConfig,
}

/// Extreme eigenpairs.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Eigenpairs {
    /// The largest eigenvalues, in descending order.
    pub top: Vec<Eigenpair>,
    /// The smallest eigenvalues, in ascending order.
    pub bottom: Vec<Eigenpair>,
    /// Times the Krylov space closed and a fresh vector was taken.
    pub restarts: u64,
    /// The settings.
    pub config: LanczosConfig,
    /// Whether every wanted pair met `rel_tol`: the stop is [`Stop::RelTol`].
    pub converged: bool,
}

impl Lanczos {
    /// The method with these settings.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the setting that makes no sense.
    pub fn new(config: LanczosConfig) -> Result<Self> {
        Ok(Self { config: config.validated()? })
    }

    /// Finds the pairs. Costs at most `min(max_matvecs, d)` products. An interruption gives the report of the products
    /// completed.
    ///
    /// # Errors
    /// More pairs wanted than d; a product that is not finite; the operator's own; [`Error::Interrupted`] with fewer than
    /// `top + bottom` products completed.
    pub fn run(
        &self,
        operator: &mut dyn LinearOperator,
        streams: &Streams,
        observer: &mut dyn Observer,
    ) -> Result<Measured<Eigenpairs>> {
        let (meter, ranks) = (Meter::start(operator), flat_comm::here());
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
        let stop = loop {
            let at = |done, within: &Progress, look: Option<Look>| Progress {
                done,
                of: max_matvecs,
                value: look.map(|l| l.range[1]),
                error: look.map(|l| l.residual),
                range: look.map(|l| l.range),
                ..*within
            };
            let mut last = Progress::within(0, 1);
            let product = operator.product_over(&ranks, krylov.current(), &mut |within: &Progress| {
                last = *within;
                observer.observe(&at(krylov.steps() as u64, within, look))
            });
            let remainder = match product {
                Ok(product) => krylov.absorb(product.product)?,
                Err(Error::Interrupted) if krylov.steps() >= wanted => break Stop::Interrupted,
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
                    break if now.residual <= self.config.rel_tol { Stop::RelTol } else { Stop::Rounding };
                }
            }
            if spent {
                break if steps == d { Stop::Dimension } else { Stop::Budget };
            }
            if observer.observe(&at(steps as u64, &last.ended(), look)).is_break() {
                match steps >= wanted {
                    true => break Stop::Interrupted,
                    false => return Err(Error::Interrupted),
                }
            }
            krylov.extend(remainder, &space, streams)?;
        };
        let ritz = krylov.ritz()?;
        let n = ritz.len();
        let pairs = |which: &mut dyn Iterator<Item = usize>| -> Result<Vec<Eigenpair>> {
            which.map(|i| krylov.pair(&ritz[i], &space)).collect()
        };
        let result = Eigenpairs {
            top: pairs(&mut (n - self.config.top..n).rev())?,
            bottom: pairs(&mut (0..self.config.bottom))?,
            restarts: krylov.restarts,
            config: self.config.clone(),
            converged: stop == Stop::RelTol,
        };
        Ok(meter.measured(operator, Some(streams), stop, result))
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
