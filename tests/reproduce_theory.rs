//! `flat-train reproduce theory`, as the command line runs it.

use crate::tool::{Room, bytes, fails, json};
use serde_json::Value;

#[test]
fn the_page_is_written_and_a_study_that_was_cut_short_comes_to_the_same_results() {
    let room = Room::new();
    let out = room.path("theory");
    let words = format!("reproduce theory --scale smoke --seed 3 --out {}", out.display());
    let printed = json(&words);
    let results: Value = serde_json::from_slice(&bytes(&out.join("results.json"))).expect("JSON");
    assert_eq!(printed, results);
    let page = String::from_utf8(bytes(&out.join("results.md"))).expect("text");
    for part in ["# Theorems on test functions", "--scale smoke --seed 3", "never within budget", "manifold.svg"] {
        assert!(page.contains(part), "{part}");
    }
    for figure in results["figures"].as_array().expect("a list") {
        let svg = String::from_utf8(bytes(&out.join(figure["file"].as_str().expect("a name")))).expect("text");
        assert!(svg.starts_with("<svg") && !svg.contains("NaN"));
    }
    let found = &results["results"];
    // the ratio of the drifts is D, here within the error of 4,000 steps of RS
    for drift in found["drifts"].as_array().expect("a list") {
        let (d, ratio) =
            (drift["setting"]["dim"].as_f64().expect("a number"), drift["ratio"]["value"].as_f64().expect("a number"));
        assert!((ratio / d - 1.0).abs() < 0.15, "{drift}");
    }
    // GD stays, RS and SA come down
    let trbar = |i: usize| found["ends"][i]["trbar"]["value"].as_f64().expect("a number");
    assert!((trbar(0) - 16.0625).abs() < 1e-9 && trbar(3) < 8.0 && trbar(4) < 3.2, "{}", found["ends"]);

    // as if it had been stopped: some cells are missing, one was cut off while it was written
    let cells = out.join("cells");
    std::fs::remove_file(cells.join("drift-d10-rho0.1.json")).expect("a cell");
    std::fs::write(cells.join("crosscheck-bowl.json"), b"{\"settings\":").expect("a cell");
    std::fs::remove_file(out.join("results.json")).expect("results");
    json(&words);
    let again: Value = serde_json::from_slice(&bytes(&out.join("results.json"))).expect("JSON");
    assert_eq!(again, results);

    let text = fails(&format!("reproduce theory --scale smoke --seed 4 --out {}", out.display()), 2);
    assert!(text.contains("--seed 3") && text.contains("choose another folder"), "{text}");
}
