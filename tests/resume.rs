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
        "--optimizer sam --base schedule-free --lr 0.5 --rho-schedule exponential --max-rho 0.06",
        "--optimizer wsam --base schedule-free-adamw --warmup 30 --swa-start 60 --swa-every 7",
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
fn a_killed_run_that_projects_resumes_with_the_subspace_it_had() {
    let room = Room::new();
    // a checkpoint between two refreshes, before and after the switch, and one of a rule that projects over adamw
    for (i, flags) in [
        "--optimizer dom-sgd --subspace-every 7 --project-from 12",
        "--optimizer bulk-sgd --base adamw --subspace-every 3 --project gradient",
        "--optimizer bulk-sgd --subspace-every 5 --project-above 0.3",
    ]
    .into_iter()
    .enumerate()
    {
        let (whole, cut) = (room.path(&format!("whole{i}")), room.path(&format!("cut{i}")));
        let run = format!(
            "train --model mlp --hidden 8 --loss mse --activation tanh --train-limit 64 --test-limit 16 --batch-size 16 \
             --steps 60 --checkpoint-every 4 --log-steps --eval-every 0 --trace-probes 0 --subspace-k 3 {flags}"
        );
        let summary = json(&format!("{run} --out {}", whole.display()));
        let mut child = start_and_wait(&format!("{run} --out {}", cut.display()), &cut, 9);
        child.kill().expect("SIGKILL");
        child.wait().expect("it ended");
        assert!(!cut.join("model.safetensors").exists(), "the run was over before it was stopped");
        let resumed = json(&format!("train --resume {}", cut.display()));
        assert!(
            bytes(&whole.join("model.safetensors")) == bytes(&cut.join("model.safetensors")),
            "{flags}: weights differ"
        );
        assert_eq!(comparable(&whole), comparable(&cut), "{flags}: journals differ");
        assert_eq!(summary["subspace"], resumed["subspace"], "{flags}");
    }
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
    let text = fails(&format!("train --resume {}", out.display()), 2);
    assert!(text.contains("20 steps") && text.contains("says 5"), "{text}");
    std::fs::write(out.join("config.toml"), config).expect("written");
    let text = fails(&format!("train --resume {} --steps 5", out.display()), 2);
    assert!(text.contains("20 steps (2.5 epochs) are done") && text.contains("5 steps"), "{text}");
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

/// The run's configuration with one line of it replaced.
fn edited(out: &Path, key: &str, value: &str) -> String {
    let config = String::from_utf8(bytes(&out.join("config.toml"))).expect("text");
    let mut found = false;
    let lines = config.lines().map(|line| {
        let is = line.split(" = ").next() == Some(key);
        found |= is;
        if is { format!("{key} = {value}") } else { line.to_string() }
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    assert!(found, "no {key} in {config}");
    text
}

#[test]
fn a_run_is_not_resumed_into_another_one_and_the_error_names_what_changed() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --steps 6 --checkpoint-every 3 --optimizer sam --out {}", out.display()));
    let (config, journal) = (bytes(&out.join("config.toml")), bytes(&out.join("metrics.jsonl")));
    for (key, value) in [
        ("seed", "5"),
        ("lr", "0.5"),
        ("schedule", "\"constant\""),
        ("rho", "0.3"),
        ("loss", "\"mse\""),
        ("batch-size", "32"),
        ("train-limit", "500"),
        ("test-limit", "100"),
        ("momentum", "0.5"),
        ("weight-decay", "0.1"),
        ("augment", "\"crop\""),
        ("optimizer", "\"nso\""),
    ] {
        let text = if key == "optimizer" {
            edited(&out, key, value).replace("rho = ", "sigma = ")
        } else {
            edited(&out, key, value)
        };
        let text = if key == "loss" {
            text.lines().filter(|l| !l.starts_with("label-smoothing")).collect::<Vec<_>>().join("\n")
        } else {
            text
        };
        std::fs::write(out.join("config.toml"), text).expect("written");
        let said = fails(&format!("train --resume {} --quiet", out.display()), 2);
        assert!(said.contains(key) && said.contains("--config"), "{key}: {said}");
        assert!(bytes(&out.join("metrics.jsonl")) == journal, "{key}: the journal was touched");
    }
    // what decides nothing may change
    std::fs::write(out.join("config.toml"), &config).expect("written");
    for (key, value) in [("keep-checkpoints", "7"), ("checkpoint-every", "\"5\""), ("trace-probes", "0")] {
        std::fs::write(out.join("config.toml"), edited(&out, key, value)).expect("written");
        json(&format!("train --resume {}", out.display()));
    }
}

#[test]
fn a_run_is_not_resumed_on_other_images() {
    let room = Room::new();
    let (out, data) = (room.path("run"), room.path("data"));
    std::fs::create_dir(&data).expect("a folder");
    let source = crate::tool::top().join("data");
    let mut files = Vec::new();
    for entry in walk(&source) {
        let name = entry.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_string();
        if name.contains("idx") || name.contains("ubyte") || name.ends_with(".parquet") {
            let to = data.join(entry.strip_prefix(&source).expect("inside"));
            std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            std::fs::copy(&entry, &to).expect("copied");
            files.push(to);
        }
    }
    json(&format!("{SMALL} --steps 4 --data-dir {} --out {}", data.display(), out.display()));
    json(&format!("train --resume {}", out.display()));
    // training and test images change places
    let pair = |part: &str| {
        files.iter().find(|f| f.to_string_lossy().contains(part) && f.to_string_lossy().contains("images"))
    };
    if let (Some(train), Some(test)) = (pair("train"), pair("t10k")) {
        let labels = |f: &Path| f.to_string_lossy().replace("images", "labels").replace("idx3", "idx1");
        for (a, b) in [(train.clone(), test.clone()), (labels(train).into(), labels(test).into())] {
            let kept = bytes(&a);
            std::fs::copy(&b, &a).expect("copied");
            std::fs::write(&b, kept).expect("written");
        }
        let said = fails(&format!("train --resume {} --quiet", out.display()), 2);
        assert!(said.contains("images are others"), "{said}");
    } else {
        panic!("MNIST in IDX files is what the repository holds: {files:?}");
    }
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_longer_run_says_what_becomes_of_the_schedule_and_is_the_long_run_where_that_is_constant() {
    let room = Room::new();
    for schedule in ["constant", "cosine"] {
        let (whole, short) = (room.path(&format!("{schedule}-whole")), room.path(&format!("{schedule}-short")));
        let run = format!("{SMALL} --optimizer rsp --schedule {schedule} --log-steps");
        json(&format!("{run} --steps 24 --out {}", whole.display()));
        json(&format!("{run} --steps 8 --out {}", short.display()));
        let out = crate::tool::run(&format!("train --resume {} --steps 24", short.display()));
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && said.contains("8 steps become 24") && said.contains(schedule), "{said}");
        let same = bytes(&whole.join("model.safetensors")) == bytes(&short.join("model.safetensors"));
        assert_eq!(same, schedule == "constant");
        let rates = |run: &Path| -> Vec<f64> {
            let steps = journal(run).into_iter().filter(|r| r["kind"] == "step");
            steps.map(|r| r["lr"].as_f64().expect("a rate")).collect()
        };
        assert_eq!(rates(&short).len(), 24);
        assert_eq!(rates(&whole)[8..], rates(&short)[8..], "the long run's rates");
        let summary: serde_json::Value = serde_json::from_slice(&bytes(&short.join("summary.json"))).expect("JSON");
        assert_eq!(summary["extended"][0], serde_json::json!({"step": 8, "from": 8, "to": 24}));
        assert!(summary["warnings"][0].as_str().is_some_and(|w| w.contains("longer")), "{summary}");
        assert!(short.join("summary-8-steps.json").is_file(), "the shorter run's result is kept");
        // and it resumes as any run
        json(&format!("train --resume {}", short.display()));
    }
}
