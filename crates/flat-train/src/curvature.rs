//! The matrix that a measure is taken of: the Hessian or one of its relatives.

use crate::args::{BnModeName, HessianArgs, HvpName, OperatorArgs, OperatorName};
use crate::exit::usage;
use crate::flatness::Which;
use anyhow::Result;
use flat_core::Streams;
use flat_data::Loader;
use flat_metrics::{EmpiricalFisher, GaussNewton, LinearOperator, MonteCarloFisher};
use flat_nn::{Loss, Model};

/// Which matrix, and how it is evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curvature {
    /// BatchNorm statistics, and the Hessian's products.
    pub which: Which,
    /// The matrix.
    pub operator: OperatorName,
    /// Labels drawn for each image, of the Fisher matrix.
    pub labels: u64,
    /// Seed of these labels.
    pub seed: u64,
}

impl Curvature {
    /// The Hessian of a run's training loss with running BatchNorm statistics.
    pub fn of_training(seed: u64) -> Self {
        let which = Which { bn_mode: BnModeName::Eval, hvp: HvpName::Exact };
        Self { which, operator: OperatorName::Hessian, labels: 1, seed }
    }

    /// What the flags ask for.
    ///
    /// # Errors
    /// A flag that the matrix would ignore.
    pub fn of_args(hessian: &HessianArgs, operator: &OperatorArgs, seed: u64) -> Result<Self> {
        let name = operator.operator.unwrap_or_default();
        if name != OperatorName::Hessian && hessian.hvp != HvpName::Exact {
            return Err(usage("--hvp has no effect here: it needs --operator hessian"));
        }
        if name != OperatorName::Fisher && operator.labels.is_some() {
            return Err(usage("--labels has no effect here: it needs --operator fisher"));
        }
        let which = Which::of(hessian);
        Ok(Self { which, operator: name, labels: operator.labels.unwrap_or(1), seed })
    }

    /// Runs a measure on the matrix over the data.
    ///
    /// # Errors
    /// A loss that is not deterministic; those of `measure`.
    pub fn run<T>(
        &self,
        model: &Model,
        loss: Loss,
        data: &Loader,
        measure: impl FnOnce(&mut dyn LinearOperator) -> flat_metrics::Result<T>,
    ) -> flat_metrics::Result<T> {
        if self.operator == OperatorName::Hessian {
            return self.which.hessian(model, loss, data, measure);
        }
        let objective = self.which.objective(model, loss, data)?;
        match self.operator {
            OperatorName::Hessian | OperatorName::Ggn => measure(&mut GaussNewton::new(&objective)?),
            OperatorName::EmpiricalFisher => measure(&mut EmpiricalFisher::new(&objective)?),
            OperatorName::Fisher => {
                measure(&mut MonteCarloFisher::new(&objective, Streams::new(self.seed), self.labels)?)
            }
        }
    }
}
