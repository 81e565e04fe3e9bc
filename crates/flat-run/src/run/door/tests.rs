//! Runs on several ranks, against the same run in one process: files bit for bit, but for times.

use super::*;
use crate::ranks;
use crate::run::observer::Silent;
use crate::settings::tests::parse;
use anyhow::Context as _;
use flat_comm::{Ranks, Threads};
use serde_json::Value;

const RUN: &str = "--test-limit 30 --batch-size 16 --epochs 2 --eval-every 3 --checkpoint-every 5 \
                   --keep-checkpoints 9 --log-steps --lr 0.02 --trace-probes 3 --trace-examples 12 --device cpu";

/// What a run leaves: its weights, its checkpoints' tensors, and its journal without times.
#[derive(Debug, PartialEq)]
struct Left {
    model: Vec<u8>,
    checkpoint: Vec<(String, Vec<f64>)>,
    lines: Vec<Value>,
    trace: Option<f64>,
}

impl Left {
    fn check(&self, other: &Self, what: &str) {
        for (a, b) in self.checkpoint.iter().zip(&other.checkpoint) {
            assert!(a == b, "{what}: {} and {} differ", a.0, b.0);
        }
        for (a, b) in self.lines.iter().zip(&other.lines) {
            assert_eq!(a, b, "{what}");
        }
        assert_eq!(self.lines.len(), other.lines.len(), "{what}");
        assert!(self.model == other.model, "{what}: model.safetensors");
        assert_eq!(self.trace, other.trace, "{what}");
    }
}

fn left(root: &Path) -> Result<Left> {
    let text = std::fs::read_to_string(root.join("metrics.jsonl"))?;
    let times = ["samples_per_s", "wall_s"];
    let line = |line: &str| -> Result<Value> {
        let mut line: Value = serde_json::from_str(line)?;
        without(&mut line, &times);
        Ok(line)
    };
    let checkpoint = checkpoint::list(&root.join("checkpoints"))?.pop().context("a checkpoint")?;
    let tensors = candle_core::safetensors::load(&checkpoint, &candle_core::Device::Cpu)?;
    let numbers = |t: candle_core::Tensor| t.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>();
    let mut tensors: Vec<(String, Vec<f64>)> = tensors
        .into_iter()
        .filter(|(_, t)| t.dtype().is_float())
        .map(|(name, t)| Ok((name, numbers(t)?)))
        .collect::<Result<_>>()?;
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let summary: Value = serde_json::from_slice(&std::fs::read(root.join("summary.json"))?)?;
    Ok(Left {
        model: std::fs::read(root.join("model.safetensors"))?,
        checkpoint: tensors,
        lines: text.lines().map(line).collect::<Result<_>>()?,
        trace: summary["trace"]["trace"]["value"].as_f64(),
    })
}

/// Takes fields away, however deep they lie.
fn without(value: &mut Value, names: &[&str]) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !names.contains(&name.as_str()));
            fields.values_mut().for_each(|field| without(field, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| without(item, names)),
        _ => {}
    }
}

/// Trains on so many ranks that are threads.
fn train(flags: &str, size: usize, out: &Path, pause: Option<u64>) -> Result<()> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");
    // every agent has images in every batch; others may have a ragged one
    let images = if flags.contains("--agents") { 48 } else { 50 };
    let one = |ranks: Ranks| {
        ranks::with(ranks, || {
            let run = ranks::agree(match out.join("config.toml").is_file() {
                true => Run::resume(out, &Values::default()),
                false => Run::new(parse(&format!("{RUN} --train-limit {images} --data-dir {data} {flags}"))?)
                    .map(|run| run.out(out)),
            })?;
            run.pause_after(pause).train(&mut Silent).map(drop)
        })
    };
    Threads::run(size, |engine| one(Ranks::new(engine))).into_iter().collect()
}

#[test]
fn a_run_has_the_same_bits_on_any_number_of_ranks() -> Result<()> {
    let room = tempfile::tempdir()?;
    let runs = [
        "--model mlp --hidden 8 --optimizer sgd --momentum 0.9",
        "--model lenet --channels 2 --optimizer sam --augment flip",
        "--model resnet20 --channels 2 --norm batch --optimizer rsp --rho 0.5",
        "--model resnet20 --channels 2 --norm group --optimizer sap",
        "--model mlp --hidden 8 --optimizer nso --ema 0.9",
        "--model mlp --hidden 8 --optimizer looksam --base adamw",
        "--model resnet20 --channels 2 --norm batch --optimizer entropy-sgd --entropy-l 2",
        "--model resnet20 --channels 2 --norm batch --optimizer sam --perturb-by grain --ema 0.9",
        "--model mlp --hidden 8 --optimizer sam --full-batch --epochs 7",
        "--model resnet20 --channels 2 --norm batch --optimizer sam --strategy diffusion --agents 8 --graph ring",
        "--model mlp --hidden 8 --optimizer rsp --rho 0.5 --base adamw --strategy consensus --agents 8 --graph hypercube",
        "--model lenet --channels 2 --optimizer sam --micro-batch 9 --clip 0.5 --flatness trace,lambda_max --flatness-examples 12",
    ];
    for (i, flags) in runs.into_iter().enumerate() {
        let mut whole = None;
        for size in [1, 2, 3, 8] {
            let out = room.path().join(format!("{i}-{size}"));
            let grains = if flags.contains("--agents") { "" } else { "--grains 8" };
            train(&format!("{flags} {grains}"), size, &out, None)?;
            let left = left(&out)?;
            assert!(left.lines.iter().any(|line| line["kind"] == "step"), "{flags}");
            match &whole {
                None => whole = Some(left),
                Some(whole) => whole.check(&left, &format!("{flags} on {size} ranks")),
            }
        }
    }
    Ok(())
}

#[test]
fn a_run_goes_on_over_another_number_of_ranks() -> Result<()> {
    let room = tempfile::tempdir()?;
    for flags in [
        "--model resnet20 --channels 2 --norm batch --optimizer sam --grains 4",
        "--model mlp --hidden 8 --optimizer fsam --base adamw --grains 4",
        "--model resnet20 --channels 2 --norm batch --optimizer sgd --strategy diffusion --agents 4",
    ] {
        let (whole, parts) = (room.path().join("whole"), room.path().join("parts"));
        train(flags, 1, &whole, None)?;
        for (size, until) in [(2, Some(2)), (4, Some(6)), (1, None)] {
            train(flags, size, &parts, until)?;
        }
        // a pause is evaluated, too
        let steps = |root: &Path| -> Result<Left> {
            let mut left = left(root)?;
            left.lines.retain(|line| line["kind"] == "step");
            Ok(left)
        };
        let (whole_left, parts_left) = (steps(&whole)?, steps(&parts)?);
        whole_left.check(&parts_left, flags);
        for root in [whole, parts] {
            std::fs::remove_dir_all(root)?;
        }
    }
    Ok(())
}

#[test]
fn what_one_rank_finds_before_the_run_ends_all_without_a_trace() -> Result<()> {
    let room = tempfile::tempdir()?;
    let out = room.path().join("run");
    let error = train("--model mlp --grains 2 --optimizer sgd", 3, &out, None).expect_err("3 ranks, 2 grains");
    assert!(error.to_string().contains("--grains 2: 3 ranks"), "{error:#}");
    assert!(!out.join("metrics.jsonl").exists());
    Ok(())
}
