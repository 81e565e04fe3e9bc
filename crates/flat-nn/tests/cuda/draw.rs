//! Random draws by a kernel are the host's to the bit.

use crate::host::{Element, at_mut, compiler, run};
use candle_core::{Device, Shape};
use flat_core::{Layout, ParamVec, Purpose, Result, Space, Streams};
use flat_kernels::cuda::draw::{CHUNK, Law, draw};
use flat_kernels::cuda::launch::DRAW;

/// The key of a stream: seed, purpose, and both indices, the second plus 1.
fn key(seed: u64, purpose: Purpose, major: u64, minor: u64) -> [u64; 4] {
    [seed, purpose as u64, major, minor + 1]
}

fn draws<T: Element>(n: usize) -> Result<()> {
    let layout = Layout::new([("w".into(), Shape::from(n))])?.into();
    let space = Space { layout, dtype: T::DTYPE, device: Device::Cpu };
    for (seed, major, minor) in [(0, 0, 0), (7, 1 << 40 | 3, 1)] {
        let stream = Streams::new(seed).at2(Purpose::Perturb, major, minor);
        let expected = [
            (Law::Normal, ParamVec::noise(&space, &stream)?),
            (Law::Sign, ParamVec::rademacher(&space, &stream)?),
            (Law::Mask(0.3), ParamVec::bernoulli(&space, 0.3, &stream)?),
        ];
        for (law, expected) in expected {
            // a number that no law gives, and one element more than is asked for
            let mut out = vec![T::from_f64(99.0); n + 1];
            let launch = draw(T::REAL, law, key(seed, Purpose::Perturb, major, minor), n, at_mut(&mut out));
            // SAFETY: room for n numbers.
            unsafe { run(&DRAW, &[launch]) };
            let found: Vec<u64> = out.iter().map(|x| x.to_f64().to_bits()).collect();
            let expected = expected.to_f64()?.into_iter().chain([99.0]).map(f64::to_bits);
            assert!(found.iter().copied().eq(expected), "{n} numbers by {law:?} of seed {seed} in {:?}", T::DTYPE);
        }
    }
    Ok(())
}

#[test]
fn numbers_drawn_by_a_kernel_are_those_of_the_host_to_the_bit() -> Result<()> {
    if !compiler() {
        return Ok(());
    }
    // whole chunks, whole groups of a chunk, and neither
    for n in [1, 7, 16, 333, CHUNK, CHUNK + 9, 3 * CHUNK - 5] {
        draws::<f32>(n)?;
        draws::<f64>(n)?;
    }
    Ok(())
}
