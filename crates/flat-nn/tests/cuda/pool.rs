//! Max pooling, the picking of places and its transpose.

use crate::host::{Element, at, at_mut, compiler, run};
use candle_core::{Device, Result, Tensor, Var};
use flat_core::{Purpose, Streams};
use flat_kernels::Windows;
use flat_kernels::cuda::launch::POOL;
use flat_kernels::cuda::max_pool::{gather, max, scatter, shifted, shifted_gradient};
use flat_nn::ops::{Pool2d, relu};

/// Places of the maxima found by looking at every window.
fn places<T: Element>(x: &[T], s: Windows) -> Vec<u32> {
    let mut out = Vec::new();
    for plane in 0..s.planes {
        for (i, j) in (0..s.oh).flat_map(|i| (0..s.ow).map(move |j| (i, j))) {
            let rows = (i * s.stride).saturating_sub(s.padding)..(i * s.stride + s.kernel - s.padding).min(s.h);
            let columns = (j * s.stride).saturating_sub(s.padding)..(j * s.stride + s.kernel - s.padding).min(s.w);
            let window: Vec<usize> = rows.flat_map(|r| columns.clone().map(move |c| r * s.w + c)).collect();
            let value = |p: usize| x[plane * s.h * s.w + p].to_f64();
            let nan = window.iter().copied().find(|p| value(*p).is_nan());
            let max = window.iter().map(|p| value(*p)).fold(f64::NEG_INFINITY, f64::max);
            out.push(nan.or(window.iter().copied().find(|p| value(*p) == max)).expect("a window") as u32);
        }
    }
    out
}

fn check<T: Element>(x: &Tensor, pool: Pool2d) -> Result<()> {
    let (n, c, h, w) = x.dims4()?;
    let x = Var::from_tensor(&x.to_dtype(T::DTYPE)?)?;
    let y = pool.max(&x)?;
    let (_, _, oh, ow) = y.dims4()?;
    let Pool2d { kernel, stride, padding } = pool;
    let s = Windows { planes: n * c, h, w, oh, ow, kernel, stride, padding };
    let g = Tensor::from_vec(Streams::new(4).at(Purpose::Test, 9).normals(s.outputs()), y.shape(), &Device::Cpu)?;
    let g = g.to_dtype(T::DTYPE)?;
    let host = |t: &Tensor| t.flatten_all()?.to_vec1::<T>();
    let (xh, gh) = (host(&x)?, host(&g)?);

    let (mut yk, mut at_places) = (vec![T::default(); s.outputs()], vec![0u32; s.outputs()]);
    let (mut again, mut dx) = (yk.clone(), vec![T::default(); s.inputs()]);
    let launches = [
        max(T::REAL, s, at(&xh), at_mut(&mut yk), at_mut(&mut at_places)),
        gather(T::REAL, s, at(&xh), at(&at_places), at_mut(&mut again)),
        scatter(T::REAL, s, at(&gh), at(&at_places), at_mut(&mut dx)),
    ];
    // SAFETY: buffers of the inputs' and outputs' sizes.
    unsafe { run(&POOL, &launches) };

    let bits = |x: &[T]| x.iter().map(|x| x.to_f64().to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&yk), bits(&host(&y)?), "{pool:?} of {h}x{w}");
    assert_eq!(bits(&again), bits(&yk));
    assert_eq!(at_places, places(&xh, s), "{pool:?} of {h}x{w}");
    let grads = (&y * &g)?.sum_all()?.backward()?;
    let Some(expected) = grads.get(x.as_tensor()) else { panic!("no gradient") };
    // the same numbers added in the same order
    assert_eq!(bits(&dx), bits(&host(expected)?), "{pool:?} of {h}x{w}");

    // a shift a channel before, relu after
    let shift = Tensor::from_vec(Streams::new(4).at(Purpose::Test, 7).normals(c), c, &Device::Cpu)?;
    let shift = Var::from_tensor(&shift.to_dtype(T::DTYPE)?)?;
    let shifted_x = x.broadcast_add(&shift.reshape((1, c, 1, 1))?)?;
    let y = relu(&pool.max(&shifted_x)?)?;
    let (by, mut dshift) = (host(&shift)?, vec![T::default(); c]);
    let operands = [at(&gh), at(&at_places), at_mut(&mut dx)];
    let launches = [
        shifted(T::REAL, s, at(&xh), (at(&by), c), at_mut(&mut yk), at_mut(&mut at_places)),
        shifted_gradient(T::REAL, s, operands, at(&yk), (at_mut(&mut dshift), c)),
    ];
    // SAFETY: as above, and a shift a channel.
    unsafe { run(&POOL, &launches) };
    assert_eq!(bits(&yk), bits(&host(&y)?), "{pool:?} of {h}x{w}");
    let grads = (&y * &g)?.sum_all()?.backward()?;
    let Some(expected) = grads.get(x.as_tensor()) else { panic!("no gradient") };
    assert_eq!(bits(&dx), bits(&host(expected)?), "{pool:?} of {h}x{w}");
    let Some(expected) = grads.get(shift.as_tensor()) else { panic!("no gradient") };
    for (found, expected) in dshift.iter().zip(host(expected)?) {
        // a sum of up to 200 numbers of size 1, by another order
        assert!((found.to_f64() - expected.to_f64()).abs() < if size_of::<T>() == 4 { 2e-4 } else { 1e-12 });
    }
    Ok(())
}

#[test]
fn max_pooling_picks_and_puts_back_as_on_the_cpu() -> Result<()> {
    if !compiler() {
        return Ok(());
    }
    let overlapping = |kernel, stride, padding| Pool2d { kernel, stride, padding };
    // tiles, with rows and columns left over; windows that overlap, with borders; windows with gaps; one channel, one pixel
    for (shape, pool) in [
        ((2, 3, 8, 8), Pool2d::tiles(2)),
        ((2, 1, 7, 9), Pool2d::tiles(2)),
        ((1, 2, 9, 11), Pool2d::tiles(3)),
        ((2, 2, 9, 7), overlapping(3, 2, 1)),
        ((1, 3, 6, 6), overlapping(3, 1, 1)),
        ((1, 1, 10, 10), overlapping(2, 3, 0)),
        ((1, 1, 1, 1), Pool2d::tiles(1)),
        ((5, 7, 20, 20), overlapping(3, 2, 1)),
    ] {
        let numbers = Streams::new(4).at(Purpose::Test, 0).normals(shape.0 * shape.1 * shape.2 * shape.3);
        let x = Tensor::from_vec(numbers, shape, &Device::Cpu)?;
        // as they are, and rounded to whole numbers so that many windows hold equal maxima
        for x in [x.clone(), x.round_to(0)?] {
            check::<f32>(&x, pool)?;
            check::<f64>(&x, pool)?;
        }
    }
    Ok(())
}

#[test]
fn a_nan_is_the_maximum_of_its_windows() {
    if !compiler() {
        return;
    }
    let x = [1.0f32, 5.0, f32::NAN, 2.0, 3.0, f32::NAN, 0.0, 9.0];
    let s = Windows { planes: 2, h: 2, w: 2, oh: 1, ow: 1, kernel: 2, stride: 2, padding: 0 };
    let (mut y, mut at_places) = ([0.0f32; 2], [9u32; 2]);
    // SAFETY: two planes of four, two maxima.
    unsafe { run(&POOL, &[max(f32::REAL, s, at(&x), at_mut(&mut y), at_mut(&mut at_places))]) };
    assert!(y.iter().all(|y| y.is_nan()));
    assert_eq!(at_places, [2, 1]);
}
