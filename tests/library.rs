//! A run from Rust is the run of the tool: no terminal, no flags.

use crate::tool::{Room, bytes, journal, run, top};
use flat_run::store::Line;
use flat_run::{End, Run, RunConfig, Silent};
use std::ops::ControlFlow;

const SETTINGS: &str = "optimizer = 'rsp'\nmodel = 'mlp'\nhidden = [8]\ntrain-limit = 256\ntest-limit = 64\nbatch-size = 32\n\
                        epochs = 2\ntrace-probes = 2\ntrace-examples = 32\ndevice = 'cpu'\nlog-steps = true\n";

/// The settings with the data of the repository, wherever the environment has others.
fn settings() -> String {
    format!("{SETTINGS}data-dir = '{}'\n", top().join("data").display())
}

fn config() -> RunConfig {
    RunConfig::from_table(&settings().parse().expect("TOML")).expect("settings")
}

#[test]
fn a_run_from_rust_leaves_the_bits_of_the_tool() {
    let room = Room::new();
    let (ours, theirs) = (room.path("library"), room.path("tool"));
    let mut steps = 0;
    let mut count = |line: &Line| {
        steps += u64::from(matches!(line, Line::Step(_)));
        ControlFlow::Continue(())
    };
    let end = Run::new(config()).expect("a run").out(&ours).train(&mut count).expect("trained");
    let summary = end.finished().expect("not stopped");
    assert_eq!((steps, summary.steps), (16, 16));
    assert!(summary.trace.is_some() && summary.test_accuracy.is_some_and(|accuracy| accuracy > 0.05));
    std::fs::write(room.path("c.toml"), settings()).expect("written");
    let out = run(&format!("train --config {} --out {} --quiet", room.path("c.toml").display(), theirs.display()));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for file in ["model.safetensors", "config.toml"] {
        assert_eq!(bytes(&ours.join(file)), bytes(&theirs.join(file)), "{file}");
    }
    assert_eq!(journal(&ours).len(), journal(&theirs).len());
}

#[test]
fn an_observer_stops_a_run_that_goes_on_to_the_same_end() {
    let room = Room::new();
    let (whole, parts) = (room.path("whole"), room.path("parts"));
    Run::new(config()).expect("a run").out(&whole).train(&mut Silent).expect("trained");
    let mut stop = |line: &Line| match line {
        Line::Step(at) if at.step == 5 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let end = Run::new(config()).expect("a run").out(&parts).train(&mut stop).expect("stopped");
    assert!(matches!(&end, End::Stopped(root) if *root == parts) && !parts.join("summary.json").exists());
    let again = Run::resume(&parts, &flat_core::setting::Values::default()).expect("the run");
    assert!(again.train(&mut Silent).expect("trained").finished().is_some());
    assert_eq!(bytes(&whole.join("model.safetensors")), bytes(&parts.join("model.safetensors")));
}

#[test]
fn a_run_that_cannot_start_leaves_nothing_behind_and_names_the_setting() {
    let room = Room::new();
    let wrong = config().with_option("sigma", -1.0);
    let error = Run::new(wrong).err().expect("refused").to_string();
    assert!(error.contains("sigma") && error.contains("give a number above 0"), "{error}");
    assert_eq!(std::fs::read_dir(room.path("")).expect("the room").count(), 0);
}
