//! Base optimizers: what to do with a (surrogate) gradient.

mod adamw;
mod sgd;

pub use adamw::{AdamW, AdamWConfig};
pub use sgd::{Sgd, SgdConfig};

use crate::error::names;
use crate::{Error, Masks, Result, Stateful};
use flat_core::{ParamVec, Params, Space};
use std::fmt;
use std::str::FromStr;

/// Turns a gradient into an update of theta.
pub trait BaseOptimizer: Stateful + Send {
    /// Name, as in [`BaseKind`].
    fn name(&self) -> &'static str;

    /// `theta <- theta - lr * direction(grad)`, weight decay included, in the variables themselves: a recurrence over
    /// elements in one pass ([`Params::update`]), or algebra on vectors between [`Params::read`] and [`Params::write`].
    /// `masks` hold what differs between parameters.
    ///
    /// # Errors
    /// candle's.
    fn apply(&mut self, params: &Params, grad: ParamVec, lr: f64, masks: &Masks) -> Result<()>;
}

/// The base optimizers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BaseKind {
    /// `sgd`, [`Sgd`].
    Sgd,
    /// `adamw`, [`AdamW`].
    AdamW,
}

impl BaseKind {
    /// Every base optimizer.
    pub const ALL: [Self; 2] = [Self::Sgd, Self::AdamW];

    /// The name that [`FromStr`] accepts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::AdamW => "adamw",
        }
    }
}

impl fmt::Display for BaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for BaseKind {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|k| k.name() == name)
            .ok_or_else(|| Error::option("base", name, format!("known base optimizers: {}", names(Self::ALL))))
    }
}

/// A base optimizer with its options.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum BaseConfig {
    /// Stochastic gradient descent.
    Sgd(SgdConfig),
    /// Adam with decoupled weight decay.
    AdamW(AdamWConfig),
}

impl BaseConfig {
    /// The name.
    pub fn kind(&self) -> BaseKind {
        match self {
            Self::Sgd(_) => BaseKind::Sgd,
            Self::AdamW(_) => BaseKind::AdamW,
        }
    }

    /// The weight decay of parameters that no group says otherwise of.
    pub fn weight_decay(&self) -> f64 {
        match self {
            Self::Sgd(c) => c.weight_decay,
            Self::AdamW(c) => c.weight_decay,
        }
    }

    /// The optimizer, with buffers for the parameters of `space`.
    ///
    /// # Errors
    /// [`Error::BadOption`] naming the option; candle's.
    pub fn build(self, space: &Space) -> Result<Box<dyn BaseOptimizer>> {
        Ok(match self {
            Self::Sgd(c) => Box::new(c.build(space)?),
            Self::AdamW(c) => Box::new(c.build(space)?),
        })
    }
}

impl Default for BaseConfig {
    /// SGD without momentum: the recurrence of the paper.
    fn default() -> Self {
        Self::Sgd(SgdConfig::default())
    }
}

impl From<BaseKind> for BaseConfig {
    /// The base with its default options.
    fn from(kind: BaseKind) -> Self {
        match kind {
            BaseKind::Sgd => Self::Sgd(SgdConfig::default()),
            BaseKind::AdamW => Self::AdamW(AdamWConfig::default()),
        }
    }
}
