//! One optimizer step at batch 128: plain SGD against SAM and RSP, which take two gradients.
//!
//! `cargo bench -p flat-minima --bench step`. What a perturbed step costs beyond twice the plain one is the rule's own
//! algebra and its random direction.
#![allow(missing_docs)] // criterion's macros declare public functions

use candle_core::{DType, Device, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use flat::core::{Purpose, Streams};
use flat::nn::{Activation, Arch, Loss, Mode, Model, ModelConfig, Norm};
use flat::optim::{BaseConfig, Optimizer, Query, RuleConfig, RuleKind, SgdConfig, WithRows};
use std::time::Duration;

const BATCH: usize = 128;

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
        let mut group = c.benchmark_group(format!("step/{arch}"));
        group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
        for rule in [RuleKind::Plain, RuleKind::Sam, RuleKind::Rsp] {
            let model = Model::new(&config(arch), DType::F32, &Device::Cpu, &streams)?;
            let mut optimizer = Optimizer::builder(model.params())
                .rule(RuleConfig::from(rule))
                .base(BaseConfig::Sgd(SgdConfig { momentum: 0.9, ..SgdConfig::default() }))
                .lr(1e-3)
                .build()?;
            let mut objective = WithRows::new(BATCH, |_: Query| {
                let logits = model.logits(&x, Mode::Train).map_err(candle_core::Error::wrap)?;
                loss.mean(&logits, &labels).map_err(candle_core::Error::wrap)
            });
            group.bench_function(rule.name(), |b| b.iter(|| optimizer.step(&mut objective).expect("finite numbers")));
        }
        group.finish();
    }
    Ok(())
}

fn step(c: &mut Criterion) {
    run(c).expect("the benchmark's inputs are valid");
}

criterion_group!(benches, step);
criterion_main!(benches);
