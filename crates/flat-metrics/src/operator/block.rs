//! The part of an operator within some of the parameters.

use super::linear::{Form, LinearOperator, Product};
use crate::measured::Provenance;
use crate::observer::Observer;
use crate::{Error, Result};
use candle_core::Tensor;
use flat_comm::Ranks;
use flat_core::{Layout, ParamVec, Space};
use std::sync::Arc;

/// A diagonal block `P A P^T` of an operator, P the restriction to some parameters. It is the curvature of a layer,
/// or of a group of layers, with the others held fixed.
///
/// It lives on the space of those parameters alone, under their own names, so that every estimator runs on it. A product
/// costs one of the whole operator.
pub struct Block<'a> {
    whole: &'a mut dyn LinearOperator,
    space: Space,
    /// Whether each parameter of the whole belongs to the block.
    inside: Vec<bool>,
}

impl std::fmt::Debug for Block<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("space", &self.space).finish_non_exhaustive()
    }
}

impl<'a> Block<'a> {
    /// The block of the parameters whose names `inside` accepts.
    ///
    /// # Errors
    /// [`Error::BadConfig`] where it accepts none.
    pub fn new(whole: &'a mut dyn LinearOperator, inside: impl Fn(&str) -> bool) -> Result<Self> {
        let space = whole.space().clone();
        let inside: Vec<bool> = space.layout.entries().iter().map(|e| inside(&e.name)).collect();
        let entries = space.layout.entries().iter().zip(&inside).filter(|(_, inside)| **inside);
        let named: Vec<_> = entries.map(|(e, _)| (e.name.clone(), e.shape.clone())).collect();
        if named.is_empty() {
            return Err(Error::BadConfig {
                field: "block",
                value: "empty".into(),
                remedy: "give the name of a parameter, or a condition that some name meets",
            });
        }
        let layout = Arc::new(Layout::new(named)?);
        Ok(Self { whole, space: Space { layout, ..space }, inside })
    }

    /// The block of the parameter called `name`.
    ///
    /// # Errors
    /// [`Error::BadConfig`] where there is none of that name.
    pub fn of(whole: &'a mut dyn LinearOperator, name: &str) -> Result<Self> {
        if whole.space().layout.position(name).is_none() {
            return Err(Error::BadConfig {
                field: "block",
                value: format!("`{name}`"),
                remedy: "give the name of a parameter of the operator's space",
            });
        }
        Self::new(whole, |n| n == name)
    }

    /// `P^T v`: zero outside the block.
    fn embed(&self, v: &ParamVec) -> Result<ParamVec> {
        self.space.layout.same_as(v.layout())?;
        let (whole, mut next, mut parts) = (self.whole.space(), 0, Vec::with_capacity(self.inside.len()));
        for (entry, inside) in whole.layout.entries().iter().zip(&self.inside) {
            parts.push(if *inside {
                next += entry.len;
                v.as_tensor().narrow(0, next - entry.len, entry.len)?
            } else {
                Tensor::zeros(entry.len, whole.dtype, &whole.device)?
            });
        }
        Ok(ParamVec::from_tensor(whole.layout.clone(), joined(&parts)?)?)
    }

    /// `P w`.
    fn extract(&self, w: &ParamVec) -> Result<ParamVec> {
        let entries = w.layout().entries().iter().zip(&self.inside).filter(|(_, inside)| **inside);
        let parts =
            entries.map(|(e, _)| w.as_tensor().narrow(0, e.offset, e.len)).collect::<candle_core::Result<Vec<_>>>()?;
        Ok(ParamVec::from_tensor(self.space.layout.clone(), joined(&parts)?)?)
    }
}

/// The parts in one buffer of its own.
fn joined(parts: &[Tensor]) -> candle_core::Result<Tensor> {
    if parts.len() == 1 { parts[0].copy() } else { Tensor::cat(parts, 0) }
}

impl LinearOperator for Block<'_> {
    fn space(&self) -> &Space {
        &self.space
    }

    fn product(&mut self, v: &ParamVec, observer: &mut dyn Observer) -> Result<Product> {
        let Product { product, batches } = self.whole.product(&self.embed(v)?, observer)?;
        Ok(Product { product: self.extract(&product)?, batches })
    }

    fn product_over(&mut self, ranks: &Ranks, v: &ParamVec, observer: &mut dyn Observer) -> Result<Product> {
        let Product { product, batches } = self.whole.product_over(ranks, &self.embed(v)?, observer)?;
        Ok(Product { product: self.extract(&product)?, batches })
    }

    fn products(
        &mut self,
        ranks: &Ranks,
        directions: &[&ParamVec],
        observer: &mut dyn Observer,
    ) -> Result<Vec<Product>> {
        let whole = directions.iter().map(|v| self.embed(v)).collect::<Result<Vec<_>>>()?;
        let found = self.whole.products(ranks, &whole.iter().collect::<Vec<_>>(), observer)?;
        let inside = |Product { product, batches }| Ok(Product { product: self.extract(&product)?, batches });
        found.into_iter().map(inside).collect()
    }

    fn products_at_once(&self) -> usize {
        self.whole.products_at_once()
    }

    fn forms(&mut self, directions: &[ParamVec], observer: &mut dyn Observer) -> Result<Vec<Form>> {
        let whole = directions.iter().map(|v| self.embed(v)).collect::<Result<Vec<_>>>()?;
        self.whole.forms(&whole, observer)
    }

    fn forms_at_once(&self) -> usize {
        self.whole.forms_at_once()
    }

    fn matvecs(&self) -> u64 {
        self.whole.matvecs()
    }

    fn provenance(&self) -> Provenance {
        let whole = self.whole.provenance();
        let block = match self.space.layout.entries() {
            [one] => format!("block of {}", one.name),
            many => format!("block of {} parameters", many.len()),
        };
        let operator = whole.operator.map(|name| format!("{name}, {block}"));
        Provenance { operator, dim: self.space.layout.len(), ..whole }
    }
}
