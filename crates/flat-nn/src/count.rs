//! Multiply-adds, kinks and traffic of a network, counted by its forward pass over shapes.

use crate::kinds::Activation;
use crate::ops::moments::{BatchMoments, Moments};
use crate::ops::{Arrange, Conv2d, Pool2d};
use crate::value::Value;
use crate::{Error, Result};
use candle_core::{DType, Device, Shape, Tensor};
use std::cell::Cell;
use std::rc::Rc;

/// What a forward pass of one example does, and what its gradient reads and writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub multiply_adds: u64,
    pub kinks: bool,
    pub traffic: Traffic,
}

/// Numbers that the layers read and write for one gradient, if every pass reads its operands and writes its result once.
///
/// A product has three passes, the first layer's two. Normalisation with relu goes three times over its output forward and
/// five times backward, four and eight times where a shortcut joins. Another nonlinearity takes five passes, a sum three,
/// pooling two over its input and its output. The gradients of a value that two layers take meet in a sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// For each example.
    pub per_example: u64,
    /// For each batch: weights and their gradients.
    pub per_batch: u64,
}

/// A [`Value`] without numbers: its shape, and the count that all values of a pass share.
#[derive(Clone)]
pub(crate) struct Shaped {
    /// A zero, seen in the shape: no memory.
    zero: Tensor,
    /// Whether a layer has taken it.
    taken: Rc<Cell<bool>>,
    count: Rc<Cell<Count>>,
}

impl Shaped {
    pub(crate) fn new(shape: impl Into<Shape>, count: &Rc<Cell<Count>>) -> Result<Self> {
        let zero = Tensor::zeros((), DType::F32, &Device::Cpu)?.broadcast_as(shape.into())?;
        Ok(Self { zero, taken: Rc::default(), count: count.clone() })
    }

    /// The second dimension of logits.
    pub(crate) fn classes(&self) -> Result<usize> {
        Ok(self.zero.dims2()?.1)
    }

    fn with(&self, shape: impl Into<Shape>) -> Result<Self> {
        Self::new(shape, &self.count)
    }

    /// Another value of this shape.
    fn alike(&self) -> Result<Self> {
        self.with(self.zero.shape())
    }

    /// `outputs` numbers, each a sum of `terms` products with these weights, in so many passes of a gradient.
    fn products(&self, w: &Self, outputs: impl Into<Shape>, terms: usize, passes: usize) -> Result<Self> {
        let out = self.with(outputs)?;
        let mut count = self.count.get();
        count.multiply_adds += (out.zero.elem_count() * terms) as u64;
        count.traffic.per_batch += (passes * w.zero.elem_count()) as u64;
        self.count.set(count);
        self.take();
        self.moved(passes);
        out.moved(passes);
        Ok(out)
    }

    /// Counts passes over this value.
    fn moved(&self, passes: usize) {
        let mut count = self.count.get();
        count.traffic.per_example += (passes * self.zero.elem_count()) as u64;
        self.count.set(count);
    }

    /// A layer takes this value. Every one after the first has a gradient to add to those before.
    fn take(&self) {
        if self.taken.replace(true) {
            self.moved(3);
        }
    }

    fn kink(&self) {
        self.count.set(Count { kinks: true, ..self.count.get() });
    }

    fn pooled(&self, pool: Pool2d) -> Result<Self> {
        let (n, c, h, w) = self.zero.dims4()?;
        let out = self.with((n, c, pool.output(h)?, pool.output(w)?))?;
        self.take();
        self.moved(2);
        out.moved(2);
        Ok(out)
    }

    fn convolved(&self, w: &Self, conv: Conv2d, passes: usize) -> Result<Self> {
        let g = conv.geometry(self.zero.shape(), w.zero.shape())?;
        self.products(w, g.y_shape(), g.channels * g.kh * g.kw, passes)
    }

    fn connected(&self, w: &Self, passes: usize) -> Result<Self> {
        let ((n, input), (out, wanted)) = (self.zero.dims2()?, w.zero.dims2()?);
        if input != wanted {
            return Err(Error::BadInput(format!("a layer of {wanted} inputs for {input}")));
        }
        self.products(w, (n, out), input, passes)
    }

