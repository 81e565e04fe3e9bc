//! Every operator is the Hessian.

use crate::double_backward;
use crate::mlp::Mlp;
use candle_core::{DType, Device, Tensor, Var};
use flat_core::{ParamVec, Params, Streams};
use flat_metrics::{
    ClosureObjective, DifferenceHessian, DoubleBackwardThread, Error, LinearOperator, Result, Stencil, TangentHessian,
    dense_of, disagreement,
};

#[test]
fn every_operator_equals_the_exact_hessian_of_a_tanh_network() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let exact = mlp.exact_hessian()?;
    let before = mlp.params.read()?.to_f64()?;

    let tangent = dense_of(&mut TangentHessian::new(&objective)?)?;
    let double = dense_of(&mut double_backward(&objective)?)?;
    let two = dense_of(&mut DifferenceHessian::new(&objective)?)?;
    let four = dense_of(&mut DifferenceHessian::new(&objective)?.with_stencil(Stencil::Four))?;
    // the exact ones differ by rounding alone: a few hundred operations of 2e-16 each
    assert!(tangent.distance(&exact)? < 1e-13, "{}", tangent.distance(&exact)?);
    assert!(double.distance(&exact)? < 1e-13, "{}", double.distance(&exact)?);
    // the displacement h is 6e-6 times weights of about 0.7: h^2 times fourth derivatives, plus 2e-16 / h; with four
    // points it is 2e-5 of them, where 2e-16 / h is all
    assert!(two.distance(&exact)? < 1e-9, "{}", two.distance(&exact)?);
    assert!(four.distance(&exact)? < 1e-10, "{}", four.distance(&exact)?);
    assert!(tangent.asymmetry() < 1e-13 * exact.frobenius());
    assert_eq!(mlp.params.read()?.to_f64()?, before, "the parameters are bit for bit as they were");
    Ok(())
}

#[test]
fn the_f32_hessian_is_the_f64_one_up_to_rounding() -> Result<()> {
    let (wide, narrow) = (Mlp::new(DType::F64)?, Mlp::new(DType::F32)?);
    let exact = wide.exact_hessian()?;
    let objective = narrow.objective()?;
    // rounding of the parameters and of some hundred operations, 6e-8 each
    let tangent = dense_of(&mut TangentHessian::new(&objective)?)?;
    assert!(tangent.distance(&exact)? < 2e-6, "{}", tangent.distance(&exact)?);
    let double = dense_of(&mut double_backward(&objective)?)?;
    assert!(double.distance(&exact)? < 2e-6, "{}", double.distance(&exact)?);
    // 1.2e-7 / h and h^2 are about 3e-5 for two points, 1.2e-7 / h about 2e-5 for four, times constants of order one
    let two = dense_of(&mut DifferenceHessian::new(&objective)?)?;
    println!("f32 {:.1e}", two.distance(&exact)?);
    assert!(two.distance(&exact)? < 1e-4, "{}", two.distance(&exact)?);
    let four = dense_of(&mut DifferenceHessian::new(&objective)?.with_stencil(Stencil::Four))?;
    println!("f32 {:.1e}", four.distance(&exact)?);
    assert!(four.distance(&exact)? < 6e-5, "{}", four.distance(&exact)?);
    Ok(())
}

#[test]
fn products_are_counted_and_zero_maps_to_zero() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let zero = ParamVec::zeros(mlp.params.space())?;
    for operator in [
        &mut TangentHessian::new(&objective)? as &mut dyn LinearOperator,
        &mut double_backward(&objective)?,
        &mut DifferenceHessian::new(&objective)?,
    ] {
        assert_eq!(operator.apply(&zero)?.norm()?, 0.0, "{:?}", operator.provenance());
        operator.apply(&zero)?;
        assert_eq!(operator.matvecs(), 2);
        let origin = operator.provenance();
        assert_eq!((origin.examples, origin.batches), (Some(12), Some(3)));
    }
    Ok(())
}

#[test]
fn a_parameter_in_which_the_loss_is_linear_has_a_zero_row() -> Result<()> {
    let a = Var::from_tensor(&Tensor::new(&[1.0f64, 2.0], &Device::Cpu)?)?;
    let b = Var::from_tensor(&Tensor::new(3.0f64, &Device::Cpu)?)?;
    let params = Params::new([("a".to_string(), a.clone()), ("b".to_string(), b.clone())])?;
    let (ta, tb) = (a.clone(), b.clone());
    let objective = ClosureObjective::new(params, vec![1], move |_| a.sqr()?.sum_all()? + (b.as_tensor() * 5.0)?)?
        .with_tangent(move |_, v| {
            let v = |i| v.entry(i).map_err(candle_core::Error::wrap);
            let _ = &tb;
            (ta.as_tensor() * 2.0)?.mul(&v(0)?)?.sum_all()? + (v(1)? * 5.0)?
        });
    let v = ParamVec::from_f64(objective_space(&objective), vec![1.0, -1.0, 7.0])?;
    assert_eq!(TangentHessian::new(&objective)?.apply(&v)?.to_f64()?, [2.0, -2.0, 0.0]);
    assert_eq!(double_backward(&objective)?.apply(&v)?.to_f64()?, [2.0, -2.0, 0.0]);
    Ok(())
}

fn objective_space<'a>(objective: &'a ClosureObjective<'_>) -> &'a flat_core::Space {
    flat_metrics::Objective::params(objective).space()
}

