//! Softmax and cross entropy.

use crate::host::{Element, assert_close, at, at_mut, compiler, run};
use candle_core::{Device, Result, Tensor, Var};
use flat_core::{Purpose, Streams};
use flat_kernels::cuda::launch::SOFTMAX;
use flat_kernels::cuda::softmax::{self, Kind};
use flat_nn::{Loss, Value};

fn check<T: Element>(n: usize, k: usize, scale: f64, tolerance: f64) -> Result<()> {
    let numbers = |i: u64, len| Streams::new(3).at(Purpose::Test, i).normals(len);
    let z = Tensor::from_vec(numbers(0, n * k), (n, k), &Device::Cpu)?.affine(scale, 0.0)?.to_dtype(T::DTYPE)?;
    // targets smoothed by 0.1
    let mut t = vec![0.1 / k as f64; n * k];
    (0..n).for_each(|i| t[i * k + i * 7 % k] += 0.9);
    let t = Tensor::from_vec(t, (n, k), &Device::Cpu)?.to_dtype(T::DTYPE)?;
    let g = Tensor::from_vec(numbers(1, n), n, &Device::Cpu)?.to_dtype(T::DTYPE)?;
    let host = |t: &Tensor| t.flatten_all()?.to_vec1::<T>();
    let (zh, th, gh) = (host(&z)?, host(&t)?, host(&g)?);

    let (mut p, mut loss, mut dz) = (vec![T::default(); n * k], vec![T::default(); n], vec![T::default(); n * k]);
    let launches = [
        softmax::softmax(T::REAL, n, k, at(&zh), at_mut(&mut p)),
        softmax::cross_entropy(T::REAL, n, k, at(&zh), at(&th), at_mut(&mut loss)),
        softmax::cross_entropy_gradient(T::REAL, n, k, at(&zh), at(&th), at(&gh), at_mut(&mut dz)),
    ];
    // SAFETY: n rows of k everywhere, n losses and gradients.
    unsafe { run(&SOFTMAX, &launches) };

    let z = Var::from_tensor(&z)?;
    let expected = z.as_tensor().cross_entropy(&t).map_err(candle_core::Error::wrap)?;
    let grads = (&expected * &g)?.sum_all()?.backward()?;
    let name = format!("{n} rows of {k}, scale {scale}");
    assert_close(&name, &p, &host(&flat_nn::ops::softmax(&z)?)?, tolerance);
    assert_close(&name, &loss, &host(&expected)?, tolerance);
    let Some(expected) = grads.get(z.as_tensor()) else { panic!("no gradient") };
    assert_close(&name, &dz, &host(expected)?, tolerance);
    Ok(())
}

#[test]
fn softmax_and_cross_entropy_are_those_of_the_cpu() -> Result<()> {
    if !compiler() {
        return Ok(());
    }
    // one class; fewer than a block; more than one, not a multiple; logits so large that their exponentials overflow
    for (n, k, scale) in [(3, 1, 1.0), (8, 10, 1.0), (2, 300, 1.0), (3, 512, 4.0), (4, 10, 500.0), (0, 10, 1.0)] {
        // both compute in double inside and round once
        check::<f32>(n, k, scale, 2e-7)?;
        check::<f64>(n, k, scale, 1e-14)?;
    }
    Ok(())
}

#[test]
fn a_loss_far_below_one_keeps_its_digits() {
    if !compiler() {
        return;
    }
    let (z, t, mut loss) = ([30.0f64, 0.0], [1.0f64, 0.0], [0.0f64]);
    let launch = softmax::cross_entropy(f64::REAL, 1, 2, at(&z), at(&t), at_mut(&mut loss));
    // SAFETY: one row of two.
    unsafe { run(&SOFTMAX, &[launch]) };
    assert!((loss[0] / (-30f64).exp().ln_1p() - 1.0).abs() < 1e-12, "{}", loss[0]);
}

