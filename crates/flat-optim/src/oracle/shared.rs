//! Averages over parts of the batch that ranks share out.

use super::Oracle;
use crate::team::push;
use crate::{Error, Estimate, Result, Rows, Scalar, Team, Then};
use flat_comm::Growing;
use flat_core::ParamVec;

/// What every rank has to know of the estimate on a part.
const NUMBERS: usize = 7;

impl Oracle<'_> {
    /// The average over parts, each of which one rank alone evaluates: nothing moves between ranks but the sum. What was not finite in
    /// one part is so in the whole, on every rank.
    pub(super) fn average_shared(
        &mut self,
        team: &Team,
        parts: usize,
        each: impl FnMut(&mut Self, u64) -> Result<Estimate>,
    ) -> Result<Estimate> {
        self.objective.set_alone(true);
        let out = self.own_parts(team, parts, each);
        self.objective.set_alone(false);
        out
    }

    #[expect(clippy::disallowed_methods, reason = "other ranks wait for the numbers")]
    fn own_parts(
        &mut self,
        team: &Team,
        parts: usize,
        mut each: impl FnMut(&mut Self, u64) -> Result<Estimate>,
    ) -> Result<Estimate> {
        let all = self.rows();
        let parts = parts.clamp(1, all);
        let tree = flat_comm::Tree::over(parts);
        let own = team.ranks().own(parts);
        let first = own.start;
        let (mut grads, mut beside) = (Growing::from(tree, first), Vec::with_capacity(own.len()));
        let (before, mut numbers) = (self.evals, Vec::with_capacity(own.len() * NUMBERS));
        for index in own {
            let rows = Rows::Shard { index, of: parts };
            let share = rows.share(all)?;
            // counted from 0, so that no rounding depends on the parts before
            self.evals = 0.0;
            let found = self.within(rows, |f| each(f, index as u64));
            let (estimate, finite) = match found {
                Ok(estimate) => (estimate.scaled(share)?, 1.0),
                Err(e) if e.is_non_finite() => {
                    let zeros = ParamVec::zeros(self.space())?;
                    (Estimate::of(f64::NAN.into(), f64::NAN.into(), zeros), 0.0)
                }
                Err(e) => return Err(e),
            };
            let Estimate { grad, loss, grad_norm, perturbed, lr, then } = estimate;
            let direct = if let Then::And(direct) = then { Some(direct) } else { None };
            let [perturbed, apart] = [perturbed, direct.is_some()].map(|flag| f64::from(u8::from(flag)));
            let lr = lr.unwrap_or(f64::NAN);
            numbers.extend([loss.value()?, grad_norm.value()?, self.evals, perturbed, lr, apart, finite]);
            push(&mut grads, grad)?;
            beside.push(direct);
        }
        let numbers = team.ranks().gather(parts, NUMBERS, &numbers)?;
        let column = |at: usize| numbers.iter().skip(at).step_by(NUMBERS).copied();
        self.evals = before + column(2).sum::<f64>();
        if column(6).any(|finite| finite == 0.0) {
            return Err(Error::NonFinite {
                what: "loss or gradient",
                value: f64::NAN,
                place: "in a part of the batch",
            });
        }
        let grad = team.sum(tree, grads, self.space())?;
        let then = match column(5).any(|apart| apart > 0.0) {
            true => {
                let mut sum = Growing::from(tree, first);
                for direct in beside {
                    push(&mut sum, direct.map_or_else(|| ParamVec::zeros(self.space()), Ok)?)?;
                }
                Then::And(team.sum(tree, sum, self.space())?)
            }
            false => Then::Base,
        };
        let rates: Vec<f64> = column(4).collect();
        let same = rates.iter().all(|lr| lr.to_bits() == rates[0].to_bits());
        Ok(Estimate {
            grad,
            loss: Scalar::from(column(0).sum::<f64>()),
            grad_norm: Scalar::from(column(1).sum::<f64>()),
            perturbed: column(3).any(|perturbed| perturbed > 0.0),
            lr: Some(rates[0]).filter(|lr| same && !lr.is_nan()),
            then,
        })
    }
}
