//! The matrix of a measure: the Hessian or one of its relatives.

use super::operator::{OperatorArgs, OperatorName};
use crate::measure::hessian_method::HessianMethod;
use crate::settings::args::HessianArgs;
use crate::settings::choice::{BnModeName, HvpName};
use flat_data::Loader;
use flat_metrics::{EmpiricalFisher, Fisher, GaussNewton, LinearOperator, ModelObjective, ModelingError};
use flat_nn::{Loss, Model};

/// A matrix and the way in which it is evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curvature {
    /// BatchNorm statistics, and the Hessian's products.
    pub which: HessianMethod,
    /// The matrix.
    pub operator: OperatorName,
}

impl Curvature {
    /// The Hessian of a run's training loss with running BatchNorm statistics.
    pub fn of_training() -> Self {
        let which = HessianMethod { bn_mode: BnModeName::Eval, hvp: HvpName::Exact };
        Self { which, operator: OperatorName::Hessian }
    }

    /// What the flags ask for.
    pub fn of_args(hessian: &HessianArgs, operator: &OperatorArgs) -> Self {
        Self { which: HessianMethod::of(hessian), operator: operator.operator }
    }

    /// The name of the Hessian's products; `None` for another matrix.
    pub fn hvp(&self) -> Option<&'static str> {
        (self.operator == OperatorName::Hessian).then(|| self.which.hvp.name())
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
        self.products(&self.which.objective(model, loss, data)?, measure)
    }

    /// Runs a measure on the matrix of an objective.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn products<T>(
        &self,
        objective: &ModelObjective<'_>,
        measure: impl FnOnce(&mut dyn LinearOperator) -> flat_metrics::Result<T>,
    ) -> flat_metrics::Result<T> {
        match self.operator {
            OperatorName::Hessian => self.which.products(objective, measure),
            OperatorName::Ggn => measure(&mut GaussNewton::new(objective)?),
            OperatorName::EmpiricalFisher => measure(&mut EmpiricalFisher::new(objective)?),
            OperatorName::Fisher => measure(&mut Fisher::new(objective)?),
            OperatorName::ModelingError => measure(&mut ModelingError::new(objective)?),
        }
    }
}
