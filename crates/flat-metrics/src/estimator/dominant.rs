//! The dominant subspace: the eigenvectors of an operator's k largest eigenvalues, followed while the operator changes.

mod projection;

use self::projection::Projection;
use crate::linalg::{Eigenpair, check_memory};
use crate::measured::{Measured, Stop};
use crate::observer::{Observer, Progress};
use crate::operator::{LinearOperator, Meter};
use crate::{Error, Result};
use flat_core::{ParamVec, Streams};
use serde::Serialize;

/// Settings of [`DominantSubspace`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DominantConfig {
    /// Dimension of the subspace, at least 1.
    pub k: usize,
    /// Vectors kept from one point to the next beside the k + 1 wanted ones: they catch an eigenvalue on its way up.
    pub extra: usize,
    /// Most operator products at one point, at least `k + extra + 2`.
    pub max_matvecs: u64,
    /// A vector is accepted once its residual is at most this fraction of the largest eigenvalue in size.
    pub rel_tol: f64,
}

impl DominantConfig {
    /// Settings for k dimensions: residuals of 1e-3 of the largest eigenvalue, 2 extra vectors, at most 500 products
    /// at a point.
    pub fn of(k: usize) -> Self {
        Self { k, extra: 2, max_matvecs: 500, rel_tol: 1e-3 }
    }

    /// The same settings, once their ranges are checked.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the field.
    pub fn validated(self) -> Result<Self> {
        let bad = |field, value: String, remedy| Err(Error::BadConfig { field, value, remedy });
        if self.k == 0 {
            return bad("k", "0".into(), "a subspace has at least one dimension");
        }
        let least = self.k.saturating_add(self.extra).saturating_add(2) as u64;
        if self.max_matvecs < least {
            return bad("max_matvecs", self.max_matvecs.to_string(), "allow at least k + extra + 2 products");
        }
        if !(self.rel_tol.is_finite() && self.rel_tol > 0.0) {
            return bad("rel_tol", self.rel_tol.to_string(), "give a positive fraction, such as 1e-3");
        }
        Ok(self)
    }
}

/// The eigenvectors of the k largest eigenvalues of an operator that changes little between calls. Largest means by
/// value, not by magnitude.
///
/// A call begins with the vectors that the last one ended with (a random block at first) and one fresh random vector. The
/// operator is projected on their span; the Ritz pair that is farthest from done adds its residual to the span, one product
/// at a time, until all are done (Davidson 1975, "The Iterative Calculation of a Few of the Lowest Eigenvalues and
/// Corresponding Eigenvectors of Large Real-Symmetric Matrices", without a preconditioner). From one vector that is Lanczos'
/// method; from a block it is Lanczos' method that keeps what is known. Where the span grows beyond four blocks, it is cut
/// back to its best Ritz vectors, which costs no product.
///
/// The pair k + 1 is found too, to ten times the tolerance: [`Dominant::gap`] is `lambda_k - lambda_(k+1)`. By Davis and
/// Kahan (1970), "The Rotation of Eigenvectors by a Perturbation III", the projector errs by at most about the residuals
/// over this gap. Where the gap vanishes the subspace is not unique.
///
/// **Multiplicity.** A block of random vectors has a part in every direction of an eigenspace, so a multiple eigenvalue is
/// found as often as the block has room, unlike in [`crate::Lanczos`].
///
/// **What the kept vectors lack.** Where the operator moves, residuals lead to what comes up. The fresh vector is for a direction
/// to which they have no part at all: the call goes on while a Ritz pair beyond k could reach into the subspace by its residual.
/// Where d is large a random vector hardly shows one direction, and of several new copies of an eigenvalue it shows one: after a
/// leap, begin from nothing ([`Self::take`]). As with any method that sees products alone, small residuals are no proof that
/// nothing larger exists.
///
/// Cost: at most `max_matvecs` products, `8 m d` multiplications a product with m vectors in the span, and `2 m + k` vectors
/// of d numbers, m at most `4 (k + extra + 1)`.
///
/// ```
/// use flat_core::Streams;
/// use flat_metrics::{Dense, DominantConfig, DominantSubspace, Silent};
/// # fn main() -> flat_metrics::Result<()> {
/// let matrix = |shift: f64| Dense::from_fn(50, |i, j| if i == j { 1.0 / (i as f64 + 1.0) } else { shift });
/// let mut subspace = DominantSubspace::new(DominantConfig::of(2))?;
/// let first = subspace.run(&mut matrix(0.0)?, &Streams::new(0), 0, &mut Silent)?;
/// assert!((first.gap.expect("50 > 2") - (1.0 / 2.0 - 1.0 / 3.0)).abs() < 1e-3);
/// let second = subspace.run(&mut matrix(1e-5)?, &Streams::new(0), 1, &mut Silent)?;
/// assert!(second.effort.matvecs < first.effort.matvecs);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DominantSubspace {
    config: DominantConfig,
    block: Vec<ParamVec>,
}

