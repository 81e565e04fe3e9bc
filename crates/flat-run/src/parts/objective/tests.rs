//! Losses of single examples, chosen rows and other batches, against plain evaluation.

use super::*;
use candle_core::{DType, Device};
use flat_core::Streams;
use flat_data::{Augment, DatasetKind, LoaderOptions, Split};
use flat_nn::{ModelConfig, networks};
use std::sync::Arc;

/// 30 coloured images of 3 classes and 2 attributes, one of which is rare.
fn split() -> Arc<Split> {
    let images = (0..30 * 3 * 64).map(|i| (i * i % 251) as u8).collect();
    let split = Split::new(images, (0..30).map(|i| i % 3).collect(), [3, 8, 8], 3).expect("split");
    Arc::new(split.with_attributes((0..30).map(|i| u8::from(i >= 27)).collect(), 2).expect("attributes"))
}

fn loader(balance: Option<f64>, augment: Augment) -> Loader {
    let options = LoaderOptions { batch_size: 8, shuffle: true, augment, balance, ..Default::default() };
    let pixels = DatasetKind::Cifar10.normalisation();
    Loader::new(split(), pixels, options, Streams::new(4), DType::F64, Device::Cpu).expect("loader")
}

fn model(batch_norm: bool) -> Model {
    let config = ModelConfig {
        arch: if batch_norm { networks::RESNET20 } else { networks::MLP },
        in_channels: 3,
        height: 8,
        width: 8,
        classes: 3,
        hidden: if batch_norm { Vec::new() } else { vec![6] },
        channels: batch_norm.then_some(2),
        activation: flat_nn::Activation::Relu,
        norm: flat_nn::Norm::Batch,
        ..ModelConfig::default()
    };
    Model::new(&config, DType::F64, &Device::Cpu, &Streams::new(1)).expect("model")
}

const LOSS: Loss = Loss::CrossEntropy { label_smoothing: 0.1 };
const ALL: Query = Query { rows: Rows::All, update_stats: false };

fn number(loss: &Scalar) -> f64 {
    loss.host().expect("on the CPU")
}

fn apart(a: &ParamVec, b: &ParamVec) -> f64 {
    a.plus(-1.0, b).and_then(|gap| gap.norm()).expect("a norm")
}

#[test]
fn the_mean_of_the_losses_of_single_examples_is_the_loss_and_they_come_with_its_gradient() {
    for model in [model(true), model(false)] {
        let (batch, mut tally) = (loader(None, Augment::NONE).batch(0, 0).expect("batch"), Tally::default());
        let mut f = BatchLoss::new(&model, LOSS, &batch, &mut tally);
        for rows in [Rows::All, Rows::Range { start: 2, len: 3 }, Rows::One(5)] {
            let query = Query { rows, ..ALL };
            let plain = f.loss_and_grad(model.params(), query).expect("plain");
            let (sample, losses) = f.losses_and_grad(model.params(), query).expect("with losses");
            assert_eq!(number(&sample.loss), number(&plain.loss));
            assert_eq!(apart(&sample.grad, &plain.grad), 0.0);
            let each: Vec<f64> = losses.to_vec1().expect("a vector");
            assert_eq!(each.len(), rows.range(batch.len()).expect("rows").len());
            let mean = each.iter().sum::<f64>() / each.len() as f64;
            assert!((mean - number(&plain.loss)).abs() < 1e-14, "{rows:?}: {mean}"); // the order of a sum
            let forward: Vec<f64> = f.losses(query).expect("losses").to_vec1().expect("a vector");
            assert!(each.iter().zip(&forward).all(|(a, b)| (a - b).abs() < 1e-14), "{each:?} {forward:?}");
        }
    }
}

