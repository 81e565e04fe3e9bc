//! Rules with draws, further batches or a subspace against their transcriptions in PyTorch (torch 2.15.0, CPU, f64), step by step:
//! `reference/canon_small.json`, printed by `canon_small.py`. Both are handed the same table of draws.

use candle_core::{DType, Device, Tensor, Var};
use flat_optim::flat_core::{Place, Table};
use flat_optim::{
    Batch, Bsam, Builder, BulkSgd, DomSgd, EntropySgd, Esam, Gerne, Lpf, Need, Nso, Objective, Optimizer, ParamVec,
    Params, Project, Projection, Query, Result, Sample, Sgd, Stateful, Streams, Subspace,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

const DIM: usize = 6;

/// The draws of the script: in the order of use, which is `per_step` vectors a step.
#[derive(Debug)]
struct Draws {
    per_step: usize,
}

impl Draws {
    fn k(&self, of: Place, index: usize) -> usize {
        // the index of a vector among the step's is counted from 1; a step's only vector has none
        let vector = (of.minor as usize).saturating_sub(1);
        assert!(vector < self.per_step && index < DIM, "{of:?} {index}");
        (of.major as usize * self.per_step + vector) * DIM + index
    }
}

impl Table for Draws {
    fn normal(&self, of: Place, index: usize) -> f64 {
        ((37 * self.k(of, index) % 101) as f64 - 50.0) / 25.0
    }
    fn uniform(&self, of: Place, index: usize) -> f64 {
        (5 * self.k(of, index) % 8) as f64 / 8.0
    }
}

/// The loss of row i is `1/2 sum_j h_ij x_j^2`, that of a batch the mean over its rows.
struct Rowed {
    x: [Var; 2],
    step: Range<usize>,
    now: Range<usize>,
}

impl Rowed {
    fn new(step: Range<usize>) -> Result<(Self, Params)> {
        let weight = Var::new(&[[1.0f64, -0.5], [0.25, 2.0]], &Device::Cpu)?;
        let bias = Var::new(&[-1.0f64, 0.5], &Device::Cpu)?;
        let params = Params::new([("a.weight".to_string(), weight.clone()), ("b.bias".to_string(), bias.clone())])?;
        Ok((Self { x: [weight, bias], now: step.clone(), step }, params))
    }

    /// The losses of some rows of the problem.
    fn each(&self, rows: impl Iterator<Item = usize>) -> Result<Tensor> {
        let h: Vec<f64> = rows.flat_map(h).collect();
        let h = Tensor::from_vec(h.clone(), (h.len() / DIM, DIM), &Device::Cpu)?;
        let x = Tensor::cat(&[self.x[0].flatten_all()?, self.x[1].flatten_all()?], 0)?;
        Ok((h.matmul(&x.sqr()?.reshape((DIM, 1))?)?.flatten_all()? * 0.5)?)
    }

    fn of(&self, query: Query) -> Result<Tensor> {
        let rows = query.rows.range(self.now.len())?;
        self.each(self.now.start + rows.start..self.now.start + rows.end)
    }
}

fn h(row: usize) -> [f64; DIM] {
    std::array::from_fn(|j| 1.0 + ((3 * row + 5 * j) % 7) as f64 / 4.0)
}

impl Objective for Rowed {
    fn rows(&self) -> usize {
        self.now.len()
    }
    fn loss(&mut self, query: Query) -> Result<Tensor> {
        Ok(self.of(query)?.mean_all()?)
    }
    fn offers(&self, _: Need) -> bool {
        true
    }
    fn losses_and_grad(&mut self, params: &Params, query: Query) -> Result<(Sample, Tensor)> {
        Ok((self.loss_and_grad(params, query)?, self.losses(query)?))
    }
    fn losses(&mut self, query: Query) -> Result<Tensor> {
        Ok(self.of(query)?.detach())
    }
    fn chosen_loss_and_grad(&mut self, params: &Params, rows: &[u32], _: bool) -> Result<Sample> {
        let losses = self.each(rows.iter().map(|row| self.now.start + *row as usize))?;
        Sample::of(&losses.mean_all()?, params)
    }
    /// As many rows after the step's for another source, and for each further batch.
    fn switch(&mut self, to: Batch) -> Result<usize> {
        let behind = match to {
            Batch::Step => 0,
            Batch::Fresh(j) => j as usize + 1,
            Batch::Source(_) => 1,
        };
        let n = self.step.len();
        self.now = self.step.start + behind * n..self.step.end + behind * n;
        Ok(n)
    }
}

/// The two elements of largest mean h, which are eigenvectors of the diagonal Hessian.
struct Largest;

impl Stateful for Largest {}

impl Subspace for Largest {
    fn basis(&mut self, params: &Params, _: u64) -> Result<Arc<[ParamVec]>> {
        let mean = |j: usize| (0..8).map(|row| h(row)[j]).sum::<f64>();
        let mut order: Vec<usize> = (0..DIM).collect();
        order.sort_by(|&a, &b| mean(b).total_cmp(&mean(a)));
        let axis = |j: &usize| {
            let mut axis = vec![0.0; DIM];
            axis[*j] = 1.0;
            ParamVec::from_f64(params.space(), axis)
        };
        Ok(order[..2].iter().map(axis).collect::<std::result::Result<Vec<_>, _>>()?.into())
    }
}

/// Compares every loss and every point with the transcription's.
fn check(name: &str, step: Range<usize>, draws: usize, of: impl Fn(Builder<'_>) -> Builder<'_>) -> Result<()> {
    type Steps = Vec<BTreeMap<String, serde_json::Value>>;
    let text = include_str!("reference/canon_small.json");
    let all: BTreeMap<String, Steps> = serde_json::from_str(text).expect("canon_small.json");
    assert_eq!(all[name].len(), 20, "{name}");
    let (mut f, params) = Rowed::new(step)?;
    assert_eq!(params.space().dtype, DType::F64);
    let table: &'static Draws = Box::leak(Box::new(Draws { per_step: draws }));
    let builder = Optimizer::builder(&params).base(Sgd::new(0.1).momentum(0.9).weight_decay(0.01));
    let mut optimizer = of(builder).streams(Streams::from_table(table)).subspace(Box::new(Largest)).build()?;
    for (i, expected) in all[name].iter().enumerate() {
        let loss = optimizer.step(&mut f)?.loss;
        let number = |value: &serde_json::Value| value.as_f64().expect("a number");
        let there =
            std::iter::once(number(&expected["loss"])).chain(expected["x"].as_array().expect("x").iter().map(number));
        for (here, there) in std::iter::once(loss).chain(params.read()?.to_f64()?).zip(there) {
            // roundings of 1e-16 in numbers of about 1, over twenty steps
            assert!((here - there).abs() < 1e-10, "{name}, step {i}: {here} here, {there} in PyTorch");
        }
    }
    Ok(())
}

#[test]
fn rules_with_draws_are_their_transcriptions_when_both_are_handed_the_same() -> Result<()> {
    check("esam", 0..8, 1, |b| b.rule(Esam::new(0.05).beta(0.625).gamma(0.5)))?;
    check("lpf", 0..8, 4, |b| b.rule(Lpf::new(0.05).parts(4)))?;
    check("nso", 0..8, 2, |b| b.rule(Nso::new(0.05).pairs(2)))?;
    let chain = EntropySgd::new(4).inner_lr(0.1).gamma0(0.03).gamma1(0.1).noise(0.01);
    check("entropy-sgd", 0..2, 4, |b| b.rule(chain.clone()).base(Sgd::new(1.0).momentum(0.0)))?;
    // the weight decay of the transcription, 0.02, is the prior over N
    let bsam = || Bsam::new(0.01).parts(2).data(Some(50.0)).prior(1.0);
    check("bsam", 0..8, 2, |b| b.rule(bsam()).base(Sgd::new(0.5)))
}

#[test]
fn rules_with_other_batches_or_a_subspace_are_their_transcriptions() -> Result<()> {
    check("gerne", 0..4, 0, |b| b.rule(Gerne::new(1.0)))?;
    let gradient = || Projection::default().project(Project::Gradient);
    check("dom-sgd", 0..8, 0, |b| b.rule(DomSgd::default()))?;
    check("bulk-sgd", 0..8, 0, |b| b.rule(BulkSgd::default()))?;
    check("dom-sgd, gradient", 0..8, 0, |b| b.rule(DomSgd::default().projection(gradient())))?;
    check("bulk-sgd, gradient", 0..8, 0, |b| b.rule(BulkSgd::default().projection(gradient())))
}
