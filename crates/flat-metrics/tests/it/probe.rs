//! What has no Hessian is refused.

use crate::mlp::Mlp;
use candle_core::{DType, Device, Tensor, Var};
use flat_core::{ParamVec, Params, Streams};
use flat_metrics::{
    ClosureObjective, Dense, DifferenceHessian, Error, Objective, Result, TangentHessian, check_determinism,
    check_symmetry,
};
use std::sync::atomic::{AtomicU32, Ordering};

fn two() -> Result<(Params, Var)> {
    let x = Var::from_tensor(&Tensor::new(&[1.0f64, 2.0], &Device::Cpu)?)?;
    Ok((Params::new([("x".to_string(), x.clone())])?, x))
}

#[test]
fn dropout_is_refused() -> Result<()> {
    let (params, x) = two()?;
    let objective = ClosureObjective::new(params, vec![1], move |_| {
        let mask = Tensor::rand(0.0, 1.0, 2, &Device::Cpu)?;
        (x.sqr()? * mask)?.sum_all()
    })?;
    for error in [DifferenceHessian::new(&objective).err(), TangentHessian::new(&objective).err()] {
        let message = error.expect("the loss is random").to_string();
        assert!(message.contains("not deterministic") && message.contains("dropout"), "{message}");
    }
    Ok(())
}

#[test]
fn a_gradient_that_changes_under_an_equal_loss_is_refused() -> Result<()> {
    let (params, x) = two()?;
    let calls = AtomicU32::new(0);
    let objective = ClosureObjective::new(params, vec![1], move |_| {
        let y = (x.sum_all()? * f64::from(1 + calls.fetch_add(1, Ordering::Relaxed)))?;
        &y - y.detach()
    })?;
    match check_determinism(&objective) {
        Err(Error::NotDeterministic(why)) => assert!(why.contains("gradient"), "{why}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn moving_batch_norm_statistics_are_refused_although_the_loss_is_the_same() -> Result<()> {
    let (params, x) = two()?;
    let running = Var::from_tensor(&Tensor::new(&[0.0f64], &Device::Cpu)?)?;
    let buffer = running.clone();
    let objective = ClosureObjective::new(params, vec![1], move |_| {
        running.set(&((running.as_tensor() * 0.9)? + 0.1)?)?;
        x.sqr()?.sum_all()
    })?
    .with_buffers(vec![("bn1.running_mean".into(), buffer.as_tensor().clone())]);
    let message = check_determinism(&objective).expect_err("the buffer moved").to_string();
    assert!(message.contains("`bn1.running_mean`"), "{message}");
    Ok(())
}

#[test]
fn a_deterministic_objective_passes() -> Result<()> {
    let mlp = Mlp::new(DType::F32)?;
    check_determinism(&mlp.objective()?)
}

#[test]
fn batches_without_examples_are_refused() -> Result<()> {
    let (params, x) = two()?;
    let make = |sizes: Vec<usize>| {
        let x = x.clone();
        ClosureObjective::new(params.clone(), sizes, move |_| x.sqr()?.sum_all()).map(|_| ())
    };
    assert!(make(vec![]).is_err());
    let message = make(vec![3, 0]).expect_err("an empty batch").to_string();
    assert!(message.contains("batch 1"), "{message}");
    Ok(())
}

/// An objective whose weights do not sum to 1.
struct Lopsided(ClosureObjective<'static>);

impl Objective for Lopsided {
    fn params(&self) -> &Params {
        self.0.params()
    }
    fn batches(&self) -> usize {
        2
    }
    fn weight(&self, _: usize) -> f64 {
        1.0
    }
    fn examples(&self) -> usize {
        2
    }
    fn loss(&self, i: usize) -> Result<Tensor> {
        self.0.loss(i)
    }
}

#[test]
fn weights_that_do_not_sum_to_one_are_refused() -> Result<()> {
    let (params, x) = two()?;
    let objective = Lopsided(ClosureObjective::new(params, vec![1, 1], move |_| x.sqr()?.sum_all())?);
    assert!(matches!(check_determinism(&objective), Err(Error::BadObjective(_))));
    let v = ParamVec::zeros(objective.params().space())?;
    // the default says that there is no tangent
    assert!(matches!(objective.loss_tangent(0, &v), Err(Error::Unsupported { .. })));
    Ok(())
}

#[test]
fn an_asymmetric_matrix_is_told_from_a_symmetric_one() -> Result<()> {
    let s = Streams::new(0);
    let mut symmetric = Dense::from_fn(20, |i, j| 1.0 / (1.0 + i as f64 + j as f64))?;
    assert!(check_symmetry(&mut symmetric, &s, 1e-12)? < 1e-12);
    let mut skewed = Dense::from_fn(20, |i, j| 1.0 / (1.0 + i as f64 + 2.0 * j as f64))?;
    assert!(matches!(check_symmetry(&mut skewed, &s, 1e-3), Err(Error::NotSymmetric { .. })));
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    assert!(check_symmetry(&mut TangentHessian::new(&objective)?, &s, 1e-12)? < 1e-12);
    Ok(())
}
