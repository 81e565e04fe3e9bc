//! Hutch++: the trace of the dominant part exactly, of the rest by probes.

use super::config::TraceConfig;
use super::sampling::Draw;
use super::sketch::{self, Forms, Steps, scale_of_projected};
use super::trace::{Parts, Trace};
use crate::linalg::{Basis, check_memory};
use crate::measured::{Measured, Stop};
use crate::observer::Observer;
use crate::operator::{LinearOperator, Product};
use crate::statistics::{Clusters, Moments};
use crate::{Error, Result};
use flat_core::{Purpose, Streams};

/// Hutch++ (Meyer, Musco, Musco, Woodruff 2021, arXiv 2010.09649): with Q an orthonormal basis of `A S` for k random
/// probes S,
///
/// ```text
/// tr A = tr(Q^T A Q) + tr((I - Q Q^T) A (I - Q Q^T))
/// ```
///
/// the first exactly by k products and the second by Hutchinson's estimator with the remaining probes, projected. Of the
/// `max_probes` products a third each goes to `A S`, `A Q` and the probes. The relative error falls as 1/products for a
/// positive semi-definite operator, where Hutchinson's falls as 1/sqrt(products): better the faster the spectrum decays.
///
/// Given Q the projected probes are independent and unbiased, so the interval is Student's over them, as honest as
/// Hutchinson's. Over 2,000 seeds on three spectra it covered in 91 to 92 % of the runs with 10 products (4 projected
/// probes, of a skewed distribution), 92 to 95 % with 30, 95 % with 64. With rotation-invariant probes the projected ones are brought to their mean length, which takes out the noise of it.
///
/// The layers' traces come from the same products and sum to the total. Memory: `max_probes / 3 + 4` vectors of d
/// numbers; more than 8 GiB of them is an error.
///
/// [Ranks](flat_comm::here) share out the batches of each product; the estimate is that of one process.
#[derive(Debug, Clone)]
pub struct HutchPlusPlus {
    config: TraceConfig,
}

impl HutchPlusPlus {
    /// An estimator that spends `config.max_probes` products, at least 4.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the setting that makes no sense, `rel_tol` among them.
    pub fn new(config: TraceConfig) -> Result<Self> {
        Ok(Self { config: config.of_sketch(4)? })
    }

    /// Estimates the trace. Costs `max_probes` products, fewer where `A S` has a smaller rank, and about
    /// `(2/3) max_probes^2 d` multiplications.
    /// An interruption ends the run with the projected probes completed, two at least, and before these with
    /// [`crate::Hutchinson`]'s estimate from the products `A S` completed.
    ///
    /// # Errors
    /// More probes than dimensions; [`Error::TooManyVectors`]; what is not finite; the operator's own;
    /// [`Error::Interrupted`] if no product was completed.
    pub fn run(
        &self,
        operator: &mut dyn LinearOperator,
        streams: &Streams,
        observer: &mut dyn Observer,
    ) -> Result<Measured<Trace>> {
        let what = (&self.config, self.config.max_probes, "hutchinson (hutch++ interrupted)");
        sketch::run(operator, what, streams, observer, |operator, steps, forms| {
            self.sketch(operator, streams, steps, forms)
        })
    }

    fn sketch(
        &self,
        operator: &mut dyn LinearOperator,
        streams: &Streams,
        steps: &mut Steps<'_>,
        forms: &mut Forms,
    ) -> Result<(Parts, Stop)> {
        let (before, space) = (operator.matvecs(), operator.space().clone());
        let (k, d) = (self.config.max_probes / 3, space.layout.len());
        if k > d as u64 {
            return Err(Error::BadConfig {
                field: "max_probes",
                value: self.config.max_probes.to_string(),
                remedy: "more than 3 products a dimension: exact_trace takes one",
            });
        }
        check_memory(&space, k + 4)?;
        let draw = |j| self.config.probe.draw(&space, &streams.at(Purpose::Probe, j));
        let mut basis = Basis::new(&space);
        let at_once = operator.products_at_once();
        for start in (0..k).step_by(at_once) {
            let probes = (start..k.min(start + at_once as u64)).map(draw).collect::<Result<Vec<_>>>()?;
            let found = steps.products(operator, &probes)?;
            for ((z, found), j) in probes.iter().zip(found).zip(start..) {
                forms.push(z, &found, j)?;
                basis.push(found.product)?;
            }
        }
        let entries = space.layout.entries().len();
        let (mut exact, mut clusters) = (vec![0.0; entries], Clusters::default());
        for (block, start) in basis.vectors().chunks(at_once).zip((0..).step_by(at_once)) {
            let found = steps.products(operator, block)?;
            for ((q, Product { product, batches }), j) in block.iter().zip(found).zip(start..) {
                clusters.add(&batches);
                let part = Draw::quadratic(q, &product, 1.0, batches, j)?;
                exact.iter_mut().zip(part.layers).for_each(|(sum, x)| *sum += x);
            }
        }
        let (mut total, mut layers) = (Moments::default(), vec![Moments::default(); entries]);
        let mut stop = Stop::Budget;
        let rest = k..self.config.max_probes - k;
        for start in rest.clone().step_by(at_once) {
            let outside = |j| {
                let mut g = draw(j)?;
                basis.reject(&mut g)?;
                Ok(g)
            };
            let probes = (start..rest.end.min(start + at_once as u64)).map(outside).collect::<Result<Vec<_>>>()?;
            let found = match steps.products(operator, &probes) {
                Err(Error::Interrupted) if total.count() >= 2 => {
                    stop = Stop::Interrupted;
                    break;
                }
                found => found?,
            };
            for ((g, Product { product, batches }), j) in probes.iter().zip(found).zip(start..) {
                let scale = scale_of_projected(self.config.probe, g.dot(g)?, d - basis.len());
                let part = Draw::quadratic(g, &product, scale, batches, j)?;
                total.push(part.total);
                layers.iter_mut().zip(&part.layers).for_each(|(m, x)| m.push(*x));
                clusters.push(&part.batches, 1.0);
            }
        }
        let matvecs = operator.matvecs() - before;
        let estimate = |m: &Moments, exact: f64| Ok(m.estimate(self.config.t_level(), matvecs)?.shifted(exact));
        let parts = Parts {
            estimator: "hutch++",
            trace: estimate(&total, exact.iter().sum())?,
            layers: layers.iter().zip(&exact).map(|(m, x)| estimate(m, *x)).collect::<Result<_>>()?,
            clusters,
            leave_one_out: None,
            radius: None,
        };
        Ok((parts, stop))
    }
}
