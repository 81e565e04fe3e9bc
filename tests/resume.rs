//! A run that was stopped, by a signal or by force, ends where the uninterrupted one ends, bit for bit.

use crate::tool::{Room, SMALL, bytes, command, fails, journal, json, step_losses};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const LONG: &str = "--steps 600 --log-steps --eval-every 200";

/// Starts a run and waits until it has done at least `steps` steps.
fn start_and_wait(words: &str, out: &Path, steps: usize) -> Child {
    let mut child = command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("flat-train starts");
    let begun = Instant::now();
    loop {
        let done = std::fs::read_to_string(out.join("metrics.jsonl")).map_or(0, |text| text.lines().count());
        if done >= steps {
            return child;
        }
        assert!(child.try_wait().expect("a status").is_none(), "the run ended before it could be stopped");
        assert!(begun.elapsed() < Duration::from_secs(60), "the run does not move");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn comparable(run: &Path) -> Vec<(serde_json::Value, serde_json::Value, serde_json::Value)> {
    journal(run).into_iter().map(|r| (r["kind"].clone(), r["step"].clone(), r["loss"].clone())).collect()
}

fn kill_and_resume(flags: &str, kill: impl Fn(&mut Child)) {
    let room = Room::new();
    let (whole, cut) = (room.path("whole"), room.path("cut"));
    let run = format!("{SMALL} {LONG} {flags}");
    json(&format!("{run} --out {}", whole.display()));
    let mut child = start_and_wait(&format!("{run} --out {}", cut.display()), &cut, 110);
    kill(&mut child);
    assert!(!cut.join("model.safetensors").exists(), "the run was over before it was stopped");
    json(&format!("train --resume {}", cut.display()));
    assert!(
        bytes(&whole.join("model.safetensors")) == bytes(&cut.join("model.safetensors")),
        "{flags}: weights differ"
    );
    assert_eq!(comparable(&whole), comparable(&cut), "{flags}: journals differ");
    assert_eq!(step_losses(&cut).len(), 600);
}

#[test]
fn a_killed_run_resumes_to_the_same_weights() {
    for flags in [
        "--optimizer sam --ema 0.99 --augment crop,flip",
        "--optimizer rsp --base adamw",
        "--optimizer sap --schedule step --rho-schedule cosine",
        "--optimizer nso --nesterov",
    ] {
        kill_and_resume(&format!("{flags} --checkpoint-every 25"), |child| {
            child.kill().expect("SIGKILL");
            child.wait().expect("it ended");
        });
    }
}

#[test]
fn a_killed_run_with_batch_norm_micro_batches_clipping_and_f64_resumes_to_the_same_weights() {
    let room = Room::new();
    let (whole, cut) = (room.path("whole"), room.path("cut"));
    let run = "train --model resnet20 --train-limit 48 --test-limit 16 --batch-size 16 --micro-batch 8 --clip 1 --ema 0.9 \
               --dtype f64 --optimizer sam --steps 16 --checkpoint-every 3 --log-steps --eval-every 0 --trace-probes 0";
    json(&format!("{run} --out {}", whole.display()));
    let mut child = start_and_wait(&format!("{run} --out {}", cut.display()), &cut, 7);
    child.kill().expect("SIGKILL");
    child.wait().expect("it ended");
    assert!(!cut.join("model.safetensors").exists(), "the run was over before it was stopped");
    json(&format!("train --resume {}", cut.display()));
    assert!(bytes(&whole.join("model.safetensors")) == bytes(&cut.join("model.safetensors")));
    assert_eq!(comparable(&whole), comparable(&cut));
}

#[test]
fn checkpoints_none_of_which_can_be_used_are_an_error_that_touches_nothing() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --steps 20 --checkpoint-every 10 --out {}", out.display()));
    let journal = bytes(&out.join("metrics.jsonl"));
    for step in [10, 20] {
        std::fs::write(out.join(format!("checkpoints/step-{step:010}.safetensors")), b"junk").expect("written");
    }
    let text = fails(&format!("train --resume {} --quiet", out.display()), 1);
    assert!(text.contains("step-0000000010") && text.contains("step-0000000020"), "{text}");
    assert!(bytes(&out.join("metrics.jsonl")) == journal);
}

#[test]
fn a_checkpoint_beyond_the_end_of_the_run_is_refused() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --steps 20 --out {}", out.display()));
    let config = String::from_utf8(bytes(&out.join("config.toml"))).expect("text");
    std::fs::write(out.join("config.toml"), config.replace("steps = 20", "steps = 5")).expect("written");
    let text = fails(&format!("train --resume {}", out.display()), 1);
    assert!(text.contains("after step 20") && text.contains("has 5"), "{text}");
}

#[test]
fn a_run_whose_loss_overflowed_can_be_read_back() {
    let room = Room::new();
    let out = room.path("run");
    let run =
        format!("{SMALL} --lr 1e30 --momentum 0 --schedule constant --steps 3 --eval-every 1 --checkpoint-every 1");
    let text = fails(&format!("{run} --out {}", out.display()), 3);
    assert!(text.contains("diverged"), "{text}");
    let text = fails(&format!("train --resume {}", out.display()), 3);
    assert!(text.contains("diverged") && !text.contains("no checkpoint"), "{text}");
    assert!(out.join("summary.json").is_file());
}

#[test]
fn an_interrupted_run_saves_exits_130_and_resumes_to_the_same_weights() {
    kill_and_resume("--optimizer sgd --checkpoint-every 0", |child| {
        let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(killed.expect("kill runs").success());
        assert_eq!(child.wait().expect("it ended").code(), Some(130));
    });
}

#[test]
fn a_run_with_a_damaged_newest_checkpoint_resumes_from_the_one_before() {
    let room = Room::new();
    let (whole, cut) = (room.path("whole"), room.path("cut"));
    let run = format!("{SMALL} --steps 40 --checkpoint-every 10 --keep-checkpoints 9");
    json(&format!("{run} --out {}", whole.display()));
    json(&format!("{run} --out {}", cut.display()));
    let newest = cut.join("checkpoints/step-0000000040.safetensors");
    let whole_file = bytes(&newest);
    std::fs::write(&newest, &whole_file[..whole_file.len() / 2]).expect("truncated");
    std::fs::remove_file(cut.join("model.safetensors")).expect("removed");
    json(&format!("train --resume {}", cut.display()));
    assert!(bytes(&whole.join("model.safetensors")) == bytes(&cut.join("model.safetensors")));
}

#[test]
fn resume_refuses_other_flags_and_folders_without_a_run() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --steps 2 --out {}", out.display()));
    let text = fails(&format!("train --resume {} --lr 0.5", out.display()), 2);
    assert!(text.contains("--lr") && text.contains("config.toml"), "{text}");
    let text = fails(&format!("train --resume {}", room.path("absent").display()), 2);
    assert!(text.contains("no run there"), "{text}");
}

#[test]
fn resuming_a_complete_run_keeps_its_result() {
    let room = Room::new();
    let out = room.path("run");
    let first = json(&format!("{SMALL} --steps 10 --out {}", out.display()));
    let again = json(&format!("train --resume {}", out.display()));
    assert_eq!(first["test_loss"], again["test_loss"]);
    assert_eq!(first["train_loss"], again["train_loss"]);
}
