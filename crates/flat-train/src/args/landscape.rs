//! Settings of `landscape`.

use super::metrics::Keeping;
use flat_core::named;
use flat_core::setting::{Needs, Range};
use flat_run::settings::{Flags, HessianArgs};
use std::path::PathBuf;

const AROUND: Needs = Needs::Unset("between");

flat_core::settings! {
    /// Settings of a slice through the loss around a checkpoint.
    #[derive(Debug, Clone)]
    pub struct LandscapeArgs {
        /// Walk on the straight line from the checkpoint (0) to this one (1) instead.
        between as "between": Option<PathBuf> = None, metavar: "RUN_OR_FILE";
        /// Directions: random with the norms of the filters, or the Hessian's top eigenvectors of length 1.
        directions as "directions": DirectionName = DirectionName::Random, needs: AROUND, metavar: "WHICH";
        /// One or two directions.
        axes as "axes": usize = 2, range: Range::Between(1, 2), needs: AROUND;
        /// Coordinates reach from minus this to this; with --between from minus this to 1 plus this.
        span as "span": Option<f64> = None, range: Range::NonNegative, default_in_words: "1; 0.25";
        /// Points along each axis; an odd number holds the checkpoint itself, and a line both checkpoints whatever the number.
        points as "points": Option<usize> = None, range: Range::Between(2, 1001),
            default_in_words: "51 on one axis, 21 on two";
        /// Ends of the scale of the loss in the plots, as in 0.001,10, so that several checkpoints share one.
        loss_range as "loss-range": Vec<f64> = Vec::new(), metavar: "LOW,HIGH", default_in_words: "those of the losses";
        /// Folder for landscape.csv and the plots.
        out as "out": Option<PathBuf> = None, metavar: "DIR", default_in_words: "RUN/metrics/landscape of a run directory";
    }
    with {
        /// The checkpoint in the middle, the data and the products.
        hessian: HessianArgs;
        /// What becomes of the result.
        keeping: Keeping;
    }
}

impl Flags for LandscapeArgs {}

named! {
    /// Directions by name.
    pub enum DirectionName, "directions" {
        /// Gaussian, each filter with the norm of the weights' (Li et al. 2018).
        Random = "random",
        /// The eigenvectors of the Hessian's largest eigenvalues.
        Eigen = "eigen",
    }
}
