//! `--log`: the journal of a run as TensorBoard's events and as tables, each step once whatever happened on the way.
//!
//! The events are read here by their framing and field numbers alone; `tests/reference/tensorboard_events.py` has TensorBoard
//! read them.

use crate::tool::{Room, SMALL, bytes, fails, journal, json, run};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The event file of a run, which has one.
fn events(run: &Path) -> PathBuf {
    let files = std::fs::read_dir(run).expect("a folder").filter_map(|file| Some(file.ok()?.path()));
    let ours: Vec<PathBuf> = files.filter(|file| file.to_string_lossy().contains("tfevents")).collect();
    let [one] = ours.as_slice() else { panic!("one event file expected: {ours:?}") };
    one.clone()
}

/// The fields of a protocol buffer: number and content, which is eight bytes at least of a number.
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first().expect("a varint ends");
            *bytes = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                found.push((key >> 3, varint(&mut message).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut message) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (content, rest) = message.split_at(length);
        found.push((key >> 3, content.to_vec()));
        message = rest;
    }
    found
}

/// The scalars of an event file in order: tag, step, value. Tags of other plugins have no value.
fn scalars(file: &Path) -> Vec<(String, u64, Option<f32>)> {
    let (all, mut found) = (bytes(file), Vec::new());
    let mut rest = all.as_slice();
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().expect("eight bytes")) as usize;
        let event = fields(&rest[12..12 + length]);
        rest = &rest[16 + length..];
        let one = |number: u64| event.iter().find(|(field, _)| *field == number).map(|(_, content)| content);
        let step = one(2).map_or(0, |n| u64::from_le_bytes(n.as_slice().try_into().expect("eight bytes")));
        for (_, value) in one(5).map(|summary| fields(summary)).unwrap_or_default() {
            let of = fields(&value);
            let field = |number: u64| of.iter().find(|(field, _)| *field == number).map(|(_, content)| content.clone());
            let tag = String::from_utf8(field(1).expect("a tag")).expect("text");
            found.push((tag, step, field(2).map(|x| f32::from_le_bytes(x.try_into().expect("four bytes")))));
        }
    }
    found
}

/// The cells of a table without quotes, row by row, under its columns.
fn rows(file: &Path) -> Vec<Vec<(String, String)>> {
    let text = String::from_utf8(bytes(file)).expect("text");
    let mut lines = text.lines().map(|line| line.split(',').map(String::from).collect::<Vec<_>>());
    let columns = lines.next().expect("a head");
    lines.map(|row| columns.iter().cloned().zip(row).collect()).collect()
}

/// The rows of steps without their seconds: a run that was paused was evaluated once more.
fn steps_of(file: &Path) -> Vec<Vec<(String, String)>> {
    let timed = |name: &str| ["wall_s", "samples_per_s"].contains(&name);
    let steps = rows(file).into_iter().filter(|row| row[0].1 == "step");
    steps.map(|row| row.into_iter().filter(|(name, _)| !timed(name)).collect()).collect()
}

/// The same of events.
fn step_scalars(run: &Path) -> Vec<(String, u64, Option<f32>)> {
    let steps = scalars(&events(run)).into_iter().filter(|(tag, ..)| tag.starts_with("step/"));
    steps.filter(|(tag, ..)| !tag.ends_with("wall_s") && !tag.ends_with("samples_per_s")).collect()
}

#[test]
fn the_log_has_the_numbers_of_the_journal_line_by_line() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!(
        "{SMALL} --optimizer sam --steps 20 --log-steps --log tensorboard,csv --flatness trace,lambda_max --flatness-every 8 \
         --flatness-examples 64 --flatness-probes 2 --out {}",
        out.display()
    ));
    let (lines, table, scalars) = (journal(&out), rows(&out.join("metrics.csv")), scalars(&events(&out)));
    assert_eq!(lines.len(), table.len());
    let mut flat = 0;
    for (line, row) in lines.iter().zip(&table) {
        let cell = |name: &str| &row.iter().find(|(column, _)| column == name).expect(name).1;
        let group = match line["kind"].as_str().expect("a kind") {
            "epoch" => line["split"].as_str().expect("a split"),
            kind => kind,
        };
        let step = line["step"].as_u64().expect("a step");
        let check = |name: &str, value: &Value| {
            assert_eq!(cell(name), &value.to_string(), "{name} in {line}");
            let tag = format!("{group}/{name}");
            let of_step: Vec<_> = scalars.iter().filter(|(t, s, _)| *t == tag && *s == step).collect();
            let [(_, _, Some(x))] = of_step.as_slice() else { panic!("{tag} at {step}: {of_step:?}") };
            assert_eq!(*x, value.as_f64().expect("a number") as f32, "{tag} at {step}");
        };
        for name in ["epoch", "loss", "accuracy", "lr", "rho", "grad_norm", "evals", "perturbed", "wall_s"] {
            line.get(name).into_iter().for_each(|value| check(name, value));
        }
        if group == "flatness" {
            check("trace", &line["trace"]["trace"]["value"]);
            check("trace_low", &line["trace"]["trace"]["ci95"][0]);
            check("trace_high", &line["trace"]["trace"]["ci95"][1]);
            check("lambda_max", &line["lambda_max"]["value"]);
            flat += 1;
        }
    }
    assert_eq!(flat, 2);
    // the settings and the end, for the HPARAMS tab
    let tags: Vec<&str> = scalars.iter().filter(|(.., x)| x.is_none()).map(|(tag, ..)| tag.as_str()).collect();
    assert_eq!(tags, ["_hparams_/session_start_info", "_hparams_/session_end_info"]);
    let summary: Value = serde_json::from_slice(&bytes(&out.join("summary.json"))).expect("JSON");
    let [row] = rows(&out.join("summary.csv")).try_into().expect("one row");
    let cell = |name: &str| row.iter().find(|(column, _)| column == name).expect(name).1.clone();
    assert_eq!(cell("test_loss"), summary["test_loss"].to_string());
    assert_eq!((cell("state"), cell("steps")), ("finished".into(), "20".into()));
}

