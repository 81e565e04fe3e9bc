//! `ParamVec` algebra at d = 1e6: what an optimizer step costs beyond its gradients.
//!
//! `cargo bench -p flat-minima --bench vector`. One f32 pass over such a vector moves 4 MB in each direction.
#![allow(missing_docs)] // criterion's macros declare public functions

use candle_core::{DType, Device, Shape};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flat::core::{Layout, ParamVec, Purpose, Result, Space, Streams};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const D: usize = 1_000_000;

/// Parameter space of one weight and one bias.
fn space(dtype: DType) -> Result<Space> {
    let layout = Layout::new([("weight".into(), Shape::from((999, 1000))), ("bias".into(), Shape::from(1000))])?;
    Ok(Space { layout: Arc::new(layout), dtype, device: Device::Cpu })
}

fn run(c: &mut Criterion) -> Result<()> {
    let mut group = c.benchmark_group("vector");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .throughput(Throughput::Elements(D as u64));
    let streams = Streams::new(0);
    for dtype in [DType::F32, DType::F64] {
        let space = space(dtype)?;
        let id = |operation: &str| BenchmarkId::new(operation, dtype.as_str());
        let u = ParamVec::gaussian(&space, 1.0, &streams.at(Purpose::Test, 0))?;
        let v = ParamVec::gaussian(&space, 1.0, &streams.at(Purpose::Test, 1))?;
        // a + b < 1 keeps the vector bounded however often it is updated
        let mut w = u.duplicate()?;
        group.bench_function(id("dot"), |b| b.iter(|| black_box(&u).dot(black_box(&v)).expect("same space")));
        group.bench_function(id("axpby"), |b| b.iter(|| w.axpby(0.9, 0.05, black_box(&v)).expect("same space")));
        group.bench_function(id("reject"), |b| b.iter(|| black_box(&v).reject(black_box(&u)).expect("same space")));
        let mut step = 0;
        group.bench_function(id("sphere"), |b| {
            b.iter(|| {
                step += 1;
                ParamVec::sphere(&space, &streams.at(Purpose::Perturb, step)).expect("a draw")
            });
        });
    }
    group.finish();
    Ok(())
}

fn vector(c: &mut Criterion) {
    run(c).expect("the benchmark's inputs are valid");
}

criterion_group!(benches, vector);
criterion_main!(benches);
