//! Slices of the loss: what they show, and that they leave nothing behind.

use crate::mlp::Mlp;
use candle_core::{DType, Device, Tensor, Var};
use flat_core::{ParamVec, Params, Purpose, Streams};
use flat_metrics::{Axis, ClosureObjective, Error, Objective, Result, filter_normalized, gradient, slice};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn bits(params: &Params) -> Result<Vec<u64>> {
    Ok(params.read()?.to_f64()?.into_iter().map(f64::to_bits).collect())
}

#[test]
fn a_quadratic_is_symmetric_about_its_minimum_and_has_the_right_values() -> Result<()> {
    let a = [4.0, 1.0, 0.5];
    let minimum = [0.3, -2.0, 1.0];
    let x = Var::from_tensor(&Tensor::new(&minimum, &Device::Cpu)?)?;
    let params = Params::new([("x".to_string(), x.clone())])?;
    let f = ClosureObjective::new(params.clone(), vec![1], |_| {
        let off = (x.as_tensor() - Tensor::new(&minimum, &Device::Cpu)?)?;
        (Tensor::new(&a, &Device::Cpu)? * off.sqr()?)?.sum_all()? * 0.5
    })?;
    let before = bits(&params)?;
    let along = |v: [f64; 3]| ParamVec::from_f64(params.space(), v.to_vec());
    let horizontal = Axis::new(along([1.0, 0.0, 0.0])?, [-2.0, 2.0], 9)?;
    let vertical = Axis::new(along([0.0, 1.0, 2.0])?, [-1.0, 1.0], 5)?;
    assert_eq!((horizontal.coordinates[4], vertical.coordinates[2]), (0.0, 0.0));
    let values: Vec<f64> =
        slice(&params, &horizontal, Some(&vertical), &mut || Ok::<_, Error>(f.loss(0)?.to_scalar::<f64>()?))?;
    assert_eq!(values.len(), 45);
    for (j, b) in vertical.coordinates.iter().enumerate() {
        for (i, s) in horizontal.coordinates.iter().enumerate() {
            let exact = 0.5 * (4.0 * s * s + (1.0 + 0.5 * 4.0) * b * b);
            // rounding of differences of numbers up to 2
            assert!((values[9 * j + i] - exact).abs() < 1e-14, "{s} {b}");
            assert!((values[9 * j + i] - values[9 * (4 - j) + 8 - i]).abs() < 1e-14);
        }
    }
    assert_eq!(values[9 * 2 + 4], 0.0, "the middle is theta itself");
    assert_eq!(bits(&params)?, before);
    Ok(())
}

#[test]
fn the_middle_of_a_slice_is_the_loss_and_its_slope_the_gradient() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let f = mlp.objective()?;
    let (loss, g) = gradient(&f)?;
    let theta = mlp.params.read()?;
    let direction = filter_normalized(&theta, &Streams::new(3).at(Purpose::Probe, 0))?;
    let axis = Axis::new(direction.duplicate()?, [-1e-4, 1e-4], 3)?;
    let values: Vec<f64> = slice(&mlp.params, &axis, None, &mut || Ok::<_, Error>(gradient(&f)?.0))?;
    assert_eq!(values[1], loss, "bit for bit");
    let slope = (values[2] - values[0]) / 2e-4;
    // second differences of size 1e-8, rounding 1e-16 / 1e-4
    assert!((slope - g.dot(&direction)?).abs() < 1e-6, "{slope} {}", g.dot(&direction)?);
    Ok(())
}

#[test]
fn directions_have_the_norm_of_every_filter_and_leave_biases_alone() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let theta = mlp.params.read()?;
    let direction = filter_normalized(&theta, &Streams::new(3).at(Purpose::Probe, 0))?;
    for (i, entry) in theta.layout().entries().iter().enumerate() {
        let (w, d) = (theta.entry(i)?, direction.entry(i)?);
        if entry.shape.rank() < 2 {
            assert_eq!(d.abs()?.sum_all()?.to_scalar::<f64>()?, 0.0, "{}", entry.name);
            continue;
        }
        let norms = |t: &Tensor| t.sqr()?.sum(1)?.sqrt()?.to_vec1::<f64>();
        for (w, d) in norms(&w)?.iter().zip(norms(&d)?) {
            assert!((w - d).abs() < 1e-14 * w, "{}", entry.name);
        }
    }
    let other = filter_normalized(&theta, &Streams::new(3).at(Purpose::Probe, 1))?;
    let cosine = direction.dot(&other)? / theta.norm()?.powi(2);
    assert!(cosine.abs() < 0.9, "two streams give two directions: {cosine}");
    Ok(())
}

#[test]
fn theta_is_bit_equal_after_success_error_and_panic() -> Result<()> {
    for dtype in [DType::F32, DType::F64] {
        let mlp = Mlp::new(dtype)?;
        let before = bits(&mlp.params)?;
        let theta = mlp.params.read()?;
        let axis = Axis::new(filter_normalized(&theta, &Streams::new(0).at(Purpose::Probe, 0))?, [-1.0, 1.0], 5)?;
        for fail_at in [usize::MAX, 0, 3] {
            for panics in [false, true] {
                let mut calls = 0;
                let mut run = || {
                    slice(&mlp.params, &axis, None, &mut || {
                        calls += 1;
                        match (calls > fail_at, panics) {
                            (true, true) => panic!("on purpose"),
                            (true, false) => Err(Error::Interrupted),
                            _ => Ok(mlp.loss(0)?.to_dtype(DType::F64)?.to_scalar::<f64>()?),
                        }
                    })
                };
                let outcome = catch_unwind(AssertUnwindSafe(&mut run));
                assert_eq!(matches!(outcome, Ok(Ok(_))), fail_at == usize::MAX);
                assert_eq!(bits(&mlp.params)?, before, "{fail_at} {panics}");
            }
        }
    }
    Ok(())
}

#[test]
fn axes_that_make_no_sense_are_named() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let field = |span: [f64; 2], points: usize| match Axis::new(mlp.params.read()?, span, points) {
        Err(Error::BadConfig { field, .. }) => Ok::<_, Error>(field),
        other => panic!("{other:?}"),
    };
    assert_eq!(field([1.0, 1.0], 5)?, "span");
    assert_eq!(field([f64::NAN, 1.0], 5)?, "span");
    assert_eq!(field([0.0, f64::INFINITY], 5)?, "span");
    assert_eq!(field([0.0, 1.0], 1)?, "points");
    Ok(())
}
