//! A Hessian-vector product against a gradient, at batch 32.
//!
//! `cargo bench -p flat-minima --bench hvp`. Probes of the Hessian trace cost one product each; the ratio of the two
//! times is the cost of a product in gradient evaluations.
#![allow(missing_docs)] // criterion's macros declare public functions

use criterion::{Criterion, criterion_group, criterion_main};
use flat::core::{ParamVec, Purpose, Streams};
use flat::metrics::{LinearOperator, ModelObjective, TangentHessian, gradient};
use flat::nn::{Loss, Mode, networks};
use std::time::Duration;

mod classifier;

const BATCH: usize = 32;

fn run(c: &mut Criterion) -> anyhow::Result<()> {
    let streams = Streams::new(0);
    let (x, labels) = classifier::batch(BATCH)?;
    let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
    for arch in [networks::LENET, networks::MLP] {
        let model = classifier::model(arch)?;
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
