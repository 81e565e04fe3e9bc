//! Reading numbers later changes nothing that a run does.

use super::*;
use crate::settings::tests::parse;
use serde_json::Value;

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