#[test]
fn equal_largest_logits_share_the_probability() {
    if !compiler() {
        return;
    }
    let k = 600;
    let (z, mut t) = (vec![2.0f64; k], vec![0.0f64; k]);
    t[5] = 1.0;
    let (mut loss, mut p) = ([0.0f64], vec![0.0f64; k]);
    let launches = [
        softmax::cross_entropy(f64::REAL, 1, k, at(&z), at(&t), at_mut(&mut loss)),
        softmax::softmax(f64::REAL, 1, k, at(&z), at_mut(&mut p)),
    ];
    // SAFETY: one row of k.
    unsafe { run(&SOFTMAX, &launches) };
    assert!((loss[0] - (k as f64).ln()).abs() < 1e-13);
    assert!(p.iter().all(|p| (p * k as f64 - 1.0).abs() < 1e-13));
}

fn mean_loss<T: Element>(n: usize, k: usize, loss: Loss, kind: Kind, tolerance: f64) -> Result<()> {
    let z = Tensor::from_vec(Streams::new(3).at(Purpose::Test, 2).normals(n * k), (n, k), &Device::Cpu)?;
    let z = Var::from_tensor(&z.to_dtype(T::DTYPE)?)?;
    let labels: Vec<u32> = (0..n).map(|i| (i * 7 % k) as u32).collect();
    let zh = z.flatten_all()?.to_vec1::<T>()?;
    let (mut dz, mut out) = (vec![T::default(); n * k], vec![f64::NAN; 2]);
    let mut room = vec![f64::NAN; softmax::partial(n, k)];
    let operands = [at(&zh), at(&labels)];
    let launches =
        softmax::mean_loss(T::REAL, (n, k), kind, operands, at_mut(&mut dz), at_mut(&mut room), at_mut(&mut out));
    assert!(launches.len() <= 2);
    // SAFETY: n rows of k, n labels, room for the sums.
    unsafe { run(&SOFTMAX, &launches) };

    let labels = Tensor::from_vec(labels, n, &Device::Cpu)?;
    let expected = loss.mean(z.as_tensor(), &labels).map_err(candle_core::Error::wrap)?;
    let grads = expected.backward()?;
    let name = format!("{n} rows of {k}, {loss}");
    let mean = expected.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
    assert!((out[0] - mean).abs() <= tolerance * mean.abs().max(1.0), "{name}: {} and {mean}", out[0]);
    let right: f64 = z.argmax(1)?.eq(&labels)?.to_dtype(candle_core::DType::F64)?.sum_all()?.to_scalar()?;
    assert_eq!(out[1], right, "{name}");
    let Some(expected) = grads.get(z.as_tensor()) else { panic!("no gradient") };
    assert_close(&name, &dz, &expected.flatten_all()?.to_vec1::<T>()?, tolerance);
    Ok(())
}

#[test]
fn a_mean_loss_with_gradient_and_right_answers_is_the_cpus() -> Result<()> {
    if !compiler() {
        return Ok(());
    }
    // a row; one block of rows; several; more logits than a thread goes over, of one row and of several
    for (n, k) in [(1, 10), (8, 10), (300, 10), (600, 3), (1, 100), (5, 300)] {
        let s = 0.1;
        let smoothed = Kind::CrossEntropy { on: 1.0 - s + s / k as f64, off: s / k as f64 };
        for (loss, kind) in [
            (Loss::CrossEntropy { label_smoothing: 0.0 }, Kind::CrossEntropy { on: 1.0, off: 0.0 }),
            (Loss::CrossEntropy { label_smoothing: s }, smoothed),
            (Loss::Mse, Kind::SquaredError),
        ] {
            // sums of up to 600 losses in the element type on the CPU
            mean_loss::<f32>(n, k, loss, kind, 2e-6)?;
            mean_loss::<f64>(n, k, loss, kind, 1e-14)?;
        }
    }
    Ok(())
}
