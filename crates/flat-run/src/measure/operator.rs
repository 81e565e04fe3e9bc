//! The choice of matrix: `--operator`.

use crate::settings::args::BY_PRODUCTS;
use flat_core::named;

named! {
    /// A matrix of second-order information.
    pub enum OperatorName, "operator" {
        /// The Hessian of the loss.
        Hessian = "hessian",
        /// The generalised Gauss-Newton matrix.
        Ggn = "ggn",
        /// The Fisher matrix of the model's own labels, exactly.
        Fisher = "fisher",
        /// The Fisher matrix at the data's labels.
        EmpiricalFisher = "empirical-fisher",
        /// The nonlinear modeling error: the Hessian less the Gauss-Newton matrix.
        ModelingError = "nme",
    }
}

flat_core::settings! {
    /// Which matrix.
    #[derive(Debug, Clone)]
    pub struct OperatorArgs {
        /// The matrix: hessian, ggn (generalised Gauss-Newton), fisher (model's own labels, exactly),
        /// empirical-fisher (data's labels) or nme (nonlinear modeling error: hessian less ggn).
        operator as "operator": OperatorName = OperatorName::Hessian, needs: BY_PRODUCTS;
    }
}