/// The dominant subspace at one point. Serializes without the vectors.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Dominant {
    /// The k largest eigenvalues in descending order with orthonormal eigenvectors.
    pub pairs: Vec<Eigenpair>,
    /// The eigenvalue k + 1; `None` where the operator has k alone.
    pub next: Option<f64>,
    /// `lambda_k - lambda_(k+1)`: about 0 for a tie, where the subspace is not unique; `None` as `next`.
    pub gap: Option<f64>,
    /// Norm of the largest residual of the k pairs.
    pub residual: f64,
    /// Whether it began with the vectors of another point.
    pub warm: bool,
    /// The settings.
    pub config: DominantConfig,
    /// Whether every wanted pair met `rel_tol`: the stop is [`Stop::RelTol`].
    pub converged: bool,
}

/// The tolerance of the pair k + 1, of which only the value is used, in those of the others.
const LOOSER: f64 = 10.0;

impl DominantSubspace {
    /// The method with these settings, with nothing kept yet.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the setting that makes no sense.
    pub fn new(config: DominantConfig) -> Result<Self> {
        Ok(Self { config: config.validated()?, block: Vec::new() })
    }

    /// The settings.
    pub fn config(&self) -> &DominantConfig {
        &self.config
    }

    /// The vectors that the next call begins with: `min(k + extra + 1, d)` after a call, the first k of which span the
    /// subspace; none before.
    pub fn block(&self) -> &[ParamVec] {
        &self.block
    }

    /// The kept vectors, away from here: the next call begins anew.
    pub fn take(&mut self) -> Vec<ParamVec> {
        std::mem::take(&mut self.block)
    }

    /// Takes vectors for the next call to begin with, such as those that [`Self::block`] gave to be saved.
    pub fn begin_with(&mut self, block: Vec<ParamVec>) {
        self.block = block;
    }

