//! Exponential moving average of the weights.

use crate::error::within;
use crate::{Result, StateVisitor, Stateful};
use flat_core::setting::Range;
use flat_core::{Number, ParamVec, Params, Restore, Space, Update};

/// Averages theta over the steps: `average <- decay average + (1 - decay) theta`, starting from the first theta that it
/// is given.
///
/// BatchNorm's running statistics are not parameters and are not averaged: refresh them before judging an averaged
/// network that has them.
///
/// B. T. Polyak, A. B. Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 1992.
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    average: ParamVec,
    updates: u64,
}

impl Ema {
    /// An average that has seen nothing.
    ///
    /// # Errors
    /// A decay outside [0, 1); candle's.
    pub fn new(decay: f64, space: &Space) -> Result<Self> {
        within("ema", decay, Range::BelowOne)?;
        Ok(Self { decay, average: ParamVec::zeros(space)?, updates: 0 })
    }

    /// Takes in the parameters after a step. One pass.
    ///
    /// # Errors
    /// Another layout; candle's.
    pub fn update(&mut self, params: &Params) -> Result<()> {
        if self.updates == 0 {
            self.average = params.read()?;
        } else {
            params.update([], [&mut self.average], |_| Average { decay: self.decay })?;
        }
        self.updates += 1;
        Ok(())
    }

    /// The average; `None` before the first update.
    pub fn average(&self) -> Option<&ParamVec> {
        (self.updates > 0).then_some(&self.average)
    }

    /// Runs `evaluate` with the average in the variables, and puts the parameters back bit for bit: on success, error
    /// and panic. Before the first update the average is the parameters themselves.
    ///
    /// # Errors
    /// Another layout, candle's, and whatever `evaluate` returns.
    pub fn with_averaged<T, E: From<crate::Error>>(
        &self,
        params: &Params,
        evaluate: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let Some(average) = self.average() else { return evaluate() };
        let theta = params.read().map_err(crate::Error::from)?;
        let guard = Restore::replace(params, &theta, average).map_err(crate::Error::from)?;
        let out = evaluate()?;
        guard.finish().map_err(crate::Error::from)?;
        Ok(out)
    }
}

/// The recurrence of [`Ema`]; the weights stay as they are.
struct Average {
    decay: f64,
}

impl Update<0, 1> for Average {
    #[inline(always)]
    fn update<E: Number>(&self, x: E, _: [E; 0], [average]: [E; 1]) -> (E, [E; 1]) {
        (x.clone(), [average * self.decay + x * (1.0 - self.decay)])
    }
}

impl Stateful for Ema {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.count("updates", &mut self.updates)?;
        visitor.vector("average", &mut self.average)
    }
}
