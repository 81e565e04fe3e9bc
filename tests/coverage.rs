//! Hutchinson's confidence interval covers the exact trace as often as it says.

use crate::tool::{Room, json, top};
use candle_core::{DType, Device};
use flat_core::Streams;
use flat_data::{Augment, Dataset, DatasetKind, Loader, LoaderOptions};
use flat_metrics::{Hutchinson, ModelObjective, TangentHessian, TraceConfig, exact_trace};
use flat_nn::{Loss, Mode, Model};
use std::ops::ControlFlow;
use std::sync::Arc;

/// An MLP 784-16-10 trained on 1,000 MNIST images: d = 12,730, so that the trace can be had from d Hessian-vector
/// products. Seeds: `FLAT_COVERAGE_SEEDS`, 500 by default.
#[test]
#[ignore = "half a minute and more: d + 20 seeds Hessian-vector products"]
fn coverage_of_the_exact_trace_is_95_percent() {
    let seeds: u64 =
        std::env::var("FLAT_COVERAGE_SEEDS").map_or(500, |s| s.parse().expect("FLAT_COVERAGE_SEEDS: a number"));
    let room = Room::new();
    let out = room.path("run");
    json(&format!(
        "train --model mlp --hidden 16 --train-limit 1000 --test-limit 1000 --batch-size 100 --epochs 3 --trace-probes 0 --out {}",
        out.display()
    ));
    let file = out.join("model.safetensors");
    let config = flat_nn::read_config(&file).expect("the file says its model");
    let model = Model::new(&config, DType::F32, &Device::Cpu, &Streams::new(0)).expect("a model");
    model.load(&file).expect("its weights");

    let split =
        Dataset::load(DatasetKind::Mnist, Some(&top().join("data"))).expect("MNIST").train.take(1000).expect("1000");
    let options = LoaderOptions { batch_size: 1000, shuffle: false, drop_last: false, augment: Augment::default() };
    let normalisation = DatasetKind::Mnist.normalisation();
    let loader = Loader::new(Arc::new(split), normalisation, options, Streams::new(0), DType::F32, Device::Cpu);
    let batch = loader.and_then(|l| l.all()).expect("a batch");
    let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
    let objective =
        ModelObjective::new(&model, loss, Mode::Eval, vec![(batch.images, batch.labels)]).expect("an objective");
    let mut hessian = TangentHessian::new(&objective).expect("an operator");

    let exact = exact_trace(&mut hessian, &mut |_| ControlFlow::Continue(())).expect("the exact trace").trace;
    let estimator = Hutchinson::new(TraceConfig::fixed(20)).expect("a configuration");
    let covered = (0..seeds)
        .filter(|&seed| {
            let report = estimator.run(&mut hessian, &Streams::new(seed)).expect("an estimate");
            let [lo, hi] = report.trace.ci95.expect("20 probes");
            lo <= exact && exact <= hi
        })
        .count();
    let rate = covered as f64 / seeds as f64;
    // three binomial standard deviations: 2.9 % at 500 seeds, 6.5 % at 100
    let tolerance = 3.0 * (0.95 * 0.05 / seeds as f64).sqrt();
    println!("exact trace {exact:.4}; {covered} of {seeds} intervals cover it ({:.1} %)", 100.0 * rate);
    assert!((rate - 0.95).abs() <= tolerance, "coverage {rate} over {seeds} seeds, expected 0.95 +- {tolerance:.3}");
}
