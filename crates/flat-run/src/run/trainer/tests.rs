//! Reading numbers later changes nothing that a run does.

mod agents;

use super::*;
use crate::settings::tests::parse;
use flat_optim::RuleKind;
use serde_json::Value;
use std::cell::Cell;

const RUN: &str = "--model resnet20 --norm batch --train-limit 40 --test-limit 8 --batch-size 8 \
                   --eval-every 0 --log-steps --trace-probes 0 --schedule constant --device cpu";

/// What a run writes down of its steps and epochs without its times, and the model at its end.
struct Ran {
    lines: Vec<Value>,
    state: Vec<(String, Vec<f64>)>,
    skipped: u64,
}

fn run(flags: &str, keep_on_device: bool) -> Result<Ran> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");
    let config = parse(&format!("{RUN} --data-dir {data} {flags}"))?;
    let (room, parts) = (tempfile::tempdir()?, RunParts::new(&config, true)?);
    let dir = RunDir::create(&room.path().join("run"))?;
    let mut trainer = Trainer::new(&config, parts, &dir, Ui::NONE)?;
    trainer.keep_on_device = keep_on_device;
    assert_eq!(trainer.run()?, Ended::Complete);
    let lines = std::fs::read_to_string(dir.metrics())?;
    let lines = lines.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line)?;
        if let Some(fields) = line.as_object_mut() {
            fields.remove("samples_per_s");
            fields.remove("wall_s");
        }
        Ok(line)
    });
    let lines = lines.collect::<Result<_>>()?;
    let state = trainer
        .model
        .state()?
        .into_iter()
        .map(|(name, t)| Ok((name, t.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1()?)));
    Ok(Ran { lines, state: state.collect::<Result<_>>()?, skipped: trainer.progress().skipped })
}

#[test]
fn reading_later_changes_nothing_that_a_run_writes() -> Result<()> {
    for optimizer in ["sgd --steps 7", "sam --rho 0.1 --steps 7 --checkpoint-every 4", "sgd --full-batch --steps 2"] {
        let now = run(&format!("--optimizer {optimizer}"), false)?;
        for every in [3, 50] {
            let later = run(&format!("--optimizer {optimizer} --log-every {every}"), false)?;
            assert_eq!(now.lines, later.lines, "{optimizer}, every {every}");
            assert!(now.state == later.state, "{optimizer}, every {every}: the weights differ");
        }
    }
    Ok(())
}

#[test]
fn a_run_whose_numbers_stay_on_the_device_is_the_same_run() -> Result<()> {
    for optimizer in
        ["sgd", "sam --rho 0.1", "rsp --rho 0.5", "sap --micro-batch 8", "nso", "adamw", "sgd --full-batch"]
    {
        let now = run(&format!("--optimizer {optimizer} --lr 0.01 --steps 7"), false)?;
        let there = run(&format!("--optimizer {optimizer} --lr 0.01 --steps 7 --log-every 5"), true)?;
        assert_eq!(now.lines.len(), there.lines.len(), "{optimizer}");
        for (a, b) in now.lines.iter().zip(&there.lines) {
            for key in ["kind", "epoch", "step", "evals", "lr", "rho"] {
                assert_eq!(a[key], b[key], "{optimizer}: {a} {b}");
            }
            for key in ["loss", "grad_norm"] {
                let (Some(x), Some(y)) = (a[key].as_f64(), b[key].as_f64()) else { continue };
                // a norm's last bit in f64 moves f32 weights by an ulp at most; seven steps amplify it
                assert!((x - y).abs() <= 1e-3 * x.abs(), "{optimizer}: {a} {b}");
            }
            assert_eq!(a.get("loss").is_some(), b.get("loss").is_some(), "{optimizer}: {a} {b}");
        }
    }
    Ok(())
}

#[test]
fn a_run_ends_at_the_first_evaluation_that_finds_its_target_with_a_line_of_the_epoch_so_far() -> Result<()> {
    let flags = "--optimizer sgd --steps 12 --eval-every 3";
    let whole = run(flags, false)?;
    let evaluations = whole.lines.iter().filter(|line| line["split"] == "test");
    let mut evaluations = evaluations.filter_map(|line| Some((line["step"].as_u64()?, line["accuracy"].as_f64()?)));
    let (end, target) = evaluations.find(|(_, accuracy)| *accuracy > 0.0).context("an accuracy above 0")?;
    assert!(end < 12, "the test is about a run that ends early");
    let stopped = run(&format!("{flags} --target-accuracy {target}"), false)?;
    let steps = |ran: &Ran| ran.lines.iter().filter(|line| line["kind"] == "step").count() as u64;
    assert_eq!((steps(&whole), steps(&stopped)), (12, end));
    let last = stopped.lines.last().context("a line")?;
    assert_eq!((last["kind"].as_str(), last["step"].as_u64()), (Some("epoch"), Some(end)));
    assert!(stopped.lines.iter().any(|line| line["split"] == "train" && line["step"] == end));
    Ok(())
}

