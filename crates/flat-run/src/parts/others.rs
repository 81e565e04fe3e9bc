//! Further batches that a rule may ask for beside the step's own.

use flat_data::{Batch, Loader};
use flat_optim::{Batch as Which, Error, LESS_BIASED, Need, Result};

/// The epochs of a second source are numbered from here, so that its draws are none of the first's.
const SECOND: u64 = 1 << 40;

/// Further batches of a step, and the step's batch of a second sampler. Each is a function of the seed and the place in the run.
#[derive(Debug, Clone, Copy)]
pub struct OtherBatches<'a> {
    /// Training batches.
    pub train: &'a Loader,
    /// The less biased batches of gerne.
    pub less_biased: Option<&'a Loader>,
    /// How many batches the run took before the step's.
    pub position: u64,
}

/// Epoch and index of the batch at a position in the run.
pub fn place(train: &Loader, position: u64) -> (u64, usize) {
    let per_epoch = train.batches_per_epoch() as u64;
    (position / per_epoch, (position % per_epoch) as usize)
}

/// A batch that there is not.
pub(super) fn unmet(which: Which) -> Error {
    let need = match which {
        Which::Source(name) => Need::Source(name),
        _ => Need::FreshBatches,
    };
    Error::Unmet { need }
}

impl OtherBatches<'_> {
    /// Reads one of them; the further ones follow on the step's.
    pub(super) fn batch(&self, which: Which) -> Result<Batch> {
        let (loader, further, first) = match (which, self.less_biased) {
            (Which::Fresh(j), _) => (self.train, u64::from(j) + 1, 0),
            (Which::Source(LESS_BIASED), Some(loader)) => (loader, 0, SECOND),
            _ => return Err(unmet(which)),
        };
        let (epoch, index) = place(loader, self.position + further);
        loader.batch(first + epoch, index).map_err(Error::objective)
    }
}
