//! Normalisation by channel, with the batch's statistics and with fixed ones, forward and backward.

use crate::host::{Element, assert_close, at, at_mut, compiler, run};
use candle_core::{DType, Device, Tensor, Var};
use flat_core::{Purpose, Streams};
use flat_kernels::Split;
use flat_kernels::cuda::launch::NORM;
use flat_kernels::cuda::norm::{Gradients, Layer, Mask, apply, backward, forward, partial};
use flat_nn::{Activation, Result, Value};

const EPS: f64 = 1e-5;

#[derive(Debug)]
struct Case {
    shape: Vec<usize>,
    /// Added to all inputs: a mean far from zero.
    offset: f64,
    skip: bool,
    relu: bool,
    batch: bool,
}

fn check<T: Element>(case: &Case, tolerance: f64) -> Result<()> {
    let dims = &case.shape;
    let s = Split { outer: dims[0], channels: dims[1], inner: dims[2..].iter().product() };
    let (n, c) = (s.elements(), s.channels);
    let numbers = |i: u64, shape: &[usize]| -> Result<Tensor> {
        let x = Streams::new(5).at(Purpose::Test, i).normals(shape.iter().product());
        Ok(Tensor::from_vec(x, shape, &Device::Cpu)?.to_dtype(T::DTYPE)?)
    };
    let var = |t: Tensor| Var::from_tensor(&t);
    let (x, gain, bias) =
        (var(numbers(0, dims)?.affine(1.0, case.offset)?)?, var(numbers(1, &[c])?)?, var(numbers(2, &[c])?)?);
    let (skip, g) = (var(numbers(3, dims)?)?, numbers(4, dims)?);
    let (mean, r) = (numbers(5, &[c])?, numbers(6, &[c])?.abs()?);

    // the CPU's operation and its gradients
    let residual = case.skip.then_some(skip.as_tensor());
    let then = case.relu.then_some(Activation::Relu);
    let y = match case.batch {
        true => x.as_tensor().batch_norm_add(&gain, &bias, EPS, residual, then)?.0,
        false => x.as_tensor().fixed_norm_add(&gain, &bias, (&mean, &r), residual, then)?,
    };
    let grads = (&y * &g)?.sum_all()?.backward()?;
    let host = |t: &Tensor| -> Result<Vec<T>> { Ok(t.flatten_all()?.to_vec1::<T>()?) };
    let expected = |v: &Var| host(grads.get(v.as_tensor()).expect("a gradient"));

    // the kernels
    let (xh, gh, sh) = (host(&x)?, host(&g)?, host(&skip)?);
    let (gainh, biash) = (host(&gain)?, host(&bias)?);
    let fixed = |t: &Tensor| t.to_dtype(DType::F64)?.to_vec1::<f64>();
    let mut stats = [fixed(&mean)?, vec![0.0; c], fixed(&r)?].concat();
    let mut partial = vec![f64::NAN; partial(s)];
    let layer = Layer { x: at(&xh), gain: at(&gainh), bias: at(&biash), stats: at_mut(&mut stats) };
    let mut yk = vec![T::default(); n];
    let skip_at = if case.skip { at(&sh) } else { 0 };
    let launches = match case.batch {
        true => forward(T::REAL, s, layer, at_mut(&mut partial), EPS, skip_at, case.relu, at_mut(&mut yk)),
        false => vec![apply(T::REAL, s, layer, skip_at, case.relu, at_mut(&mut yk))],
    };
    assert!(launches.len() <= 2, "{case:?}");
    // SAFETY: buffers of the shape's sizes.
    unsafe { run(&NORM, &launches) };

    let mask = match (case.relu, case.skip) {
        (false, _) => Mask::All,
        (true, false) => Mask::Again,
        (true, true) => Mask::Output(at(&yk)),
    };
    let (mut dx, mut dskip) = (vec![T::default(); n], vec![T::default(); n]);
    let (mut dgain, mut dbias) = (vec![T::default(); c], vec![T::default(); c]);
    let to = Gradients {
        x: at_mut(&mut dx),
        gain: at_mut(&mut dgain),
        bias: at_mut(&mut dbias),
        skip: if case.skip { at_mut(&mut dskip) } else { 0 },
    };
    let launches = backward(T::REAL, s, layer, mask, at(&gh), at_mut(&mut partial), case.batch, to);
    assert!(launches.len() <= 2, "{case:?}");
    // SAFETY: as above.
    unsafe { run(&NORM, &launches) };

    let name = format!("{dims:?} offset {} skip {} relu {} batch {}", case.offset, case.skip, case.relu, case.batch);
    assert_close(&format!("y of {name}"), &yk, &host(&y)?, tolerance);
    assert_close(&format!("dx of {name}"), &dx, &expected(&x)?, tolerance);
    // sums over a channel, of numbers of size 1
    let wide = tolerance * (s.count() as f64).sqrt();
    assert_close(&format!("dgain of {name}"), &dgain, &expected(&gain)?, wide);
    assert_close(&format!("dbias of {name}"), &dbias, &expected(&bias)?, wide);
    if case.skip {
        assert_close(&format!("dskip of {name}"), &dskip, &expected(&skip)?, tolerance);
    }
    Ok(())
}

#[test]
fn normalisation_and_its_gradients_are_those_of_the_cpu() -> Result<()> {
    if !compiler() {
        return Ok(());
    }
    // one channel; a matrix; fewer elements than threads; one example, as the groups of group normalisation are; more elements
    // than one block goes over, in runs of which the last is short; the same of pixels
    for shape in [
        vec![3, 1, 5, 5],
        vec![33, 7],
        vec![2, 4, 3, 3],
        vec![3, 5, 41, 37],
        vec![40, 2, 8, 9],
        vec![1, 12, 6],
        vec![7, 2, 41, 37],
        vec![8193, 1],
    ] {
        for (skip, relu, batch) in [
            (false, false, true),
            (false, true, true),
            (true, true, true),
            (true, false, true),
            (false, true, false),
            (true, true, false),
            (false, false, false),
        ] {
            let case = Case { shape: shape.clone(), offset: 0.5, skip, relu, batch };
            // a few roundings of numbers of size 1 to 10
            check::<f32>(&case, 1e-5)?;
            check::<f64>(&case, 1e-13)?;
        }
    }
    Ok(())
}

#[test]
fn the_variance_of_numbers_far_from_zero_keeps_its_digits() -> Result<()> {
    if !compiler() {
        return Ok(());
    }
    let case = Case { shape: vec![4, 3, 16, 16], offset: 1e4, skip: false, relu: false, batch: true };
    // x itself has four digits fewer
    check::<f64>(&case, 1e-9)
}

#[test]
fn nothing_is_done_for_no_element() {
    if !compiler() {
        return;
    }
    let s = Split { outer: 0, channels: 4, inner: 9 };
    let layer = Layer { x: 0, gain: 0, bias: 0, stats: 0 };
    // SAFETY: a launch of no thread reads no address.
    unsafe { run(&NORM, &[apply(f32::REAL, s, layer, 0, true, 0)]) };
}
