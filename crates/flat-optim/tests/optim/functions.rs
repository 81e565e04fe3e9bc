//! Test functions with known minima, and a recorder of what an objective is asked.

use candle_core::{Device, Result as CResult, Tensor, Var};
use flat_optim::{Batch, Need, Objective, Params, Purpose, Query, Result, Rows, Sample, Streams, WithRows};
use std::cell::RefCell;
use std::rc::Rc;

/// Variables from literal values, in the order given.
pub fn vars(named: &[(&str, &[f64])]) -> Result<(Params, Vec<Var>)> {
    let vars = named.iter().map(|(_, x)| Var::new(*x, &Device::Cpu)).collect::<CResult<Vec<_>>>()?;
    let params = Params::new(named.iter().map(|(n, _)| n.to_string()).zip(vars.iter().cloned()))?;
    Ok((params, vars))
}

/// A function to minimise, its variables, and what its value must come down to.
pub struct Problem {
    pub name: &'static str,
    pub params: Params,
    pub objective: Box<dyn Objective>,
    pub rows: usize,
    pub start: f64,
    pub goal: f64,
}

/// `0.5 (x1^2 + 4 x2^2) + 0.5 |y - (1, 2)|^2`, minimum 0.
pub fn quadratic() -> Result<Problem> {
    let (params, v) = vars(&[("x", &[2.0, -1.0]), ("y", &[3.0, 3.0])])?;
    let (scale, goal) = (Tensor::new(&[0.5f64, 2.0], &Device::Cpu)?, Tensor::new(&[1.0f64, 2.0], &Device::Cpu)?);
    let f = move |_: Query| v[0].sqr()?.mul(&scale)?.sum_all()? + (v[1].sub(&goal)?.sqr()?.sum_all()? * 0.5)?;
    Ok(Problem { name: "quadratic", params, objective: Box::new(Everything(f)), rows: 1, start: 6.5, goal: 0.05 })
}

/// A mild Rosenbrock valley `(1 - x)^2 + 5 (y - x^2)^2`, minimum 0 at (1, 1).
pub fn rosenbrock() -> Result<Problem> {
    let (params, v) = vars(&[("x", &[-0.5]), ("y", &[1.0])])?;
    let f = move |_: Query| {
        let (a, b) = ((1.0 - v[0].as_tensor())?, v[1].sub(&v[0].sqr()?)?);
        (a.sqr()? + (b.sqr()? * 5.0)?)?.sum_all()
    };
    Ok(Problem { name: "rosenbrock", params, objective: Box::new(Everything(f)), rows: 1, start: 5.0625, goal: 0.5 })
}

/// Logistic regression on `rows` synthetic examples in three dimensions, labels from a hidden direction.
pub fn logistic(rows: usize) -> Result<Problem> {
    let (params, v) = vars(&[("bias", &[0.0]), ("weight", &[0.0, 0.0, 0.0])])?;
    let x = Streams::new(11).at(Purpose::Test, 0).normals(3 * rows);
    let sign: Vec<f64> = x.chunks(3).map(|r| if r[0] - 2.0 * r[1] + 0.5 * r[2] > 0.2 { 1.0 } else { -1.0 }).collect();
    let x = Tensor::from_vec(x, (rows, 3), &Device::Cpu)?;
    let sign = Tensor::from_vec(sign, (rows, 1), &Device::Cpu)?;
    let f = move |q: Query| {
        let r = q.rows.range(rows).map_err(candle_core::Error::wrap)?;
        let (x, sign) = (x.narrow(0, r.start, r.len())?, sign.narrow(0, r.start, r.len())?);
        let margin = x.matmul(&v[1].reshape((3, 1))?)?.broadcast_add(&v[0])?.mul(&sign)?;
        (margin.neg()?.exp()? + 1.0)?.log()?.mean_all()
    };
    let objective = Box::new(Everything(WithRows::new(rows, f)));
    Ok(Problem { name: "logistic", params, objective, rows, start: std::f64::consts::LN_2, goal: 0.35 })
}

/// Passes queries on and remembers them.
pub struct Recorder<O> {
    pub inner: O,
    pub queries: Rc<RefCell<Vec<Query>>>,
}

impl<O> Recorder<O> {
    pub fn new(inner: O) -> (Self, Rc<RefCell<Vec<Query>>>) {
        let queries = Rc::default();
        (Self { inner, queries: Rc::clone(&queries) }, queries)
    }
}

impl Objective for Recorder<Box<dyn Objective>> {
    fn rows(&self) -> usize {
        self.inner.rows()
    }
    fn loss(&mut self, query: Query) -> Result<Tensor> {
        self.queries.borrow_mut().push(query);
        self.inner.loss(query)
    }
    fn offers(&self, need: Need) -> bool {
        self.inner.offers(need)
    }
    fn losses_and_grad(&mut self, params: &Params, query: Query) -> Result<(Sample, Tensor)> {
        self.queries.borrow_mut().push(query);
        self.inner.losses_and_grad(params, query)
    }
    /// Not a gradient, and not remembered.
    fn losses(&mut self, query: Query) -> Result<Tensor> {
        self.inner.losses(query)
    }
    fn chosen_loss_and_grad(&mut self, params: &Params, rows: &[u32], update_stats: bool) -> Result<Sample> {
        let as_many = Rows::Range { start: 0, len: rows.len() };
        self.queries.borrow_mut().push(Query { rows: as_many, update_stats });
        self.inner.chosen_loss_and_grad(params, rows, update_stats)
    }
    fn switch(&mut self, to: Batch) -> Result<usize> {
        self.inner.switch(to)
    }
}

/// An objective that has all that rules ask for: losses of single rows, and itself wherever another batch is wanted.
pub struct Everything<O>(pub O);

impl<O: Objective> Everything<O> {
    fn each(&mut self, rows: impl Iterator<Item = usize>) -> Result<Tensor> {
        let losses: Vec<Tensor> = rows
            .map(|row| Ok(self.0.loss(Query { rows: Rows::One(row), update_stats: false })?.reshape(1)?))
            .collect::<Result<_>>()?;
        Ok(Tensor::cat(&losses, 0)?)
    }
}

impl<O: Objective> Objective for Everything<O> {
    fn rows(&self) -> usize {
        self.0.rows()
    }
    fn cost(&self, rows: Rows) -> Result<f64> {
        self.0.cost(rows)
    }
    fn loss(&mut self, query: Query) -> Result<Tensor> {
        self.0.loss(query)
    }
    fn loss_and_grad(&mut self, params: &Params, query: Query) -> Result<Sample> {
        self.0.loss_and_grad(params, query)
    }
    fn offers(&self, need: Need) -> bool {
        matches!(need, Need::Losses | Need::FreshBatches | Need::Source(_))
    }
    fn losses_and_grad(&mut self, params: &Params, query: Query) -> Result<(Sample, Tensor)> {
        Ok((self.0.loss_and_grad(params, query)?, self.losses(query)?))
    }
    fn losses(&mut self, query: Query) -> Result<Tensor> {
        Ok(self.each(query.rows.range(self.0.rows())?)?.detach())
    }
    fn chosen_loss_and_grad(&mut self, params: &Params, rows: &[u32], _: bool) -> Result<Sample> {
        Sample::of(&self.each(rows.iter().map(|&row| row as usize))?.mean_all()?, params)
    }
    fn switch(&mut self, _: Batch) -> Result<usize> {
        Ok(self.rows())
    }
}

/// The variables' bits.
pub fn bits(params: &Params) -> Result<Vec<u64>> {
    Ok(params.read()?.to_f64()?.into_iter().map(f64::to_bits).collect())
}
