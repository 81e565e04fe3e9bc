//! Base optimizers: what to do with a (surrogate) gradient.

mod adamw;
mod sgd;

pub use adamw::{AdamW, AdamWConfig};
pub use sgd::{Sgd, SgdConfig};

use crate::error::names;
use crate::{Error, Masks, Result, Stateful};
use flat_core::{ParamVec, Space};
use std::fmt;
use std::str::FromStr;

/// Turns a gradient into an update of theta.
pub trait BaseOptimizer: Stateful + Send {
    /// Name, as in [`BaseKind`].
    fn name(&self) -> &'static str;

    /// `theta <- theta - lr * direction(grad)`, weight decay included, in place. `masks` hold what differs between
    /// parameters.
    ///
    /// # Errors
    /// candle's.
    fn apply(&mut self, theta: &mut ParamVec, grad: ParamVec, lr: f64, masks: &Masks) -> Result<()>;
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

/// `theta <- theta (1 - lr lr_scale weight_decay)`, element by element.
fn decay(theta: &mut ParamVec, lr: f64, weight_decay: f64, masks: &Masks) -> Result<()> {
    match &masks.decoupled_decay {
        None if weight_decay == 0.0 => Ok(()),
        None => Ok(theta.scale(1.0 - lr * weight_decay)?),
        Some(rate) => {
            let before = theta.duplicate()?;
            Ok(theta.add_product(-lr, rate, &before)?)
        }
    }
}

/// `theta <- theta - lr lr_scale direction`, element by element.
fn descend(theta: &mut ParamVec, direction: &ParamVec, lr: f64, masks: &Masks) -> Result<()> {
    match &masks.lr_scale {
        None => Ok(theta.add_scaled(-lr, direction)?),
        Some(scale) => Ok(theta.add_product(-lr, scale, direction)?),
    }
}
