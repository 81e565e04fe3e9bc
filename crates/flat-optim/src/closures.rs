//! Closures as objectives.

use crate::{Error, Need, Objective, Query, Result, Rows, Sample};
use candle_core::Tensor;
use flat_core::Params;

impl<F: FnMut(Query) -> candle_core::Result<Tensor>> Objective for F {
    fn rows(&self) -> usize {
        1
    }
    fn loss(&mut self, query: Query) -> Result<Tensor> {
        Ok(self(query)?)
    }
}

/// A closure with a batch of `rows` examples, which honours [`Query::rows`].
///
/// ```
/// use candle_core::{Device, Result, Tensor};
/// use flat_optim::{Objective, Query, Rows, WithRows};
///
/// # fn main() -> flat_optim::Result<()> {
/// let x = Tensor::new(&[1.0f64, 2.0, 3.0, 6.0], &Device::Cpu)?;
/// let mut mean = WithRows::new(4, |q: Query| {
///     let r = q.rows.range(4).map_err(candle_core::Error::wrap)?;
///     x.narrow(0, r.start, r.len())?.mean_all()
/// });
/// let half = mean.loss(Query { rows: Rows::Shard { index: 1, of: 2 }, update_stats: false })?;
/// assert_eq!(half.to_scalar::<f64>()?, 4.5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct WithRows<F> {
    rows: usize,
    closure: F,
}

impl<F: FnMut(Query) -> candle_core::Result<Tensor>> WithRows<F> {
    /// A batch of `rows` examples whose mean loss the closure computes.
    pub fn new(rows: usize, closure: F) -> Self {
        Self { rows, closure }
    }
}

impl<F: FnMut(Query) -> candle_core::Result<Tensor>> Objective for WithRows<F> {
    fn rows(&self) -> usize {
        self.rows
    }
    fn loss(&mut self, query: Query) -> Result<Tensor> {
        Ok((self.closure)(query)?)
    }
}

/// A batch of `rows` examples whose single losses a closure computes: from ascending indices of rows, a vector whose graph
/// reaches the variables. It serves rules that choose examples by their losses.
///
/// ```
/// use candle_core::{Device, Result, Tensor};
/// use flat_optim::{Objective, Query, Rows, WithLosses};
///
/// # fn main() -> flat_optim::Result<()> {
/// let x = Tensor::new(&[1.0f64, 2.0, 3.0, 6.0], &Device::Cpu)?;
/// let mut each = WithLosses::new(4, |rows: &[u32]| x.index_select(&Tensor::new(rows, &Device::Cpu)?, 0));
/// let half = each.loss(Query { rows: Rows::Shard { index: 1, of: 2 }, update_stats: false })?;
/// assert_eq!(half.to_scalar::<f64>()?, 4.5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct WithLosses<F> {
    rows: usize,
    closure: F,
}

impl<F: FnMut(&[u32]) -> candle_core::Result<Tensor>> WithLosses<F> {
    /// A batch of `rows` examples.
    pub fn new(rows: usize, closure: F) -> Self {
        Self { rows, closure }
    }

    fn of(&mut self, rows: Rows) -> Result<Tensor> {
        let range = rows.range(self.rows)?;
        let rows: Vec<u32> = (range.start as u32..range.end as u32).collect();
        Ok((self.closure)(&rows)?)
    }
}

impl<F: FnMut(&[u32]) -> candle_core::Result<Tensor>> Objective for WithLosses<F> {
    fn rows(&self) -> usize {
        self.rows
    }
    fn loss(&mut self, query: Query) -> Result<Tensor> {
        Ok(self.of(query.rows)?.mean_all()?)
    }
    fn offers(&self, need: Need) -> bool {
        need == Need::Losses
    }
    fn losses_and_grad(&mut self, params: &Params, query: Query) -> Result<(Sample, Tensor)> {
        let losses = self.of(query.rows)?;
        Ok((Sample::of(&losses.mean_all()?, params)?, losses.detach()))
    }
    fn losses(&mut self, query: Query) -> Result<Tensor> {
        Ok(self.of(query.rows)?.detach())
    }
    fn chosen_loss_and_grad(&mut self, params: &Params, rows: &[u32], _: bool) -> Result<Sample> {
        if let Some(row) = rows.iter().find(|row| **row as usize >= self.rows) {
            return Err(Error::NoSuchRows { asked: format!("row {row}"), available: self.rows });
        }
        Sample::of(&(self.closure)(rows)?.mean_all()?, params)
    }
}
