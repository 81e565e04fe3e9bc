//! `ParamVec` algebra and passes over the variables: what an optimizer step costs beyond its gradients.
//!
//! `cargo bench -p flat-minima --bench vector`. Throughput counts the vectors that each operation must read and write, 4
//! bytes an element; `memcpy` is what the machine's memory gives to two threads that copy. The smaller size fits into
//! caches, the larger one is ResNet-18's and does not.
#![allow(missing_docs)] // criterion's macros declare public functions

use candle_core::{DType, Device, Tensor, Var};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flat::core::{Number, ParamVec, Params, Purpose, Result, Streams, Update};
use std::hint::black_box;
use std::time::Duration;

/// The allocator of the tool.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// SGD with momentum: `m <- 0.9 m + g; w <- w - 0.01 m`.
struct Momentum;

impl Update<1, 1> for Momentum {
    fn update<E: Number>(&self, w: E, [g]: [E; 1], [m]: [E; 1]) -> (E, [E; 1]) {
        let m = m * 0.9 + g;
        (w - m.clone() * 0.01, [m])
    }
}

fn variables(d: usize) -> Result<Params> {
    let var = |n: usize| Var::zeros(n, DType::F32, &Device::Cpu);
    Params::new([("weight".to_string(), var(d - 1000)?), ("bias".to_string(), var(1000)?)])
}

fn run(c: &mut Criterion, d: usize) -> Result<()> {
    let mut group = c.benchmark_group("vector");
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
    let params = variables(d)?;
    let space = params.space();
    let draw = |index| ParamVec::gaussian(space, 1.0, &Streams::new(0).at(Purpose::Test, index));
    let (u, v, mut w) = (draw(0)?, draw(1)?, draw(2)?);
    let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu)?;
    for var in params.vars() {
        loss = (loss + var.sum_all()?)?;
    }
    let grads = loss.backward()?;
    let (source, mut target) = (vec![1.0f32; d], vec![0.0f32; d]);
    let mut bench = |operation: &str, vectors: usize, f: &mut dyn FnMut() -> Result<()>| {
        group.throughput(Throughput::Bytes(4 * (vectors * d) as u64));
        group.bench_function(BenchmarkId::new(operation, d), |b| b.iter(|| f().expect("the inputs are valid")));
    };
    bench("memcpy", 2, &mut || {
        let (left, right) = target.split_at_mut(d / 2);
        std::thread::scope(|scope| {
            scope.spawn(|| left.copy_from_slice(&source[..d / 2]));
            right.copy_from_slice(&source[d / 2..]);
        });
        black_box(&mut target);
        Ok(())
    });
    bench("dot", 2, &mut || {
        black_box(black_box(&u).dot(black_box(&v))?);
        Ok(())
    });
    bench("add_scaled", 3, &mut || w.add_scaled(1e-6, black_box(&v)));
    bench("plus", 3, &mut || black_box(&u).plus(0.5, &v).map(drop));
    bench("reject", 5, &mut || black_box(&v).reject(black_box(&u)).map(drop));
    bench("read", 2, &mut || params.read().map(drop));
    bench("write", 2, &mut || params.write(black_box(&u)));
    bench("write_sum", 3, &mut || params.write_sum(black_box(&u), 0.1, &v, None));
    bench("displace", 4, &mut || params.displace(0.1, black_box(&v), None).map(drop));
    bench("gradient", 2, &mut || params.gradient(black_box(&grads)).map(drop));
    bench("momentum", 5, &mut || params.update([&u], [&mut w], |_| Momentum));
    let mut step = 0;
    bench("sphere", 1, &mut || {
        step += 1;
        ParamVec::sphere(space, &Streams::new(0).at(Purpose::Perturb, step)).map(drop)
    });
    group.finish();
    Ok(())
}

fn vector(c: &mut Criterion) {
    for d in [200_000, 11_000_000] {
        run(c, d).expect("the benchmark's inputs are valid");
    }
}

criterion_group!(benches, vector);
criterion_main!(benches);
