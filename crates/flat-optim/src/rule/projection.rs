//! The projection on the Hessian's dominant subspace, shared by `dom-sgd` and `bulk-sgd`, which differ in the side that they keep.

use crate::{Ctx, Estimate, Keep, Oracle, Result, Rows, Then};
use flat_core::setting::Range;

flat_core::named! {
    /// The vector that a rule projects.
    pub enum Project, "project" {
        /// The change of theta that the base proposes; its buffers see the raw gradients.
        Update = "update",
        /// The gradient, before the base sees it.
        Gradient = "gradient",
    }
}

stateful! {
    /// The projection of a rule on a subspace of the Hessian, and its start.
    #[derive(Debug)]
    pub struct Projection {
        /// What is projected: the update of the base, weight decay included (its buffers see the raw gradients), or the gradient.
        project as "project": Project = Project::Update;
        /// Steps before this one (the first is 0) are plain and cost no Hessian products.
        first as "project-from": u64 = 0, range: Range::AtLeast(0);
        /// Steps are plain until the share of the full gradient's norm in the subspace, averaged as 0.9 old + 0.1 new from 0 on,
        /// has once exceeded this number; 0.95 in the paper's protocol. Costs one gradient of the training set a step until then.
        above as "project-above": Option<f64> = None, range: Range::BelowOne, default_in_words: "off: from --project-from on";
    }
    state {
        /// The averaged share.
        average: f64 = 0.0;
        /// 1 once the steps are projected for good.
        switched: u64 = 0;
    }
}

/// Weight of the newest share in the average.
const NEWEST: f64 = 0.1;

impl Projection {
    /// The gradient at theta, projected or with the base's update to be projected.
    pub(super) fn estimate(&mut self, keep: Keep, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let g = f.gradient(Rows::All)?;
        if cx.step < self.first {
            return Ok(Estimate::plain(g));
        }
        let mut average = self.average;
        if let (Some(above), 0) = (self.above, self.switched) {
            average = (1.0 - NEWEST) * average + NEWEST * f.subspace_share()?;
            if average <= above {
                self.average = average;
                return Ok(Estimate::plain(g));
            }
        }
        let basis = f.subspace()?;
        (self.average, self.switched) = (average, 1);
        Ok(match self.project {
            Project::Gradient => {
                let part = keep.part(g.grad.duplicate()?, &basis)?;
                Estimate::perturbed(&g, part)
            }
            Project::Update => Estimate { perturbed: true, ..Estimate::plain(g) }.then(Then::Projected { keep, basis }),
        })
    }
}

/// The rule that keeps one side. The words differ in what `P` does: to the update, to the gradient, to the axes of the example.
macro_rules! projected {
    ($rule:ident keeps $keep:ident: $name:literal, $about:literal, $update:literal, $part:literal, $found:literal, $end:literal) => {
        rule! {
            #[doc = concat!("`", $name, "`: with P the projector on the eigenvectors of the k largest eigenvalues of the Hessian")]
            /// of the whole training loss at x,
            ///
            /// ```text
            /// g = grad f_B(x)
            #[doc = concat!("update: u = base(g) - x;      x <- x + ", $update)]
            #[doc = concat!("gradient: x <- base(", $part, ")")]
            /// ```
            ///
            #[doc = concat!("Over SGD without momentum and decay both are `x <- x - eta (", $part, ")`. In the paper the training loss then")]
            #[doc = concat!($found, ".")]
            ///
            /// The largest eigenvalues are those by value; public codes of the protocol often call a solver whose default is the
            /// largest in magnitude. The Hessian is that of the loss without decay; `update` projects the decay too, `gradient`
            /// does not. Projecting the update rather than the gradient is what public code of the protocol does. Where the
            /// average of the switch begins (0) is our choice.
            ///
            /// Cost: 1 evaluation a step. The subspace's Hessian products and gradients are counted apart, by the
            /// [`crate::Subspace`] that [`crate::Builder::subspace`] takes; without one the rule is refused. State: a number and a
            /// flag, and the subspace's vectors.
            ///
            /// M. Song, K. Ahn, C. Yun, "Does SGD really happen in tiny subspaces?", ICLR 2025, arXiv 2405.16002, section 4.
            ///
            /// ```
            #[doc = concat!("use flat_optim::{", stringify!($rule), ", Optimizer, ParamVec, Params, Query, Result, Sgd, Stateful, Subspace};")]
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
            #[doc = concat!("let rule = ", stringify!($rule), "::default();")]
            /// let mut optimizer =
            ///     Optimizer::builder(&params).rule(rule).base(Sgd::new(0.1)).subspace(Box::new(First)).build()?;
            /// optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
            /// // the gradient was (6, -4)
            #[doc = concat!("assert_eq!(w.to_vec1::<f64>()?, ", $end, ");")]
            /// # Ok(())
            /// # }
            /// ```
            #[derive(Debug)]
            pub struct $rule {}
            with {
                /// What is projected, and from when on.
                projection: crate::Projection;
            }
            spec { $name, $about, "Song, Ahn, Yun 2024, arXiv 2405.16002, section 4" }
        }

        impl crate::GradientRule for $rule {
            fn evals_per_step(&self, _: usize) -> f64 {
                1.0
            }
            fn needs(&self) -> Vec<crate::Need> {
                vec![crate::Need::Subspace]
            }
            fn radius(&self, _: usize) -> f64 {
                0.0
            }
            fn estimate(&mut self, f: &mut crate::Oracle<'_>, cx: &crate::Ctx<'_>) -> crate::Result<crate::Estimate> {
                self.projection.estimate(crate::Keep::$keep, f, cx)
            }
        }
    };
}
