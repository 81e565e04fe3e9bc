//! The tangent of normalisation and its gradients, beside the CPU's kernels.

use crate::host::{Element, assert_close, at, at_mut, compiler, run};
use flat_core::{Purpose, Streams};
use flat_kernels::cpu::norm::{self as cpu, Direction, Moved};
use flat_kernels::cuda::launch::NORM_TANGENT;
use flat_kernels::cuda::norm::{Layer, Mask};
use flat_kernels::cuda::norm_tangent::{Gradients, Tangent, partial};
use flat_kernels::{Float, Split};

fn numbers<T: Element>(i: u64, n: usize) -> Vec<T> {
    Streams::new(8).at(Purpose::Test, i).normals(n).into_iter().map(T::from_f64).collect()
}

fn check<T: Element + Float>(s: Split, skip: bool, relu: bool, batch: bool, tolerance: f64) {
    let (n, c) = (s.elements(), s.channels);
    let all = |i| numbers::<T>(i, n);
    let each = |i| numbers::<T>(i, c);
    let (x, x_dot, residual, residual_dot, g) = (all(0), all(1), all(2), all(3), all(4));
    let (gain, bias, gain_dot, bias_dot) = (each(5), each(6), each(7), each(8));
    let source = match batch {
        true => cpu::Source::Batch(1e-5),
        false => {
            let of = |i| numbers::<f64>(i, c);
            cpu::Source::Fixed(of(9), of(10).into_iter().map(f64::abs).collect())
        }
    };
    let layer = cpu::Layer { split: s, x: &x, gain: &gain, bias: &bias, batch };
    let (y, stats) = cpu::forward(layer, &source, skip.then_some(&residual[..]), relu);
    let y = (skip && relu).then_some(y);
    let mask = || cpu::Mask::of(relu, y.as_deref());
    let dot = Direction { x: &x_dot, gain: &gain_dot, bias: &bias_dot, skip: skip.then_some(&residual_dot[..]) };
    let (expected, along) = cpu::tangents(layer, mask(), &[dot], &stats).remove(0);
    // a gradient of the output that stays leaves the gradients of the tangent
    let still = Moved { dot, along: &along, g: &vec![T::default(); n] };
    let [own, moved] = &cpu::backward_along(layer, mask(), &g, &stats, skip, &[still])[..] else { panic!("two") };

    let column = |f: &dyn Fn(&cpu::Stats) -> f64| stats.iter().map(f).collect::<Vec<f64>>();
    let rows = [column(&|s| s.mean), column(&|s| s.var), column(&|s| s.inv_std)].concat();
    let tangent = Tangent {
        layer: Layer { x: at(&x), gain: at(&gain), bias: at(&bias), stats: at(&rows) },
        mask: match (relu, &y) {
            (false, _) => Mask::All,
            (true, None) => Mask::Again,
            (true, Some(y)) => Mask::Output(at(y)),
        },
        batch,
        x: at(&x_dot),
        gain: at(&gain_dot),
        bias: at(&bias_dot),
        skip: if skip { at(&residual_dot) } else { 0 },
    };
    let (mut room, mut kept) = (vec![f64::NAN; partial(s)], vec![f64::NAN; 2 * c]);
    let mut out = vec![T::default(); n];
    let launches = tangent.forward(<T as Element>::REAL, s, at_mut(&mut room), at_mut(&mut kept), at_mut(&mut out));
    assert!(launches.len() <= 2);
    // SAFETY: buffers of the shape's sizes.
    unsafe { run(&NORM_TANGENT, &launches) };
    let (mut dx, mut dx_dot, mut dskip) = (vec![T::default(); n], vec![T::default(); n], vec![T::default(); n]);
    let mut dgain = vec![T::default(); c];
    let to = Gradients {
        x: at_mut(&mut dx),
        gain: at_mut(&mut dgain),
        x_dot: at_mut(&mut dx_dot),
        skip_dot: if skip { at_mut(&mut dskip) } else { 0 },
    };
    let launches = tangent.gradient(<T as Element>::REAL, s, at_mut(&mut room), at(&kept), at(&g), to);
    assert!(launches.len() <= 2);
    // SAFETY: as above.
    unsafe { run(&NORM_TANGENT, &launches) };

    let name = format!("{s:?} skip {skip} relu {relu} batch {batch}");
    assert_close(&format!("tangent of {name}"), &out, &expected, tolerance);
    assert_close(&format!("dx of {name}"), &dx, &moved.x, tolerance);
    assert_close(&format!("dx_dot of {name}"), &dx_dot, &own.x, tolerance);
    // a sum over a channel, of numbers of size 1
    assert_close(&format!("dgain of {name}"), &dgain, &moved.gain, tolerance * (s.count() as f64).sqrt());
    if let Some(skip) = &own.skip {
        assert_close(&format!("dskip of {name}"), &dskip, skip, tolerance);
    }
}

#[test]
fn the_tangent_of_normalisation_and_its_gradients_are_those_of_the_cpu() {
    if !compiler() {
        return;
    }
    // one channel, fewer elements than threads, one example; more elements than a block goes over, in runs of which the last
    // is short
    for (outer, channels, inner) in [(3, 1, 25), (2, 4, 9), (33, 7, 1), (1, 12, 6), (7, 2, 41 * 37), (8193, 1, 1)] {
        let s = Split { outer, channels, inner };
        for (skip, relu) in [(false, false), (false, true), (true, true), (true, false)] {
            for batch in [true, false] {
                // a few roundings of numbers of size 1 to 100; relu's place is found from other roundings of the output
                check::<f64>(s, skip, relu, batch, 1e-12);
                check::<f32>(s, skip, relu, batch, 1e-4);
            }
        }
    }
}