#[test]
fn an_unused_parameter_is_named_when_the_operator_is_made() -> Result<()> {
    let a = Var::from_tensor(&Tensor::new(&[1.0f64, 2.0], &Device::Cpu)?)?;
    let idle = Var::from_tensor(&Tensor::new(3.0f64, &Device::Cpu)?)?;
    let params = Params::new([("a".to_string(), a.clone()), ("idle.weight".to_string(), idle)])?;
    let objective = ClosureObjective::new(params, vec![1], move |_| a.sqr()?.sum_all())?;
    let message = DifferenceHessian::new(&objective).expect_err("idle.weight is unused").to_string();
    assert!(message.contains("`idle.weight`"), "{message}");
    let v = ParamVec::zeros(objective_space(&objective))?;
    let message = double_backward_unchecked(&objective)?.apply(&v).expect_err("the same").to_string();
    assert!(message.contains("`idle.weight`"), "{message}");
    Ok(())
}

fn double_backward_unchecked<'a>(
    objective: &'a ClosureObjective<'_>,
) -> Result<flat_metrics::DoubleBackwardHessian<'a, ClosureObjective<'a>>> {
    // SAFETY: as in `double_backward`.
    unsafe { DoubleBackwardThread::start_unchecked()? };
    flat_metrics::DoubleBackwardHessian::unchecked(objective)
}

#[test]
fn an_objective_without_tangents_says_what_to_use_instead() -> Result<()> {
    let a = Var::from_tensor(&Tensor::new(&[1.0f64, 2.0], &Device::Cpu)?)?;
    let params = Params::new([("a".to_string(), a.clone())])?;
    let objective = ClosureObjective::new(params, vec![1], move |_| a.sqr()?.sum_all())?;
    let v = ParamVec::zeros(objective_space(&objective))?;
    let message = TangentHessian::new(&objective)?.apply(&v).expect_err("no tangent").to_string();
    assert!(message.contains("DoubleBackwardHessian"), "{message}");
    Ok(())
}

#[test]
fn a_vector_of_another_layout_is_refused() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let other = Params::new([("x".to_string(), Var::zeros(43, DType::F64, &Device::Cpu)?)])?;
    let v = ParamVec::zeros(other.space())?;
    assert!(TangentHessian::new(&objective)?.apply(&v).is_err());
    assert!(double_backward(&objective)?.apply(&v).is_err());
    assert!(DifferenceHessian::new(&objective)?.apply(&v).is_err());
    Ok(())
}

#[test]
fn a_loss_that_is_not_finite_is_one_clear_error() -> Result<()> {
    let a = Var::from_tensor(&Tensor::new(&[-1.0f64, 2.0], &Device::Cpu)?)?;
    let params = Params::new([("a".to_string(), a.clone())])?;
    let objective = ClosureObjective::new(params, vec![1], move |_| a.log()?.sum_all())?;
    for error in [
        DifferenceHessian::new(&objective).err(),
        double_backward(&objective).err(),
        TangentHessian::new(&objective).err(),
    ] {
        match error {
            Some(Error::NonFinite { quantity, value }) => {
                assert_eq!(quantity, "the loss of batch 0");
                assert!(value.is_nan());
            }
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

#[test]
fn a_second_derivative_that_overflows_is_found_although_loss_and_gradient_are_finite() -> Result<()> {
    // sqrt at 1e-250: the gradient is 5e124, the second derivative beyond the largest f64
    let a = Var::from_tensor(&Tensor::new(&[1e-250f64], &Device::Cpu)?)?;
    let params = Params::new([("a".to_string(), a.clone())])?;
    let objective = ClosureObjective::new(params, vec![1], move |_| a.sqrt()?.sum_all())?;
    let mut hessian = double_backward(&objective)?;
    let v = ParamVec::from_f64(hessian.space(), vec![1.0])?;
    assert!(matches!(hessian.apply(&v), Err(Error::NonFinite { .. })));
    Ok(())
}

#[test]
fn a_loss_of_many_elements_is_refused() -> Result<()> {
    let a = Var::from_tensor(&Tensor::new(&[1.0f64, 2.0], &Device::Cpu)?)?;
    let params = Params::new([("a".to_string(), a.clone())])?;
    let objective = ClosureObjective::new(params, vec![1], move |_| a.sqr())?;
    let message = DifferenceHessian::new(&objective).expect_err("two elements").to_string();
    assert!(message.contains("take the mean"), "{message}");
    Ok(())
}

#[test]
fn exact_operators_disagree_with_differences_by_the_step_error_alone() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let mut exact = TangentHessian::new(&objective)?;
    let mut fine = DifferenceHessian::new(&objective)?;
    let mut coarse = DifferenceHessian::new(&objective)?.with_step(1e-2)?;
    let s = Streams::new(3);
    assert!(disagreement(&mut exact, &mut fine, &s, 3)? < 1e-9);
    assert!(disagreement(&mut exact, &mut coarse, &s, 3)? > 1e-6, "a coarse step shows");
    assert!(DifferenceHessian::new(&objective)?.with_step(0.0).is_err());
    Ok(())
}

#[test]
fn other_threads_keep_detaching_their_gradients() -> Result<()> {
    // SAFETY: as in `double_backward`.
    unsafe { DoubleBackwardThread::start_unchecked()? };
    assert!(std::env::var_os("CANDLE_GRAD_DO_NOT_DETACH").is_none());
    let x = Var::from_tensor(&Tensor::new(3.0f64, &Device::Cpu)?)?;
    let grads = (x.sqr()? * x.as_tensor())?.backward()?;
    let slope = grads.get(x.as_tensor()).expect("the gradient");
    // 3 x^2 with its graph would have the gradient 18 here
    let again = slope.backward()?;
    let curvature = again.get(x.as_tensor()).map(|c| c.to_scalar::<f64>()).transpose()?;
    assert_ne!(curvature, Some(18.0));
    Ok(())
}
