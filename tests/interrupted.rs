//! SIGINT while a measure runs: what there is by then is printed and marked, with status 130.

use crate::tool::{Room, SMALL, bytes, command, json};
use serde_json::Value;
use std::process::{Output, Stdio};
use std::time::Duration;

const ON: &str = "--checkpoint models/sharp.safetensors --dataset mnist --split train --limit 64";

/// Runs the words and sends SIGINT later and later, until it comes after the first number.
fn interrupted(words: &str) -> Output {
    let mut delay = Duration::from_millis(400);
    loop {
        let mut child = command(&format!("{words} --quiet"));
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("flat-train starts");
        std::thread::sleep(delay);
        let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(killed.expect("kill runs").success(), "{words}: it ended within {delay:?}");
        let out = child.wait_with_output().expect("it ends");
        if !out.stdout.is_empty() {
            assert_eq!(out.status.code(), Some(130), "{words}: {}", String::from_utf8_lossy(&out.stderr));
            return out;
        }
        delay *= 2;
        assert!(delay < Duration::from_secs(60), "{words}: nothing printed");
    }
}

fn report(words: &str) -> Value {
    let out = interrupted(&format!("{words} --json"));
    let text = String::from_utf8(out.stdout).expect("text");
    assert!(!text.contains("NaN"), "{text}");
    serde_json::from_str(&text).expect("one JSON object")
}

fn text(words: &str) -> String {
    let text = String::from_utf8(interrupted(words).stdout).expect("text");
    assert!(text.contains("nterrupted") && !text.contains("NaN"), "{text}");
    text
}

#[test]
fn an_interrupted_trace_is_that_of_the_probes_completed() {
    let part = report(&format!("metrics trace {ON} --probes 10000000"));
    assert_eq!(part["stopped_by"], "interrupted");
    let probes = part["trace"]["probes"].as_u64().expect("a count");
    let whole = json(&format!("metrics trace {ON} --probes {probes}"));
    assert_eq!((&part["trace"], &part["per_layer"]), (&whole["trace"], &whole["per_layer"]));
    // a sketch has no value of its own before the end
    let part = report(&format!("metrics trace {ON} --estimator xtrace --probes 12000"));
    assert_eq!((&part["stopped_by"], &part["trace"]["value"].is_number()), (&"interrupted".into(), &true));
    assert!(part["card"]["estimator"].as_str().is_some_and(|name| name.starts_with("hutchinson")), "{part}");
    text(&format!("metrics trace {ON} --probes 10000000"));
}

#[test]
fn interrupted_layers_have_the_traces_of_the_probes_completed() {
    let part = report(&format!("metrics layers {ON} --probes 10000000"));
    assert_eq!(part["interrupted"], true);
    let probes = part["trace"]["probes"].as_u64().expect("a count");
    assert!(part["layers"][0]["lambda_max"].is_null());
    // the groups that make the interval of rms are as many as the probes asked for allow
    let whole = json(&format!("metrics layers {ON} --probes {} --max-matvecs 0", probes.max(2)));
    if probes >= 2 {
        assert_eq!(part["trace"], whole["trace"]);
    }
    text(&format!("metrics layers {ON} --probes 10000000"));
}

#[test]
fn an_interrupted_density_is_that_of_the_probes_completed() {
    let part = report(&format!("metrics density {ON} --probes 1000000 --steps 5"));
    assert_eq!(part["interrupted"], true);
    let probes = part["quadratures"].as_array().expect("a list").len();
    let whole = json(&format!("metrics density {ON} --probes {probes} --steps 5"));
    for pointer in
        ["/rank/entropy/value", "/rank/participation/ci95", "/moments/2/value", "/moments/3/ci95", "/density"]
    {
        assert_eq!(part.pointer(pointer), whole.pointer(pointer), "{pointer}");
    }
    text(&format!("metrics density {ON} --probes 1000000 --steps 5"));
}

#[test]
fn interrupted_sharpness_eigenvalues_and_all_print_what_they_have() {
    let part = report(&format!("metrics sharpness {ON} --pairs 10000000"));
    assert_eq!(part["interrupted"], true);
    let names: Vec<&str> =
        part["measures"].as_array().expect("a list").iter().filter_map(|m| m["measure"].as_str()).collect();
    assert!(names.starts_with(&["first-order"]) && names.len() < 6, "{names:?}");
    text(&format!("metrics sharpness {ON} --pairs 10000000"));
    // so many images that rounding does not end it before the signal comes
    let on = ON.replace("--limit 64", "--limit 4096");
    let part = report(&format!("metrics eig {on} --rel-tol 1e-14 --max-matvecs 5000"));
    assert_eq!(part["stopped_by"], "interrupted");
    let part = report(&format!("metrics all {ON} --trace-probes 10000000"));
    assert_eq!((&part["interrupted"], &part["trace"]["stopped_by"]), (&true.into(), &"interrupted".into()));
    assert!(part.get("density").is_none(), "{part}");
}

#[test]
fn an_interrupted_slice_has_the_points_that_were_reached() {
    let room = crate::tool::Room::new();
    for (name, flags) in
        [("two", "--axes 2 --points 1001"), ("line", "--between models/flat.safetensors --points 1001 --limit 5000")]
    {
        let on = if name == "line" { ON.replace(" --limit 64", "") } else { ON.into() };
        let out = room.path(name);
        let part = report(&format!("landscape {on} {flags} --out {}", out.display()));
        assert_eq!(part["interrupted"], true);
        let loss = part["loss"].as_array().expect("losses");
        let reached = loss.iter().take_while(|l| l.is_number()).count();
        assert!(reached > 0 && loss[reached..].iter().all(Value::is_null), "{name}: {reached} of {}", loss.len());
        assert!(out.join("landscape.csv").is_file());
    }
}

#[test]
fn an_interrupted_measure_of_a_run_is_kept_but_not_in_place_of_a_whole_one() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --steps 4 --out {}", out.display()));
    let kept = || -> Value { serde_json::from_slice(&bytes(&out.join("metrics/trace.json"))).expect("JSON") };
    let measure = format!("metrics trace --checkpoint {} --limit 64", out.display());
    let part = report(&format!("{measure} --probes 10000000"));
    assert_eq!((&kept(), &kept()["interrupted"]), (&part, &true.into()));
    let whole = json(&format!("{measure} --probes 3"));
    assert_eq!(kept(), whole);
    report(&format!("{measure} --probes 10000000"));
    assert_eq!(kept(), whole);
}
