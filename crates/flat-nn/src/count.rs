//! Multiply-adds and kinks of a network, counted by its forward pass over shapes.

use crate::kinds::Activation;
use crate::ops::moments::{BatchMoments, Moments};
use crate::ops::{Conv2d, Pool2d};
use crate::value::Value;
use crate::{Error, Result};
use candle_core::{DType, Device, Shape, Tensor};
use std::cell::Cell;
use std::rc::Rc;

/// What a forward pass of one example does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub multiply_adds: u64,
    pub kinks: bool,
}

/// A [`Value`] without numbers: its shape, and the count that all values of a pass share.
#[derive(Clone)]
pub(crate) struct Shaped {
    /// A zero, seen in the shape: no memory.
    zero: Tensor,
    count: Rc<Cell<Count>>,
}

impl Shaped {
    pub(crate) fn new(shape: impl Into<Shape>, count: &Rc<Cell<Count>>) -> Result<Self> {
        let zero = Tensor::zeros((), DType::F32, &Device::Cpu)?.broadcast_as(shape.into())?;
        Ok(Self { zero, count: count.clone() })
    }

    /// The second dimension of logits.
    pub(crate) fn classes(&self) -> Result<usize> {
        Ok(self.zero.dims2()?.1)
    }

    fn with(&self, shape: impl Into<Shape>) -> Result<Self> {
        Self::new(shape, &self.count)
    }

    /// `outputs` numbers, each a sum of `terms` products.
    fn products(&self, outputs: impl Into<Shape>, terms: usize) -> Result<Self> {
        let out = self.with(outputs)?;
        let mut count = self.count.get();
        count.multiply_adds += (out.zero.elem_count() * terms) as u64;
        self.count.set(count);
        Ok(out)
    }

    fn kink(&self) {
        self.count.set(Count { kinks: true, ..self.count.get() });
    }

    fn pooled(&self, pool: Pool2d) -> Result<Self> {
        let (n, c, h, w) = self.zero.dims4()?;
        self.with((n, c, pool.output(h)?, pool.output(w)?))
    }
}

/// By definition of the layers: what an algorithm such as Winograd's saves is not subtracted, and normalisation, activation
/// and pooling (a few percent) are left out.
impl Value for Shaped {
    fn primal(&self) -> &Tensor {
        &self.zero
    }

    fn conv2d(&self, w: &Self, _: Option<&Self>, conv: Conv2d) -> Result<Self> {
        let g = conv.geometry(self.zero.shape(), w.zero.shape())?;
        self.products(g.y_shape(), g.channels * g.kh * g.kw)
    }

    fn conv2d_of(x: &Tensor, w: &Self, bias: Option<&Self>, conv: Conv2d) -> Result<Self> {
        w.with(x.shape())?.conv2d(w, bias, conv)
    }

    fn linear(&self, w: &Self, _: Option<&Self>) -> Result<Self> {
        let ((n, input), (out, wanted)) = (self.zero.dims2()?, w.zero.dims2()?);
        if input != wanted {
            return Err(Error::BadInput(format!("a layer of {wanted} inputs for {input}")));
        }
        self.products((n, out), input)
    }

    fn linear_of(x: &Tensor, w: &Self, bias: Option<&Self>) -> Result<Self> {
        w.with(x.shape())?.linear(w, bias)
    }

    fn max_pool(&self, pool: Pool2d) -> Result<Self> {
        self.kink();
        self.pooled(pool)
    }

    fn mean_pool(&self, pool: Pool2d) -> Result<Self> {
        self.pooled(pool)
    }

    fn global_mean(&self) -> Result<Self> {
        let (n, c, _, _) = self.zero.dims4()?;
        self.with((n, c))
    }

    fn reshape(&self, shape: &[usize]) -> Result<Self> {
        if shape.iter().product::<usize>() != self.zero.elem_count() {
            return Err(Error::BadInput(format!("{:?} as {shape:?}", self.zero.shape())));
        }
        self.with(shape)
    }

    fn constant(&self, x: Tensor) -> Result<Self> {
        self.with(x.shape())
    }

    fn activate(&self, activation: Activation) -> Result<Self> {
        if activation == Activation::Relu {
            self.kink();
        }
        Ok(self.clone())
    }

    fn add_activate(&self, other: &Self, activation: Activation) -> Result<Self> {
        self.plus(other)?.activate(activation)
    }

    fn plus(&self, other: &Self) -> Result<Self> {
        match self.zero.shape() == other.zero.shape() {
            true => Ok(self.clone()),
            false => Err(Error::BadInput(format!("the sum of {:?} and {:?}", self.zero.shape(), other.zero.shape()))),
        }
    }

    fn batch_norm_add(
        &self,
        _: &Self,
        _: &Self,
        _: f64,
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<(Self, BatchMoments)> {
        let none = Moments::Host { mean: Vec::new(), var: Vec::new() };
        Ok((self.clone().finish(skip, then)?, BatchMoments::new(0, none)))
    }

    fn fixed_norm_add(
        &self,
        _: &Self,
        _: &Self,
        _: (&Tensor, &Tensor),
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<Self> {
        self.clone().finish(skip, then)
    }

    fn cross_entropy(&self, _: &Tensor) -> Result<Self> {
        self.with(self.zero.dim(0)?)
    }

    fn squared_error(&self, _: &Tensor) -> Result<Self> {
        self.with(self.zero.dim(0)?)
    }

    fn scaled_mean(&self, _: f64) -> Result<Self> {
        self.with(())
    }
}