#[test]
fn a_skipped_step_leaves_running_statistics_alone_wherever_it_is_found_out() -> Result<()> {
    // the first step makes the weights so large that every later loss is not finite
    let flags = "--optimizer sgd --momentum 0 --lr 1e30 --steps 5";
    let (now, there) = (run(flags, false)?, run(&format!("{flags} --log-every 5"), true)?);
    assert!(now.skipped > 0, "the test is about skipped steps");
    assert_eq!(now.skipped, there.skipped);
    for ((name, a), (_, b)) in now.state.iter().zip(&there.state) {
        assert!(a.iter().all(|x| x.is_finite()) || !name.contains("running"), "{name}");
        assert!(a == b, "{name}");
    }
    Ok(())
}

thread_local! {
    static EVALUATIONS: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Whether as many evaluations were asked about as were allowed.
fn used_up() -> bool {
    EVALUATIONS.with(|left| left.replace(left.get().saturating_sub(1)) == 0)
}

/// Everything that a checkpoint of the trainer would hold, bit for bit.
fn everything(trainer: &mut Trainer<'_>) -> Result<Vec<(String, Vec<u64>)>> {
    let tensors = trainer.model.state()?.into_iter().chain(trainer.optimizer.state()?);
    let bits = |t: Tensor| t.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>();
    tensors.map(|(name, t)| Ok((name, bits(t)?.iter().map(|x| x.to_bits()).collect()))).collect()
}

#[test]
fn a_step_that_is_given_up_before_any_evaluation_leaves_the_run_as_it_was() -> Result<()> {
    // gerne draws from two samplers, of a data set with groups
    let rules = RuleKind::all()
        .filter(|rule| *rule != "gerne")
        .map(|rule| format!("--optimizer {rule} --model mlp --hidden 4"));
    let more = [
        "--optimizer sam --base adamw --ema 0.9 --model mlp --hidden 4 --micro-batch 2",
        "--optimizer sam --model resnet20 --channels 4 --norm batch --full-batch",
        "--optimizer sam --model resnet20 --channels 4 --norm batch --m 4",
    ];
    for flags in rules.chain(more.map(String::from)) {
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");
        let small = "--train-limit 16 --test-limit 4 --batch-size 8 --steps 9 --eval-every 0 --lr 0.01 --device cpu";
        let config = parse(&format!("{small} --data-dir {data} {flags}"))?;
        let (room, parts) = (tempfile::tempdir()?, RunParts::new(&config, true)?);
        let dir = RunDir::create(&room.path().join("run"))?;
        let mut trainer = Trainer::new(&config, parts, &dir, Ui::NONE)?;
        trainer.given_up = used_up;
        for _ in 0..2 {
            EVALUATIONS.set(u64::MAX);
            assert!(trainer.step()?);
        }
        let (before, progress) = (everything(&mut trainer)?, trainer.progress.clone());
        let mut evaluations = 0;
        loop {
            EVALUATIONS.set(evaluations);
            if trainer.step()? {
                break;
            }
            assert!(everything(&mut trainer)? == before, "{flags}, given up after {evaluations} evaluations");
            assert_eq!(trainer.progress, progress, "{flags}");
            evaluations += 1;
        }
        assert!(
            evaluations > 0 && everything(&mut trainer)? != before,
            "{flags}: a step that is not given up is taken"
        );
    }
    Ok(())
}

#[test]
fn a_state_that_loading_would_refuse_and_one_after_a_skipped_step_push_no_checkpoint_out() -> Result<()> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");
    // from step 3 on the learning rate is beyond all numbers: weights that are not finite, then steps that are skipped
    let flags = "--optimizer sgd --model mlp --hidden 4 --train-limit 16 --test-limit 4 --batch-size 8 --steps 9 --device cpu \
                 --schedule step --step-size 3 --gamma 1e45 --checkpoint-every 1 --keep-checkpoints 1 --eval-every 1";
    let config = parse(&format!("{flags} --data-dir {data}"))?;
    let (room, parts) = (tempfile::tempdir()?, RunParts::new(&config, true)?);
    let dir = RunDir::create(&room.path().join("run"))?;
    let mut trainer = Trainer::new(&config, parts, &dir, Ui::NONE)?;
    assert_eq!(trainer.run()?, Ended::Complete);
    assert!(trainer.progress.skipped > 0, "the test is about skipped steps");
    assert_eq!(trainer.save_model(&dir.model())?, Some(false));
    assert!(!dir.model().exists());
    let kept = checkpoint::list(&dir.checkpoints())?;
    assert_eq!(kept, [checkpoint::file(&dir.checkpoints(), 3)]);
    let read = Checkpoint::read(&kept[0], &Device::Cpu)?;
    trainer.model.set_state(&read.model)?;
    let best = candle_core::safetensors::load(dir.checkpoints().join("best.safetensors"), &Device::Cpu)?;
    trainer.model.set_state(&best.into_iter().collect())?;
    Ok(())
}
