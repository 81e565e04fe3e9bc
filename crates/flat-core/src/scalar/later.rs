//! Formulas of numbers on a CUDA device, which one launch evaluates once a kernel or the host needs the result.

use super::Repr;
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use flat_kernels::cuda::parameters::scalars;
use flat_kernels::cuda::scalar::Op;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// Operations in a chain before it is evaluated on the way: a sum over many batches would go too deep.
const DEEPEST: usize = 64;

/// A formula, and its value once it was evaluated.
#[derive(Debug, Clone)]
pub(super) struct Later(Arc<Node>);

#[derive(Debug)]
struct Node {
    of: Op<Later, Tensor>,
    depth: usize,
    value: OnceLock<Tensor>,
}

/// A number of any kind as a formula.
pub(super) fn of(x: &Repr) -> Later {
    match x {
        Repr::Host(x) => Later::known(*x),
        Repr::Device(x) => Later::new(Op::Read(x.clone())),
        Repr::Later(x) => x.clone(),
    }
}

pub(super) fn unevaluated() -> Error {
    candle_core::Error::Msg("a number was not evaluated".into()).into()
}

impl Later {
    pub(super) fn new(of: Op<Self, Tensor>) -> Self {
        let mut depth = 0;
        let of = of.map(|x| {
            depth = depth.max(x.0.depth + 1);
            x
        });
        let new = Self(Arc::new(Node { of, depth, value: OnceLock::new() }));
        // where that fails, so will the evaluation that is asked for
        match depth >= DEEPEST {
            true => new.tensor().map_or(new, |value| Self::new(Op::Read(value))),
            false => new,
        }
    }

    pub(super) fn known(x: f64) -> Self {
        Self::new(Op::Constant(x))
    }

    /// The value, an f64 of no dimension, without waiting for it.
    pub(super) fn tensor(&self) -> Result<Tensor> {
        if self.0.value.get().is_none() {
            let device = self.device().ok_or_else(unevaluated)?;
            evaluate(&device, std::slice::from_ref(self), None)?;
        }
        self.0.value.get().cloned().ok_or_else(unevaluated)
    }

    /// Where the numbers lie that it reads.
    fn device(&self) -> Option<Device> {
        let mut found = None;
        match self.0.of.clone() {
            Op::Read(tensor) => found = Some(tensor.device().clone()),
            op => {
                let _ = op.map(|x| found = found.take().or_else(|| x.device()));
            }
        }
        found
    }
}

/// A program of the formulas so far, each once.
#[derive(Default)]
struct Program {
    nodes: Vec<Op<usize, Tensor>>,
    places: HashMap<*const Node, usize>,
}

impl Program {
    fn place(&mut self, x: &Later) -> usize {
        let key = Arc::as_ptr(&x.0);
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        let op = match x.0.value.get() {
            Some(value) => Op::Read(value.clone()),
            None => x.0.of.clone().map(|x| self.place(&x)),
        };
        self.nodes.push(op);
        self.places.insert(key, self.nodes.len() - 1);
        self.nodes.len() - 1
    }
}

/// Evaluates formulas by one launch: their values side by side, and whether the flag is not 0, a u8 of one element.
pub(super) fn evaluate(device: &Device, of: &[Later], flag: Option<&Later>) -> Result<(Tensor, Option<Tensor>)> {
    let mut program = Program::default();
    let wanted: Vec<usize> = of.iter().map(|x| program.place(x)).collect();
    let flag = flag.map(|x| program.place(x));
    let (row, flag) = scalars(device, &program.nodes, &wanted, flag)?;
    for (i, x) in of.iter().enumerate() {
        // a number that is read from elsewhere stays there
        if x.0.value.get().is_none() {
            let _ = x.0.value.set(row.get(i)?);
        }
    }
    Ok((row, flag))
}
