//! SGD in the dominant subspace of the Hessian alone.

use super::{Projection, RuleSpec};
use crate::{Ctx, Estimate, GradientRule, Keep, Need, Oracle, Result, StateVisitor, Stateful};
use flat_core::setting::Settings;

flat_core::settings! {
    /// `dom-sgd`: with P the projector on the eigenvectors of the k largest eigenvalues of the Hessian of the whole training loss
    /// at x,
    ///
    /// ```text
    /// g = grad f_B(x)
    /// update: u = base(g) - x;      x <- x + P u
    /// gradient: x <- base(P g)
    /// ```
    ///
    /// Over SGD without momentum and decay both are `x <- x - eta P g`. In the paper the training loss then stops falling, although
    /// nearly all of the gradient lies in the subspace.
    ///
    /// The largest eigenvalues are those by value; public codes of the protocol often call a solver whose default is the largest
    /// in magnitude. The Hessian is that of the loss without decay; `update` projects the decay too, `gradient` does not.
    /// Projecting the update rather than the gradient is what public code of the protocol does. Where the average of
    /// the switch begins (0) is our choice.
    ///
    /// Cost: 1 evaluation a step. The subspace's Hessian products and gradients are counted apart, by the [`crate::Subspace`]
    /// that [`crate::Builder::subspace`] takes; without one the rule is refused. State: a number and a flag, and the subspace's
    /// vectors.
    ///
    /// M. Song, K. Ahn, C. Yun, "Does SGD really happen in tiny subspaces?", ICLR 2025, arXiv 2405.16002, section 4.
    ///
    /// ```
    /// use flat_optim::{DomSgd, Optimizer, ParamVec, Params, Query, Result, Sgd, Stateful, Subspace};
    /// use std::sync::Arc;
    ///
    /// /// The first axis, which of `2 x^2 + y^2` is the dominant one.
    /// struct First;
    /// impl Stateful for First {}
    /// impl Subspace for First {
    ///     fn basis(&mut self, params: &Params, _: u64) -> Result<Arc<[ParamVec]>> {
    ///         Ok([ParamVec::from_f64(params.space(), vec![1.0, 0.0])?].into())
    ///     }
    /// }
    /// # fn main() -> Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer =
    ///     Optimizer::builder(&params).rule(DomSgd::default()).base(Sgd::new(0.1)).subspace(Box::new(First)).build()?;
    /// optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// // the gradient was (6, -4)
    /// assert_eq!(w.to_vec1::<f64>()?, [2.4, -2.0]);
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct DomSgd {}
    with {
        /// What is projected, and from when on.
        projection: Projection;
    }
}

impl DomSgd {
    /// The entry of the table of rules.
    pub const SPEC: RuleSpec = RuleSpec::of::<Self>(
        "dom-sgd",
        "the update on the span of the Hessian's top k eigenvectors alone",
        "Song, Ahn, Yun 2024, arXiv 2405.16002, section 4",
    );
}

impl Stateful for DomSgd {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        self.projection.visit(visitor)
    }
}

impl GradientRule for DomSgd {
    fn check(&self) -> Result<()> {
        Ok(Settings::check(self)?)
    }
    fn name(&self) -> &'static str {
        Self::SPEC.name
    }
    fn evals_per_step(&self, _: usize) -> f64 {
        1.0
    }
    fn needs(&self) -> Vec<Need> {
        vec![Need::Subspace]
    }
    fn radius(&self, _: usize) -> f64 {
        0.0
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        self.projection.estimate(Keep::Dominant, f, cx)
    }
}
