//! `--epochs`: parts of an epoch are steps, and a run that ended goes on to more.

use crate::tool::{Room, SMALL, bytes, fails, journal, json};
use std::path::Path;

fn weights(run: &Path) -> Vec<u8> {
    bytes(&run.join("model.safetensors"))
}

fn config(run: &Path) -> String {
    String::from_utf8(bytes(&run.join("config.toml"))).expect("text")
}

#[test]
fn one_and_a_half_epochs_are_half_as_many_steps_again_with_their_schedule() {
    let room = Room::new();
    let (epochs, steps, cut) = (room.path("epochs"), room.path("steps"), room.path("cut"));
    // 8 steps an epoch
    let run = format!("{SMALL} --optimizer sam --log-steps");
    let summary = json(&format!("{run} --epochs 1.5 --out {}", epochs.display()));
    json(&format!("{run} --steps 12 --out {}", steps.display()));
    assert_eq!(summary["steps"], 12);
    assert!(weights(&epochs) == weights(&steps), "the schedules have the same length");
    assert!(config(&epochs).contains("\nepochs = 1.5\n"), "{}", config(&epochs));
    let lines = |kind: &str, split: &str| {
        let of = journal(&epochs).into_iter().filter(|line| line["kind"] == kind && line["split"] == split);
        of.map(|line| (line["epoch"].clone(), line["step"].clone())).collect::<Vec<_>>()
    };
    // a whole epoch, and the part of one at the end
    assert_eq!(lines("epoch", "train"), [(1.into(), 8.into()), (2.into(), 12.into())]);
    assert_eq!(lines("epoch", "test"), [(1.into(), 8.into()), (2.into(), 12.into())]);
    json(&format!("{run} --epochs 1.5 --pause-after 10 --out {}", cut.display()));
    json(&format!("train --resume {}", cut.display()));
    assert!(weights(&epochs) == weights(&cut), "and it resumes as any run");
    // the file says the same as the flag
    let again = room.path("again");
    json(&format!("train --config {}/config.toml --out {}", epochs.display(), again.display()));
    assert!(weights(&epochs) == weights(&again));
}

#[test]
fn a_finished_run_goes_on_to_more_epochs_and_one_that_has_more_already_says_so() {
    let room = Room::new();
    let (long, short) = (room.path("long"), room.path("short"));
    let run = format!("{SMALL} --optimizer rsp --schedule constant");
    json(&format!("{run} --epochs 2.5 --out {}", long.display()));
    json(&format!("{run} --epochs 1 --out {}", short.display()));
    assert!(config(&short).contains("\nepochs = 1\n"), "a whole number stays one: {}", config(&short));
    json(&format!("train --resume {} --epochs 2.5", short.display()));
    assert!(weights(&long) == weights(&short));
    assert!(config(&short).contains("\nepochs = 2.5\n"), "{}", config(&short));
    let said = fails(&format!("train --resume {} --epochs 2", short.display()), 2);
    assert!(said.contains("20 steps (2.5 epochs) are done already") && said.contains("16 steps"), "{said}");
    assert!(config(&short).contains("\nepochs = 2.5\n"), "the refused flag changed nothing");
}

#[test]
fn epochs_that_are_no_run_are_refused_by_their_flag() {
    for (epochs, why) in [
        ("0", "above 0"),
        ("-1", "above 0"),
        ("NaN", "above 0"),
        ("inf", "at most 1000000000"),
        ("1e30", "at most 1000000000"),
        ("5000000000", "at most 1000000000"),
        ("two", "give a number"),
        ("0.01", "an epoch has 8 steps"),
    ] {
        let said = fails(&format!("{SMALL} --epochs {epochs} --dry-run"), 2);
        assert!(said.contains("--epochs") && said.contains(why), "{epochs}: {said}");
    }
}
