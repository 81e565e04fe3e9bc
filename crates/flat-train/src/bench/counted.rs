//! An objective whose work is counted where it is done.

use candle_core::Tensor;
use flat_optim::{Objective, Params, Query, Result, Rows, Sample};

/// Counts the images whose gradient an optimizer's step takes, which can be more than the evaluations that it announces:
/// with BatchNorm, one example is evaluated within its whole batch.
pub(super) struct Counted<'a, T> {
    pub(super) inner: T,
    /// Whether one example takes its whole batch.
    pub(super) whole: bool,
    pub(super) images: &'a mut u64,
}

impl<T: Objective> Counted<'_, T> {
    fn count(&mut self, query: Query) -> Result<()> {
        let all = self.inner.rows();
        let asked = query.rows.range(all)?.len();
        *self.images += if self.whole && matches!(query.rows, Rows::One(_)) { all } else { asked } as u64;
        Ok(())
    }
}

impl<T: Objective> Objective for Counted<'_, T> {
    fn rows(&self) -> usize {
        self.inner.rows()
    }

    fn loss(&mut self, query: Query) -> Result<Tensor> {
        self.count(query)?;
        self.inner.loss(query)
    }

    fn loss_and_grad(&mut self, params: &Params, query: Query) -> Result<Sample> {
        self.count(query)?;
        self.inner.loss_and_grad(params, query)
    }
}
