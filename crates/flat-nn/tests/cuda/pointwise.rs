//! Relu and its mask, and shifts and sums by channel.

use crate::host::{Element, at, at_mut, compiler, run};
use candle_core::{Device, Result, Tensor};
use flat_core::{Purpose, Streams};
use flat_kernels::Split;
use flat_kernels::cuda::launch::POINTWISE;
use flat_kernels::cuda::norm::{Running, running};
use flat_kernels::cuda::pointwise::{
    add_relu, channel_shift, channel_sum, partial, plane_mean, plane_share, relu, relu_mask, shift_gradient,
};

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

/// relu of a shift a channel.
fn y_of<T: Element>(x: &[T], shift: &[T], s: Split) -> Vec<T> {
    let shifted = x.iter().enumerate().map(|(e, x)| T::from_f64(x.to_f64() + shift[e / s.inner % s.channels].to_f64()));
    shifted.map(|y| if y.to_f64() < 0.0 { T::default() } else { y }).collect()
}

fn channels<T: Element>(s: Split, tolerance: f64) -> Result<()> {
    let (x, shift) = (numbers::<T>(2, s.elements())?, numbers::<T>(3, s.channels)?);
    let (mut y, mut sums) = (vec![T::default(); s.elements()], vec![T::default(); s.channels]);
    let mut room = vec![f64::NAN; partial(s)];
    let mut launches = channel_sum(T::REAL, s, at(&x), at_mut(&mut room), at_mut(&mut sums));
    launches.push(channel_shift(T::REAL, s, at(&x), at(&shift), false, at_mut(&mut y)));
    let (mut clipped, mut dx, mut dshift) = (y.clone(), y.clone(), sums.clone());
    launches.push(channel_shift(T::REAL, s, at(&x), at(&shift), true, at_mut(&mut clipped)));
    launches.push(shift_gradient(T::REAL, s, at(&x), at(&clipped), at_mut(&mut dx), at_mut(&mut dshift)));
    // SAFETY: the sizes of the split, and room for the partial sums.
    unsafe { run(&POINTWISE, &launches) };
    let channel = |e: usize| e / s.inner % s.channels;
    let mut expected = vec![0.0; s.channels];
    x.iter().enumerate().for_each(|(e, x)| expected[channel(e)] += x.to_f64());
    for (found, expected) in sums.iter().zip(&expected) {
        assert!((found.to_f64() - expected).abs() <= tolerance * expected.abs().max(1.0), "{s:?}");
    }
    let shifted = x.iter().enumerate().map(|(e, x)| T::from_f64(x.to_f64() + shift[channel(e)].to_f64()));
    assert_eq!(bits(y), bits(shifted.clone()), "{s:?}");
    // relu of the same, and the gradient x where that is positive
    let positive = shifted.map(|y| y.to_f64() > 0.0);
    let kept = x.iter().zip(positive).map(|(x, positive)| if positive { *x } else { T::default() });
    assert_eq!(bits(clipped), bits(y_of(&x, &shift, s)), "{s:?}");
    assert_eq!(bits(dx), bits(kept.clone()), "{s:?}");
    let mut expected = vec![0.0; s.channels];
    kept.enumerate().for_each(|(e, x)| expected[channel(e)] += x.to_f64());
    for (found, expected) in dshift.iter().zip(&expected) {
        assert!((found.to_f64() - expected).abs() <= tolerance * expected.abs().max(1.0), "{s:?}");
    }
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
    let (other, mut mean_1, mut var_1, mut seen_1) = ([3.0f64, 5.0, 0.0], [0.0f32], [0.0f32], [6u64]);
    let two = Running {
        stats: at(&stats),
        mean: at_mut(&mut mean),
        var: at_mut(&mut var),
        seen: at_mut(&mut seen),
        channels: 2,
        unbiased: 1.25,
    };
    let one = Running {
        stats: at(&other),
        mean: at_mut(&mut mean_1),
        var: at_mut(&mut var_1),
        seen: at_mut(&mut seen_1),
        channels: 1,
        unbiased: 2.0,
    };
    let table = Running::table(&[two, one]);
    // SAFETY: a layer of two channels and one of one.
    unsafe { run(&flat_kernels::cuda::launch::NORM, &[running(f32::REAL, 2, at(&table), 0.1)]) };
    assert_eq!(mean, [(0.9 * 0.5 + 0.1 * 1.0) as f32, (0.9 * 0.25 + 0.1 * -2.0) as f32]);
    assert_eq!(var, [(0.9 * 1.0 + 0.1 * (4.0 * 1.25)) as f32, (0.9 * 2.0 + 0.1 * (9.0 * 1.25)) as f32]);
    assert_eq!((mean_1, var_1), ([(0.1 * 3.0) as f32], [(0.1 * (5.0 * 2.0)) as f32]));
    assert_eq!(seen_1, [7]);
    assert_eq!(seen, [42]);
}

#[test]
fn the_mean_of_planes_and_its_transpose_are_those_of_loops() -> Result<()> {
    if !compiler() {
        return Ok(());
    }
    for (planes, area) in [(1, 1), (5, 16), (300, 7)] {
        let x = numbers::<f32>(4, planes * area)?;
        let (mut mean, mut share) = (vec![0f32; planes], vec![0f32; planes * area]);
        let launches = [
            plane_mean(f32::REAL, planes, area, at(&x), at_mut(&mut mean)),
            plane_share(f32::REAL, planes, area, at(&mean), at_mut(&mut share)),
        ];
        // SAFETY: planes of `area` elements.
        unsafe { run(&POINTWISE, &launches) };
        let sum = |plane: &[f32]| plane.iter().map(|x| f64::from(*x)).sum::<f64>();
        let expected: Vec<f32> = x.chunks_exact(area).map(|plane| (sum(plane) / area as f64) as f32).collect();
        assert_eq!(bits(mean.clone()), bits(expected));
        let expected = (0..planes * area).map(|e| (f64::from(mean[e / area]) / area as f64) as f32);
        assert_eq!(bits(share), bits(expected));
    }
    Ok(())
}
