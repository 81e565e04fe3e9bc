//! `metrics` on a run directory: the run's own images and probes by default, and the result kept in the run.

use crate::tool::{Room, bytes, json};
use serde_json::Value;

const RUN: &str = "train --model mlp --hidden 8 --train-limit 256 --test-limit 64 --batch-size 32 --validation 64 --steps 12 \
                   --normalize none --trace-probes 5 --trace-examples 96 --seed 3";

#[test]
fn the_trace_of_a_run_is_that_of_its_summary_to_the_digit_and_is_kept_as_it_is_printed() {
    let room = Room::new();
    let out = room.path("run");
    let summary = json(&format!("{RUN} --out {}", out.display()));
    let printed = json(&format!("metrics trace --checkpoint {}", out.display()));
    for key in ["trace", "per_layer", "loss", "accuracy", "grad_norm", "examples", "dim"] {
        assert_eq!(summary["trace"][key], printed[key], "{key}");
    }
    assert_eq!((&printed["trace"]["probes"], &printed["examples"]), (&5.into(), &96.into()));
    let kept: Value = serde_json::from_slice(&bytes(&out.join("metrics/trace.json"))).expect("JSON");
    assert_eq!(kept, printed);
    // a new measurement takes the place of the old one, a measure has its own file
    let printed = json(&format!("metrics trace --checkpoint {} --probes 7", out.display()));
    let kept: Value = serde_json::from_slice(&bytes(&out.join("metrics/trace.json"))).expect("JSON");
    assert_eq!((&kept, &kept["trace"]["probes"]), (&printed, &7.into()));
    json(&format!("metrics gradnorm --checkpoint {}", out.display()));
    assert!(out.join("metrics/gradnorm.json").is_file());
}

#[test]
fn a_file_by_itself_and_a_run_with_no_save_are_left_alone() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{RUN} --out {}", out.display()));
    json(&format!("metrics gradnorm --checkpoint {} --no-save", out.display()));
    json(&format!("metrics gradnorm --checkpoint {}/model.safetensors", out.display()));
    assert!(!out.join("metrics").exists());
}

#[cfg(unix)]
#[test]
fn a_run_that_cannot_be_written_costs_a_warning_and_the_result_is_printed() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{RUN} --out {}", out.display()));
    // a link would lead out of the run
    let elsewhere = room.path("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a folder");
    std::os::unix::fs::symlink(&elsewhere, out.join("metrics")).expect("a link");
    let ran = crate::tool::run(&format!("metrics gradnorm --checkpoint {} --json", out.display()));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("warning") && said.contains("--no-save"), "{said}");
    assert!(serde_json::from_slice::<Value>(&ran.stdout).is_ok_and(|found| found["value"].is_number()));
    assert_eq!(std::fs::read_dir(&elsewhere).expect("a folder").count(), 0);
}
