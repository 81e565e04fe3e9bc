//! One optimizer step at batch 128: plain SGD against SAM and RSP, which take two gradients.
//!
//! `cargo bench -p flat-minima --bench step`. What a perturbed step costs beyond twice the plain one is the rule's own
//! algebra and its random direction.
#![allow(missing_docs)] // criterion's macros declare public functions

use criterion::{Criterion, criterion_group, criterion_main};
use flat::core::setting::Values;
use flat::nn::{Loss, Mode, networks};
use flat::optim::{Optimizer, Query, RuleKind, Sgd, WithRows};
use std::time::Duration;

mod classifier;

/// The allocator of the tool.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 128;

fn run(c: &mut Criterion) -> anyhow::Result<()> {
    let (x, labels) = classifier::batch(BATCH)?;
    let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
    for arch in [networks::LENET, networks::MLP] {
        let mut group = c.benchmark_group(format!("step/{arch}"));
        group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
        for rule in RuleKind::all().filter(|rule| ["plain", "sam", "rsp"].contains(&rule.name)) {
            let model = classifier::model(arch)?;
            let of = rule.build(&Values::default())?;
            let mut optimizer = Optimizer::new(model.params(), of, Sgd::new(1e-3).momentum(0.9))?;
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