    /// Finds the subspace of `operator`. Random vectors come from `streams` and `index`, which should be another one at each
    /// point; the result depends on these, the operator and [`Self::block`] alone.
    ///
    /// # Errors
    /// k above d; vectors that do not fit in memory; a product that is not finite; the operator's own;
    /// [`Error::Interrupted`]. The kept vectors then stay as they were.
    pub fn run(
        &mut self,
        operator: &mut dyn LinearOperator,
        streams: &Streams,
        index: u64,
        observer: &mut dyn Observer,
    ) -> Result<Measured<Dominant>> {
        let meter = Meter::start(operator);
        let space = operator.space().clone();
        let (k, d) = (self.config.k, space.layout.len());
        if k > d {
            return Err(Error::BadConfig {
                field: "k",
                value: format!("{k} for d = {d}"),
                remedy: "ask for at most as many dimensions as there are parameters",
            });
        }
        let block = (k + self.config.extra + 1).min(d);
        let most = (4 * block).min(d).max(block + 1);
        check_memory(&space, (2 * most + block) as u64)?;
        let warm = !self.block.is_empty();
        let mut projection = Projection::new(&space);
        let mut random = 0;
        for v in &self.block {
            self.product(&mut projection, v.duplicate()?, operator, observer)?;
        }
        // in a small space a random vector may add nothing; d more of them surely do
        while projection.len() < (block + usize::from(warm)).min(d) && random < 2 * d as u64 {
            let v = projection::random(&space, streams, index, random)?;
            self.product(&mut projection, v, operator, observer)?;
            random += 1;
        }
        let stop = loop {
            projection.solve();
            match self.next(&projection)? {
                Next::Done(stop) => break stop,
                Next::Add(_) if projection.products() >= self.config.max_matvecs => break Stop::Budget,
                Next::Add(residual) => {
                    if projection.len() >= most && most < d {
                        projection.cut(block)?;
                    }
                    if !self.product(&mut projection, residual, operator, observer)? {
                        break Stop::Rounding;
                    }
                }
            }
        };
        let wanted = (0..k).map(|i| projection.pair(i)).collect::<Result<Vec<_>>>()?;
        let next = projection.value(k);
        let result = Dominant {
            gap: next.map(|next| wanted[k - 1].value - next),
            next,
            residual: wanted.iter().map(|p| p.residual).fold(0.0, f64::max),
            pairs: wanted,
            warm,
            config: self.config.clone(),
            converged: stop == Stop::RelTol,
        };
        projection.cut(block)?;
        self.block = projection.into_vectors();
        Ok(meter.measured(operator, Some(streams), stop, result))
    }

    /// Adds the direction of a vector to the projection, at one product; says whether it had one of its own.
    fn product(
        &self,
        projection: &mut Projection,
        v: ParamVec,
        operator: &mut dyn LinearOperator,
        observer: &mut dyn Observer,
    ) -> Result<bool> {
        let (done, of) = (projection.products(), self.config.max_matvecs);
        let value = projection.value(0);
        projection.add(v, |q| {
            let at = |within: &Progress| Progress { done, of, value, ..*within };
            Ok(operator.product(q, &mut |within: &Progress| observer.observe(&at(within)))?.product)
        })
    }

    /// What the Ritz pairs still need.
    fn next(&self, projection: &Projection) -> Result<Next> {
        let (k, n) = (self.config.k, projection.len());
        let scale = projection.scale();
        let tolerance = |i: usize| self.config.rel_tol * scale * if i < k { 1.0 } else { LOOSER };
        let wanted = (k + 1).min(n);
        // what the estimates of residuals cannot tell from nothing
        let blind = 4.0 * projection.epsilon().sqrt() * scale;
        let worst = (0..wanted).map(|i| (projection.estimate(i) / tolerance(i), i)).max_by(|x, y| x.0.total_cmp(&y.0));
        if let Some((_, i)) = worst.filter(|&(ratio, i)| ratio > 1.0 && projection.estimate(i) > blind) {
            return Ok(Next::Add(projection.residual(i)?));
        }
        let mut farthest: Option<(f64, ParamVec)> = None;
        for i in 0..wanted {
            let residual = projection.residual(i)?;
            let ratio = residual.norm()? / tolerance(i);
            if ratio > 1.0 && farthest.as_ref().is_none_or(|(most, _)| ratio > *most) {
                farthest = Some((ratio, residual));
            }
        }
        if let Some((ratio, residual)) = farthest {
            let noise = 8.0 * projection.epsilon() * scale;
            let hidden = ratio * tolerance(0) <= noise;
            return Ok(if hidden { Next::Done(Stop::Rounding) } else { Next::Add(residual) });
        }
        let bound = projection.value(k - 1).unwrap_or(0.0) + tolerance(0).max(blind);
        let reaching = (wanted..n).find(|&i| projection.value(i).unwrap_or(0.0) + projection.estimate(i) > bound);
        match reaching {
            Some(i) => Ok(Next::Add(projection.residual(i)?)),
            None => Ok(Next::Done(Stop::RelTol)),
        }
    }
}

/// What comes next.
enum Next {
    /// This direction.
    Add(ParamVec),
    /// Nothing.
    Done(Stop),
}
