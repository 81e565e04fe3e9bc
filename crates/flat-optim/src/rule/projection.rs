//! The projection on the Hessian's dominant subspace, shared by `dom-sgd` and `bulk-sgd`.

use crate::{Ctx, Estimate, Keep, Oracle, Result, Rows, StateVisitor, Stateful, Then};
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

flat_core::settings! {
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

impl Stateful for Projection {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.number("average", &mut self.average)?;
        visitor.count("switched", &mut self.switched)
    }
}

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