    /// A normalisation with what follows in the same passes.
    fn normalised(&self, skip: Option<&Self>, then: Option<Activation>) -> Result<Self> {
        self.take();
        if let Some(skip) = skip {
            self.fits(skip)?;
            skip.take();
        }
        self.moved(if skip.is_some() { 12 } else { 8 });
        match then {
            Some(Activation::Relu) => self.kink(),
            Some(_) => self.moved(5),
            None => {}
        }
        self.alike()
    }

    fn fits(&self, other: &Self) -> Result<()> {
        match self.zero.shape() == other.zero.shape() {
            true => Ok(()),
            false => Err(Error::BadInput(format!("the sum of {:?} and {:?}", self.zero.shape(), other.zero.shape()))),
        }
    }
}

/// By definition of the layers: what an algorithm such as Winograd's saves is not subtracted, and normalisation, activation
/// and pooling (a few percent) are left out.
impl Value for Shaped {
    fn primal(&self) -> &Tensor {
        &self.zero
    }

    fn conv2d(&self, w: &Self, _: Option<&Self>, conv: Conv2d) -> Result<Self> {
        self.convolved(w, conv, 3)
    }

    fn conv2d_of(x: &Tensor, w: &Self, _: Option<&Self>, conv: Conv2d) -> Result<Self> {
        w.with(x.shape())?.convolved(w, conv, 2)
    }

    fn linear(&self, w: &Self, _: Option<&Self>) -> Result<Self> {
        self.connected(w, 3)
    }

    fn linear_of(x: &Tensor, w: &Self, _: Option<&Self>) -> Result<Self> {
        w.with(x.shape())?.connected(w, 2)
    }

    fn max_pool(&self, pool: Pool2d) -> Result<Self> {
        self.kink();
        self.pooled(pool)
    }

    fn mean_pool(&self, pool: Pool2d) -> Result<Self> {
        self.pooled(pool)
    }

    fn adaptive_mean(&self, side: usize) -> Result<Self> {
        let (n, c, _, _) = self.zero.dims4()?;
        let out = self.with((n, c, side, side))?;
        self.take();
        self.moved(2);
        out.moved(2);
        Ok(out)
    }

    fn global_mean(&self) -> Result<Self> {
        let (n, c, _, _) = self.zero.dims4()?;
        self.take();
        self.with((n, c))
    }

    fn reshape(&self, shape: &[usize]) -> Result<Self> {
        if shape.iter().product::<usize>() != self.zero.elem_count() {
            return Err(Error::BadInput(format!("{:?} as {shape:?}", self.zero.shape())));
        }
        self.take();
        self.with(shape)
    }

    fn arrange(&self, by: &Arrange) -> Result<Self> {
        self.take();
        self.moved(2);
        self.with(by.of(&self.zero)?.shape())
    }

    fn products(&self, other: &Self) -> Result<Self> {
        let ((b, m, k), (b2, k2, n)) = (self.zero.dims3()?, other.zero.dims3()?);
        if (b, k) != (b2, k2) {
            return Err(Error::BadInput(format!("products of {:?} and {:?}", self.zero.shape(), other.zero.shape())));
        }
        let out = self.with((b, m, n))?;
        let mut count = self.count.get();
        count.multiply_adds += (b * m * n * k) as u64;
        self.count.set(count);
        [self, other].iter().for_each(|of| of.take());
        [self, other, &out].iter().for_each(|of| of.moved(3));
        Ok(out)
    }

    fn softmax(&self, _: f64) -> Result<Self> {
        self.take();
        self.moved(5);
        self.alike()
    }

    fn constant(&self, x: Tensor) -> Result<Self> {
        self.with(x.shape())
    }

    fn activate(&self, activation: Activation) -> Result<Self> {
        if activation == Activation::Relu {
            self.kink();
        }
        self.take();
        self.moved(5);
        self.alike()
    }

    fn add_activate(&self, other: &Self, activation: Activation) -> Result<Self> {
        self.plus(other)?.activate(activation)
    }

    fn plus(&self, other: &Self) -> Result<Self> {
        self.fits(other)?;
        [self, other].iter().for_each(|of| of.take());
        self.moved(3);
        self.alike()
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
        Ok((self.normalised(skip, then)?, BatchMoments::new(0, none)))
    }

    fn fixed_norm_add(
        &self,
        _: &Self,
        _: &Self,
        _: (&Tensor, &Tensor),
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<Self> {
        self.normalised(skip, then)
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