#[test]
fn a_resumed_run_has_every_step_once_whatever_stood_in_the_files() {
    let room = Room::new();
    let (whole, cut) = (room.path("whole"), room.path("cut"));
    let run = format!("{SMALL} --optimizer sam --steps 20 --log-steps --log tensorboard,csv");
    json(&format!("{run} --out {}", whole.display()));
    json(&format!("{run} --pause-after 12 --out {}", cut.display()));
    // steps beyond the checkpoint, a half-written record, a cell of another program
    let written = bytes(&events(&cut));
    for (file, more) in [(events(&cut), written.as_slice()), (cut.join("metrics.csv"), b"step,1,2\n\"")] {
        std::fs::write(&file, [bytes(&file).as_slice(), more, b"\x07"].concat()).expect("written");
    }
    json(&format!("train --resume {}", cut.display()));
    let same = || {
        steps_of(&whole.join("metrics.csv")) == steps_of(&cut.join("metrics.csv"))
            && step_scalars(&whole) == step_scalars(&cut)
            && rows(&cut.join("metrics.csv")).len() == journal(&cut).len()
    };
    assert!(same());
    let losses = step_scalars(&cut).into_iter().filter(|(tag, ..)| tag == "step/loss").map(|(_, step, _)| step);
    assert_eq!(losses.collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    json(&format!("train --resume {}", cut.display()));
    assert!(same(), "resuming a finished run changes nothing of it");
}

#[test]
fn another_log_on_resuming_begins_with_the_first_step_and_files_no_longer_named_stay() {
    let room = Room::new();
    let (whole, other) = (room.path("whole"), room.path("other"));
    let run = format!("{SMALL} --steps 10 --log-steps");
    json(&format!("{run} --log csv --out {}", whole.display()));
    json(&format!("{run} --log tb --pause-after 6 --out {}", other.display()));
    let before = bytes(&events(&other));
    json(&format!("train --resume {} --log csv", other.display()));
    assert!(steps_of(&whole.join("metrics.csv")) == steps_of(&other.join("metrics.csv")));
    assert_eq!(steps_of(&other.join("metrics.csv")).len(), 10);
    assert!(bytes(&events(&other)) == before);
    let config = String::from_utf8(bytes(&other.join("config.toml"))).expect("text");
    assert!(config.contains("log = [\"csv\"]"), "{config}");
    let weights = |run: &Path| bytes(&run.join("model.safetensors"));
    assert!(weights(&whole) == weights(&other), "a log decides no weights");
}

#[test]
fn a_log_that_cannot_be_written_stops_the_run_and_one_that_is_there_without_a_run_is_refused() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --steps 10 --log csv --pause-after 5 --out {}", out.display()));
    let kept = bytes(&out.join("metrics.csv"));
    std::fs::remove_file(out.join("metrics.csv")).expect("removed");
    std::fs::create_dir(out.join("metrics.csv")).expect("a folder in its place");
    let said = fails(&format!("train --resume {} --quiet", out.display()), 1);
    assert!(said.contains("cannot write") && said.contains("metrics.csv"), "{said}");
    std::fs::remove_dir(out.join("metrics.csv")).expect("removed");
    json(&format!("train --resume {}", out.display()));
    assert!(bytes(&out.join("metrics.csv")).starts_with(&kept), "the lines of before are there again");
    for file in ["metrics.csv", "summary.csv", "events.out.tfevents.1.host"] {
        let foreign = room.path(&format!("with-{file}"));
        std::fs::create_dir(&foreign).expect("a folder");
        std::fs::write(foreign.join(file), "mine").expect("written");
        let said = fails(&format!("{SMALL} --steps 1 --log csv,tensorboard --out {}", foreign.display()), 2);
        assert!(said.contains(file) && said.contains("--out"), "{said}");
        assert_eq!(bytes(&foreign.join(file)), b"mine");
    }
}

#[test]
fn a_format_is_a_choice_that_help_lists_and_an_error_corrects() {
    let said = fails(&format!("{SMALL} --log tensorbord"), 2);
    assert!(said.contains("--log") && said.contains("tensorboard") && said.contains("csv"), "{said}");
    let help = String::from_utf8(run("train --help").stdout).expect("text");
    let of_log = help.split("--log <").nth(1).and_then(|text| text.split("--log-every").next()).expect("--log");
    assert!(of_log.contains("[possible values: tensorboard, csv]"), "{of_log}");
}
