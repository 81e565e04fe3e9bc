//! Averages of the weights over a run.

use crate::error::within;
use crate::{Error, Result, StateVisitor, Stateful};
use flat_core::setting::Range;
use flat_core::{Number, ParamVec, Params, Restore, Space, Update};

/// The kind of average that a run keeps of its weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Averaging {
    /// Exponential moving average (EMA): `average <- decay average + (1 - decay) theta` after every step, starting from the first
    /// theta.
    ///
    /// B. T. Polyak, A. B. Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 1992.
    Exponential {
        /// In [0, 1).
        decay: f64,
    },
    /// Stochastic weight averaging (SWA): the equal mean of theta after `start` steps and after every `every` further ones.
    /// Before `start` there is no average, and theta itself is evaluated.
    ///
    /// P. Izmailov, D. Podoprikhin, T. Garipov, D. Vetrov, A. G. Wilson, "Averaging Weights Leads to Wider Optima and Better
    /// Generalization", UAI 2018, arXiv 1803.05407, Algorithm 1. As in the authors' code, the first weights are those at `start`
    /// itself. Their high constant or cyclical learning rate is the schedule's affair.
    Equal {
        /// Steps before the first weights; 0 for the first after `every` steps.
        start: u64,
        /// Steps from one to the next, at least 1.
        every: u64,
    },
}

impl Averaging {
    /// What its state is called in a checkpoint.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exponential { .. } => "ema",
            Self::Equal { .. } => "swa",
        }
    }

    /// Whether the weights after so many steps belong to it.
    pub fn takes(self, steps: u64) -> bool {
        match self {
            Self::Exponential { .. } => true,
            Self::Equal { start, every } => {
                steps > 0 && steps.checked_sub(start).is_some_and(|since| since.is_multiple_of(every))
            }
        }
    }
}

/// An average of theta over steps.
///
/// Over a base that evaluates elsewhere ([`crate::BaseOptimizer::offset`]) that point is averaged in place of theta.
///
/// BatchNorm's running statistics are not parameters and are not averaged: refresh them before judging an averaged
/// network that has them.
#[derive(Debug)]
pub struct Average {
    averaging: Averaging,
    average: ParamVec,
    updates: u64,
}

impl Average {
    /// An average that has seen nothing.
    ///
    /// # Errors
    /// A decay outside [0, 1); no steps from one to the next; candle's.
    pub fn new(averaging: Averaging, space: &Space) -> Result<Self> {
        match averaging {
            Averaging::Exponential { decay } => drop(within("ema", decay, Range::BelowOne)?),
            Averaging::Equal { every: 0, .. } => {
                return Err(Error::option("swa-every", 0, "must be at least 1 step"));
            }
            Averaging::Equal { .. } => {}
        }
        Ok(Self { averaging, average: ParamVec::zeros(space)?, updates: 0 })
    }

    /// Which weights it averages.
    pub fn averaging(&self) -> Averaging {
        self.averaging
    }

    /// Takes in the parameters, less `offset` where there is one. One pass.
    ///
    /// # Errors
    /// Another layout; candle's.
    pub fn update(&mut self, params: &Params, offset: Option<&ParamVec>) -> Result<()> {
        let seen = self.updates as f64;
        let mix = match self.averaging {
            Averaging::Exponential { decay } => Mix { keep: decay, gain: 1.0 - decay },
            Averaging::Equal { .. } => Mix { keep: seen / (seen + 1.0), gain: 1.0 / (seen + 1.0) },
        };
        match (self.updates, offset) {
            (0, None) => self.average = params.read()?,
            (0, Some(offset)) => self.average = params.read()?.plus(-1.0, offset)?,
            (_, None) => params.update([], [&mut self.average], |_| mix)?,
            (_, Some(offset)) => params.update([offset], [&mut self.average], |_| mix)?,
        }
        self.updates += 1;
        Ok(())
    }

    /// The average; `None` before the first update.
    pub fn average(&self) -> Option<&ParamVec> {
        (self.updates > 0).then_some(&self.average)
    }
}

/// Runs `evaluate` with `point` in the variables, and puts the parameters back bit for bit: on success, error and panic.
pub(crate) fn at_point<T, E: From<Error>>(
    point: &ParamVec,
    params: &Params,
    evaluate: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let theta = params.read().map_err(Error::from)?;
    let guard = Restore::replace(params, &theta, point).map_err(Error::from)?;
    let out = evaluate()?;
    guard.finish().map_err(Error::from)?;
    Ok(out)
}

/// `average <- keep average + gain theta`; the weights stay as they are.
#[derive(Clone, Copy)]
struct Mix {
    keep: f64,
    gain: f64,
}

impl Update<0, 1> for Mix {
    #[inline(always)]
    fn update<E: Number>(&self, x: E, _: [E; 0], [average]: [E; 1]) -> (E, [E; 1]) {
        (x.clone(), [average * self.keep + x * self.gain])
    }
}

impl Update<1, 1> for Mix {
    #[inline(always)]
    fn update<E: Number>(&self, x: E, [offset]: [E; 1], [average]: [E; 1]) -> (E, [E; 1]) {
        (x.clone(), [average * self.keep + (x - offset) * self.gain])
    }
}

impl Stateful for Average {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.count("updates", &mut self.updates)?;
        visitor.vector("average", &mut self.average)
    }
}
