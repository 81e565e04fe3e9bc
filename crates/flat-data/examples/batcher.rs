//! candle's own `Batcher` over a split of this crate.
//!
//! `cargo run --release -p flat-data --example batcher [mnist|fashion-mnist|cifar10|cifar100] [data folder]`
//!
//! The batcher stacks examples one by one, in order and unnormalised; `flat_data::Loader` gives shuffled, augmented and
//! normalised batches at random access, and faster. This is for code that is written against candle's batcher.
#![allow(clippy::disallowed_macros)] // what it prints is for whoever runs it

use std::path::PathBuf;
use std::process::ExitCode;

use candle_core::{DType, Device};
use candle_datasets::Batcher;
use flat_data::{Dataset, DatasetKind};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> flat_data::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let kind: DatasetKind = arguments.next().unwrap_or_else(|| "mnist".into()).parse()?;
    let folder = arguments.next().map(PathBuf::from);
    let dataset = Dataset::load(kind, folder.as_deref())?;
    println!("{kind}: {} training and {} test examples", dataset.train.len(), dataset.test.len());

    let device = Device::Cpu;
    let batches = Batcher::new_r2(dataset.test.examples(&device)).batch_size(1000).return_last_incomplete_batch(true);
    for (i, batch) in batches.enumerate() {
        let (images, labels) = batch?;
        let mean = images.mean_all()?.to_scalar::<f32>()?;
        let first = labels.to_dtype(DType::U32)?.to_vec1::<u32>()?[0];
        println!(
            "batch {i}: images {:?}, mean {mean:.4}, labels {:?}, the first {first}",
            images.shape(),
            labels.shape()
        );
    }
    Ok(())
}
