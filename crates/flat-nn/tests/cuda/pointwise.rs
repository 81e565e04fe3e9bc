//! Relu and its mask, and shifts and sums by channel.

use crate::host::{Element, at, at_mut, compiler, run};
use candle_core::{Device, Result, Tensor};
use flat_core::{Purpose, Streams};
use flat_kernels::Split;
use flat_kernels::cuda::launch::POINTWISE;
use flat_kernels::cuda::norm::{Running, running};
use flat_kernels::cuda::pointwise::{add_relu, channel_shift, channel_sum, partial, relu, relu_mask};

fn numbers<T: Element>(i: u64, n: usize) -> Result<Vec<T>> {
    let x = Tensor::from_vec(Streams::new(8).at(Purpose::Test, i).normals(n), n, &Device::Cpu)?;
    x.to_dtype(T::DTYPE)?.to_vec1()
}

fn bits<T: Element>(x: impl IntoIterator<Item = T>) -> Vec<u64> {
    x.into_iter().map(|x| x.to_f64().to_bits()).collect()
}

fn elements<T: Element>(n: usize) -> Result<()> {
    let (mut a, b) = (numbers::<T>(0, n)?, numbers::<T>(1, n)?);
    for (i, x) in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0].into_iter().enumerate().take(n) {
        a[i] = T::from_f64(x);
    }
    let (mut y, mut sum, mut masked) = (vec![T::default(); n], vec![T::default(); n], vec![T::default(); n]);
    let launches = [
        relu(T::REAL, n, at(&a), at_mut(&mut y)),
        add_relu(T::REAL, n, at(&a), at(&b), at_mut(&mut sum)),
        relu_mask(T::REAL, n, at(&a), at(&b), at_mut(&mut masked)),
    ];
    // SAFETY: n elements everywhere.
    unsafe { run(&POINTWISE, &launches) };
    let clip = |x: f64| if x < 0.0 { 0.0 } else { x };
    let pairs = || a.iter().zip(&b).map(|(a, b)| (a.to_f64(), b.to_f64()));
    assert_eq!(bits(y), bits(a.iter().map(|a| T::from_f64(clip(a.to_f64())))));
    // one addition, rounded to the element type
    assert_eq!(bits(sum), bits(pairs().map(|(a, b)| T::from_f64(clip(T::from_f64(a + b).to_f64())))));
    // whatever the gradient is, it does not come through where relu gave zero
    assert_eq!(bits(masked), bits(pairs().map(|(a, b)| T::from_f64(if b <= 0.0 { 0.0 } else { a }))));
    Ok(())
}

fn channels<T: Element>(s: Split, tolerance: f64) -> Result<()> {
    let (x, shift) = (numbers::<T>(2, s.elements())?, numbers::<T>(3, s.channels)?);
    let (mut y, mut sums) = (vec![T::default(); s.elements()], vec![T::default(); s.channels]);
    let mut room = vec![f64::NAN; partial(s)];
    let mut launches = channel_sum(T::REAL, s, at(&x), at_mut(&mut room), at_mut(&mut sums));
    launches.push(channel_shift(T::REAL, s, at(&x), at(&shift), at_mut(&mut y)));
    // SAFETY: the sizes of the split, and room for the partial sums.
    unsafe { run(&POINTWISE, &launches) };
    let channel = |e: usize| e / s.inner % s.channels;
    let mut expected = vec![0.0; s.channels];
    x.iter().enumerate().for_each(|(e, x)| expected[channel(e)] += x.to_f64());
    for (found, expected) in sums.iter().zip(&expected) {
        assert!((found.to_f64() - expected).abs() <= tolerance * expected.abs().max(1.0), "{s:?}");
    }
    let shifted = x.iter().enumerate().map(|(e, x)| T::from_f64(x.to_f64() + shift[channel(e)].to_f64()));
    assert_eq!(bits(y), bits(shifted), "{s:?}");
    Ok(())
}

#[test]
fn relu_and_its_mask_are_those_of_the_cpu_for_numbers_that_are_not_finite_too() -> Result<()> {
    if !compiler() {
        return Ok(());
    }
    for n in [0, 1, 5, 300, 1000] {
        elements::<f32>(n)?;
        elements::<f64>(n)?;
    }
    Ok(())
}

#[test]
fn shifts_and_sums_by_channel_are_those_of_loops() -> Result<()> {
    if !compiler() {
        return Ok(());
    }
    // a row a channel; one channel; channels summed in one run and in several
    for (outer, channels_, inner) in [(3, 5, 1), (2, 1, 7), (4, 32, 25), (6, 3, 4000)] {
        let s = Split { outer, channels: channels_, inner };
        // sums in double, rounded once
        channels::<f32>(s, 2e-7)?;
        channels::<f64>(s, 1e-13)?;
    }
    Ok(())
}

#[test]
fn running_statistics_move_a_tenth_of_the_way() {
    if !compiler() {
        return;
    }
    let stats = [1.0f64, -2.0, 4.0, 9.0, 0.0, 0.0];
    let (mut mean, mut var, mut seen) = ([0.5f32, 0.25], [1.0f32, 2.0], [41u64]);
    let to = Running { mean: at_mut(&mut mean), var: at_mut(&mut var), seen: at_mut(&mut seen) };
    // SAFETY: two channels.
    unsafe {
        run(&flat_kernels::cuda::launch::NORM, &[running(f32::REAL, 2, at(&stats), to, 1.25, 0.1)]);
    }
    assert_eq!(mean, [(0.9 * 0.5 + 0.1 * 1.0) as f32, (0.9 * 0.25 + 0.1 * -2.0) as f32]);
    assert_eq!(var, [(0.9 * 1.0 + 0.1 * (4.0 * 1.25)) as f32, (0.9 * 2.0 + 0.1 * (9.0 * 1.25)) as f32]);
    assert_eq!(seen, [42]);
}
