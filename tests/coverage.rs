//! Confidence intervals cover as often as they say: the exact trace, and that of all images like the ones looked at.

use crate::tool::{Room, json, top};
use candle_core::{DType, Device};
use flat_core::{Purpose, Streams};
use flat_data::{Dataset, DatasetKind, Loader, LoaderOptions};
use flat_metrics::{Hutchinson, ModelObjective, Silent, TangentHessian, TraceConfig, exact_trace};
use flat_nn::{Loss, Mode, Model, ModelConfig, networks};
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
    let options = LoaderOptions { batch_size: 1000, ..LoaderOptions::default() };
    let normalisation = DatasetKind::Mnist.normalisation();
    let loader = Loader::new(Arc::new(split), normalisation, options, Streams::new(0), DType::F32, Device::Cpu);
    let batch = loader.and_then(|l| l.all()).expect("a batch");
    let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
    let objective =
        ModelObjective::new(&model, loss, Mode::Eval, vec![(batch.images, batch.labels)]).expect("an objective");
    let mut hessian = TangentHessian::new(&objective).expect("an operator");

    let exact = exact_trace(&mut hessian, &mut Silent).expect("the exact trace").trace;
    let estimator = Hutchinson::new(TraceConfig::fixed(20)).expect("a configuration");
    let covered = (0..seeds)
        .filter(|&seed| {
            let report = estimator.run(&mut hessian, &Streams::new(seed), &mut Silent).expect("an estimate");
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

/// A linear classifier: the trace of one image's cross entropy is (|x|^2 + 1) (1 - sum p^2) in closed form, so that the trace
/// over a population of 4,000 images is known, and each of 200 seeds looks at 64 of them drawn with replacement.
#[test]
fn the_interval_for_all_images_like_these_covers_the_trace_over_them() {
    const SEEDS: usize = 200;
    const IMAGES: usize = 64;
    let config = ModelConfig {
        arch: networks::MLP,
        in_channels: 1,
        height: 28,
        width: 28,
        classes: 10,
        hidden: Vec::new(),
        ..ModelConfig::default()
    };
    let model = Model::new(&config, DType::F64, &Device::Cpu, &Streams::new(1)).expect("a model");
    let all =
        Dataset::load(DatasetKind::Mnist, Some(&top().join("data"))).expect("MNIST").train.take(4000).expect("4000");
    let batches = |split: flat_data::Split, size: usize| {
        let options = LoaderOptions { batch_size: size, ..LoaderOptions::default() };
        let pixels = DatasetKind::Mnist.normalisation();
        Loader::new(Arc::new(split), pixels, options, Streams::new(0), DType::F64, Device::Cpu).expect("a loader")
    };
    let whole = batches(all.clone(), 4000).all().expect("a batch");
    let numbers = |t: candle_core::Tensor| t.to_vec2::<f64>().expect("numbers");
    let logits = numbers(model.logits_no_grad(&whole.images, Mode::Eval).expect("logits"));
    let pixels = numbers(whole.images.flatten_from(1).expect("rows"));
    let of_one = |(x, z): (&Vec<f64>, &Vec<f64>)| {
        let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = z.iter().map(|z| (z - top).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let squares: f64 = weights.iter().map(|w| (w / sum).powi(2)).sum();
        (x.iter().map(|x| x * x).sum::<f64>() + 1.0) * (1.0 - squares)
    };
    let truth = pixels.iter().zip(&logits).map(of_one).sum::<f64>() / 4000.0;
    let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
    let estimator = Hutchinson::new(TraceConfig::fixed(64)).expect("a configuration");
    let draws = Streams::new(9).at(Purpose::Test, 0).uniforms(SEEDS * IMAGES);
    let (mut covered, mut told) = (0, 0);
    for (seed, draw) in draws.chunks_exact(IMAGES).enumerate() {
        let indices: Vec<usize> = draw.iter().map(|u| (u * 4000.0) as usize % 4000).collect();
        let batch = batches(all.select(&indices).expect("images"), IMAGES).all().expect("a batch");
        // a batch is a group here: 32, 16 or 8 of them
        let size = [2, 4, 8][seed % 3];
        let parts = (0..IMAGES / size).map(|i| {
            let part = |t: &candle_core::Tensor| t.narrow(0, i * size, size).expect("a part");
            (part(&batch.images), part(&batch.labels))
        });
        let objective = ModelObjective::new(&model, loss, Mode::Eval, parts.collect()).expect("an objective");
        let mut hessian = TangentHessian::new(&objective).expect("an operator");
        let report = estimator.run(&mut hessian, &Streams::new(seed as u64), &mut Silent).expect("an estimate");
        // no interval where the noise of the probes hides that of the images
        let Some([low, high]) = report.population_ci95() else { continue };
        told += 1;
        covered += i32::from(low <= truth && truth <= high);
    }
    let rate = f64::from(covered) / f64::from(told);
    println!("trace over all images {truth:.4}; {covered} of {told} intervals cover it, {SEEDS} seeds");
    assert!(told as usize * 10 >= SEEDS * 9, "only {told} of {SEEDS} seeds have an interval");
    // three binomial standard deviations of 95 % in 200 are 4.6 %
    assert!((0.904..=0.996).contains(&rate), "coverage {rate}");
}
