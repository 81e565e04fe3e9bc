//! A Hessian-vector product against a gradient, at batch 32.
//!
//! `cargo bench -p flat-minima --bench hvp`. Probes of the Hessian trace cost one product each; the ratio of the two
//! times is the cost of a product in gradient evaluations.
#![allow(missing_docs)] // criterion's macros declare public functions

use candle_core::{DType, Device, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use flat::core::{ParamVec, Purpose, Streams};
use flat::metrics::{LinearOperator, ModelObjective, TangentHessian, gradient};
use flat::nn::{Activation, Arch, Loss, Mode, Model, ModelConfig, Norm};
use std::time::Duration;

const BATCH: usize = 32;

/// An MNIST classifier.
fn config(arch: Arch) -> ModelConfig {
    ModelConfig {
        arch,
        in_channels: 1,
        height: 28,
        width: 28,
        classes: 10,
        hidden: if arch == Arch::Mlp { vec![256] } else { vec![] },
        activation: Activation::Relu,
        norm: Norm::Batch,
    }
}

fn run(c: &mut Criterion) -> anyhow::Result<()> {
    let streams = Streams::new(0);
    let pixels = streams.at(Purpose::Test, 0).normals(BATCH * 28 * 28);
    let x = Tensor::from_vec(pixels, (BATCH, 1, 28, 28), &Device::Cpu)?.to_dtype(DType::F32)?;
    let labels = Tensor::from_vec((0..BATCH as u32).map(|i| i % 10).collect::<Vec<_>>(), BATCH, &Device::Cpu)?;
    let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
    for arch in [Arch::LeNet, Arch::Mlp] {
        let model = Model::new(&config(arch), DType::F32, &Device::Cpu, &streams)?;
        let objective = ModelObjective::new(&model, loss, Mode::Eval, vec![(x.clone(), labels.clone())])?;
        let mut hessian = TangentHessian::new(&objective)?;
        let v = ParamVec::rademacher(model.params().space(), &streams.at(Purpose::Probe, 0))?;
        let mut group = c.benchmark_group(format!("hvp/{arch}"));
        group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
        group.bench_function("gradient", |b| b.iter(|| gradient(&objective).expect("finite numbers")));
        group.bench_function("tangent-hessian", |b| b.iter(|| hessian.apply(&v).expect("finite numbers")));
        group.finish();
    }
    Ok(())
}

fn hvp(c: &mut Criterion) {
    run(c).expect("the benchmark's inputs are valid");
}

criterion_group!(benches, hvp);
criterion_main!(benches);
