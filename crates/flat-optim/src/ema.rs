//! Exponential moving average of the weights.

use crate::error::below_one;
use crate::{Result, StateVisitor, Stateful};
use flat_core::{ParamVec, Params, Restore, Space};

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
    /// `ema_decay` outside [0, 1); candle's.
    pub fn new(decay: f64, space: &Space) -> Result<Self> {
        below_one("ema_decay", decay)?;
        Ok(Self { decay, average: ParamVec::zeros(space)?, updates: 0 })
    }

    /// Takes in the parameters after a step.
    ///
    /// # Errors
    /// Another layout; candle's.
    pub fn update(&mut self, theta: &ParamVec) -> Result<()> {
        if self.updates == 0 {
            self.average = theta.duplicate()?;
        } else {
            self.average.axpby(self.decay, 1.0 - self.decay, theta)?;
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

impl Stateful for Ema {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.count("updates", &mut self.updates)?;
        visitor.vector("average", &mut self.average)
    }
}