#[test]
fn chosen_rows_are_a_batch_of_their_own() {
    for model in [model(true), model(false)] {
        let train = loader(None, Augment::NONE);
        let (batch, mut tally) = (train.batch(0, 1).expect("batch"), Tally::default());
        let chosen = [1u32, 4, 6, 7];
        let alone = train.select(&chosen.map(|row| batch.indices[row as usize])).expect("batch");
        let mut unused = Tally::default();
        let expected =
            BatchLoss::new(&model, LOSS, &alone, &mut unused).loss_and_grad(model.params(), ALL).expect("alone");
        let mut f = BatchLoss::new(&model, LOSS, &batch, &mut tally);
        let found = f.chosen_loss_and_grad(model.params(), &chosen, false).expect("chosen");
        assert_eq!(number(&found.loss), number(&expected.loss));
        assert_eq!(apart(&found.grad, &expected.grad), 0.0);
        assert!(f.chosen_loss_and_grad(model.params(), &[8], false).is_err());
    }
}

#[test]
fn further_batches_follow_in_the_order_of_the_epoch_and_count_as_seen() {
    let (model, train) = (model(false), loader(None, Augment { flip: true, ..Augment::NONE }));
    // 30 images are 4 batches: 2 of this epoch are left after position 1, the next begins the second
    let position = 1;
    let (batch, mut tally) = (train.batch(0, 1).expect("batch"), Tally::default());
    let others = OtherBatches { train: &train, less_biased: None, position };
    let mut f = BatchLoss::new(&model, LOSS, &batch, &mut tally).with_others(others);
    let own = number(&f.loss_and_grad(model.params(), ALL).expect("own").loss);
    for (j, (epoch, index)) in [(0, 2), (0, 3), (1, 0)].into_iter().enumerate() {
        let expected = train.batch(epoch, index).expect("batch");
        assert_eq!(f.switch(Which::Fresh(j as u32)).expect("a further batch"), expected.len());
        let found = number(&f.loss_and_grad(model.params(), ALL).expect("further").loss);
        let mut unused = Tally::default();
        let plain = BatchLoss::new(&model, LOSS, &expected, &mut unused).loss_and_grad(model.params(), ALL);
        assert_eq!(found, number(&plain.expect("plain").loss), "{j}");
    }
    assert_eq!(f.switch(Which::Step).expect("back"), 8);
    assert_eq!(number(&f.loss_and_grad(model.params(), ALL).expect("own").loss), own);
    assert_eq!(f.seen(), 8 + 8 + 6 + 8);
    assert!(tally.take().expect("a number") <= 30.0);
    let mut unused = Tally::default();
    let mut without = BatchLoss::new(&model, LOSS, &batch, &mut unused);
    assert!(!without.offers(Need::FreshBatches) && without.switch(Which::Fresh(0)).is_err());
}

#[test]
fn the_second_source_draws_the_rare_groups_more_often_and_is_not_counted() {
    let (biased, less) = (loader(Some(0.0), Augment::NONE), loader(Some(1.0), Augment::NONE));
    let rare = |batch: &Batch| batch.indices.iter().filter(|i| **i >= 27).count();
    let others = |position| OtherBatches { train: &biased, less_biased: Some(&less), position };
    let drawn = |which| (0..200).map(|at| rare(&others(at).batch(which).expect("batch"))).sum::<usize>();
    // of 1500 draws: 150 +- 12 are of the tenth that is rare, 750 +- 19 of a half
    let (of_biased, of_less) = (drawn(Which::Fresh(0)), drawn(Which::Source(LESS_BIASED)));
    assert!(of_biased.abs_diff(150) < 60 && of_less.abs_diff(750) < 97, "{of_biased} {of_less}");
    let model = model(false);
    let (batch, mut tally) = (biased.batch(0, 0).expect("batch"), Tally::default());
    let mut f = BatchLoss::new(&model, LOSS, &batch, &mut tally).with_others(others(0));
    f.switch(Which::Source(LESS_BIASED)).expect("the source");
    f.loss_and_grad(model.params(), ALL).expect("a sample");
    assert!(f.offers(Need::Source(LESS_BIASED)) && !f.offers(Need::Source("other")));
    assert_eq!(f.seen(), 8);
    assert_eq!(tally.take().expect("a number"), 0.0);
    let same = others(3).batch(Which::Source(LESS_BIASED)).expect("batch").indices;
    assert_eq!(others(3).batch(Which::Source(LESS_BIASED)).expect("batch").indices, same);
}
