//! Running statistics of candle's own BatchNorm.

use crate::conformance::{builder, small};
use crate::functions::Everything;
use candle_core::{DType, Device, Tensor};
use candle_nn::{BatchNorm, Module, ModuleT, VarBuilder, VarMap};
use flat_core::setting::{Value, Values};
use flat_optim::{Objective, Params, Query, Result, RuleKind, WithBuffers, WithRows};

const ROWS: usize = 6;

fn batch() -> Result<Tensor> {
    let values: Vec<f64> = (0..ROWS * 2).map(|i| 1.0 + (i * i % 7) as f64).collect();
    Ok(Tensor::from_vec(values, (ROWS, 2), &Device::Cpu)?)
}

/// A network with batch normalisation of its inputs, whose statistics therefore do not depend on the weights.
fn network(map: &VarMap) -> Result<(BatchNorm, impl Fn(Query) -> candle_core::Result<Tensor>)> {
    let vars = VarBuilder::from_varmap(map, DType::F64, &Device::Cpu);
    let norm = candle_nn::batch_norm(2, 1e-5, vars.pp("norm"))?;
    let out = candle_nn::linear(2, 1, vars.pp("out"))?;
    let (x, layer) = (batch()?, norm.clone());
    let loss = move |q: Query| {
        let rows = q.rows.range(ROWS).map_err(candle_core::Error::wrap)?;
        // a batch of one row has no variance: it is normalised as in evaluation
        let part = x.narrow(0, rows.start, rows.len())?;
        (out.forward(&layer.forward_t(&part, rows.len() > 1)?)? - 1.0)?.sqr()?.mean_all()
    };
    Ok((norm, loss))
}

/// Options of rules that evaluate the batch as a whole: the first part has a mean of its own.
fn whole() -> Values {
    let mut options = small();
    for parts in ["lpf-parts", "bsam-parts"] {
        options.insert(parts, Value::Count(1));
    }
    options
}

/// The running mean after so many steps as a multiple of the batch's mean.
fn moved(kind: RuleKind, steps: i32, guarded: bool) -> Result<f64> {
    let map = VarMap::new();
    let (norm, loss) = network(&map)?;
    let buffers = Params::buffers_of(&map)?.into_iter().filter(|_| guarded).collect();
    let mut loss = Everything(WithBuffers::new(WithRows::new(ROWS, loss), buffers));
    let params = Params::from_varmap(&map)?;
    let mut optimizer =
        builder(&params).rule(kind.build(&whole())?).base(flat_optim::Sgd::new(0.01)).seed(1).build()?;
    for _ in 0..steps {
        optimizer.step(&mut loss)?;
    }
    let ratio = norm.running_mean().div(&batch()?.mean(0)?)?.to_vec1::<f64>()?;
    assert!((ratio[0] - ratio[1]).abs() < 1e-12, "{ratio:?}");
    Ok(ratio[0])
}

#[test]
fn a_step_of_every_rule_moves_running_statistics_by_a_tenth_of_the_batch_s() -> Result<()> {
    for kind in RuleKind::all() {
        for steps in [1, 3] {
            let expected = 1.0 - 0.9f64.powi(steps);
            assert!((moved(kind, steps, true)? - expected).abs() < 1e-12, "{kind}, {steps} steps");
        }
    }
    // without the guard a second forward pass moves them a second time
    assert!((moved("sam".parse()?, 1, false)? - 0.19).abs() < 1e-12);
    Ok(())
}

#[test]
fn a_loss_that_is_not_finite_or_fails_leaves_running_statistics_alone() -> Result<()> {
    for fails in [false, true] {
        let map = VarMap::new();
        let (norm, loss) = network(&map)?;
        let broken = |q: Query| if fails { candle_core::bail!("no loss") } else { loss(q)? * f64::NAN };
        let mut objective = WithBuffers::new(|q: Query| loss(q).and_then(|_| broken(q)), Params::buffers_of(&map)?);
        let params = Params::from_varmap(&map)?;
        let found = objective.loss_and_grad(&params, Query { rows: flat_optim::Rows::All, update_stats: true });
        assert_eq!(found.is_err(), fails);
        assert_eq!(norm.running_mean().to_vec1::<f64>()?, [0.0, 0.0]);
    }
    Ok(())
}
