//! The layers' kernels at the shapes of LeNet and ResNet-20.
//!
//! `cargo bench -p flat-minima --bench kernels`. A backward time contains the forward pass that it differentiates, and
//! the gradients of input and weight both.
#![allow(missing_docs)] // criterion's macros declare public functions

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use criterion::{Criterion, criterion_group, criterion_main};
use flat::core::{Purpose, Streams};
use flat::nn::Loss;
use flat::nn::ops::{Conv2d, Pool2d};
use std::time::Duration;

/// A variable of standard normal numbers.
fn normal(shape: impl Into<Shape>, index: u64) -> Result<Var> {
    let shape = shape.into();
    let x = Streams::new(0).at(Purpose::Test, index).normals(shape.elem_count());
    Var::from_tensor(&Tensor::from_vec(x, shape, &Device::Cpu)?.to_dtype(DType::F32)?)
}

/// Name, input `(n, c, h, w)`, weight `(c_out, c_in, k, k)`, stride.
type Case = (&'static str, [usize; 4], [usize; 4], usize);

/// Every convolution of LeNet at batch 128, the five kinds of ResNet-20 at batch 32.
const CONVOLUTIONS: [Case; 7] = [
    ("lenet-conv1", [128, 1, 28, 28], [32, 1, 5, 5], 1),
    ("lenet-conv2", [128, 32, 14, 14], [64, 32, 5, 5], 1),
    ("resnet20-stem", [32, 3, 32, 32], [16, 3, 3, 3], 1),
    ("resnet20-16x32x32", [32, 16, 32, 32], [16, 16, 3, 3], 1),
    ("resnet20-down", [32, 16, 32, 32], [32, 16, 3, 3], 2),
    ("resnet20-32x16x16", [32, 32, 16, 16], [32, 32, 3, 3], 1),
    ("resnet20-64x8x8", [32, 64, 8, 8], [64, 64, 3, 3], 1),
];

fn run(c: &mut Criterion) -> Result<()> {
    let mut group = c.benchmark_group("kernels");
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
    for (name, input, weight, stride) in CONVOLUTIONS {
        let conv = Conv2d { stride, padding: weight[2] / 2 };
        let (x, w) = (normal(&input[..], 0)?, normal(&weight[..], 1)?);
        let (x0, w0) = (x.as_detached_tensor(), w.as_detached_tensor());
        group.bench_function(format!("{name}/forward"), |b| {
            b.iter(|| conv.forward(&x0, &w0, None).expect("shapes fit"));
        });
        group.bench_function(format!("{name}/backward"), |b| {
            b.iter(|| conv.forward(&x, &w, None).and_then(|y| y.sum_all()?.backward()).expect("shapes fit"));
        });
    }

    let (pool, x) = (Pool2d::tiles(2), normal((128, 32, 28, 28), 2)?);
    let x0 = x.as_detached_tensor();
    group.bench_function("max-pool-32x28x28/forward", |b| b.iter(|| pool.max(&x0).expect("tiles fit")));
    group.bench_function("max-pool-32x28x28/backward", |b| {
        b.iter(|| pool.max(&x).and_then(|y| y.sum_all()?.backward()).expect("tiles fit"));
    });

    let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
    let (n, classes) = (1024, 10u32);
    let z = normal((n, classes as usize), 3)?;
    let z0 = z.as_detached_tensor();
    let labels = Tensor::from_vec((0..n as u32).map(|i| i % classes).collect::<Vec<_>>(), n, &Device::Cpu)?;
    group.bench_function("cross-entropy-1024x10/forward", |b| {
        b.iter(|| loss.mean(&z0, &labels).expect("labels fit"));
    });
    group.bench_function("cross-entropy-1024x10/backward", |b| {
        b.iter(|| loss.mean(z.as_tensor(), &labels).expect("labels fit").backward().expect("a scalar"));
    });
    group.finish();
    Ok(())
}

fn kernels(c: &mut Criterion) {
    run(c).expect("the benchmark's inputs are valid");
}

criterion_group!(benches, kernels);
criterion_main!(benches);
