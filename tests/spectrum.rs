//! The measures of the whole spectrum and of the loss around a checkpoint, as the command line gives them.

use crate::tool::{Room, fails, json, run};
use serde_json::Value;

const ON: &str = "--checkpoint models/flat.safetensors --dataset mnist --split train --limit 64";

fn number(v: &Value) -> f64 {
    v.as_f64().unwrap_or_else(|| panic!("a number: {v}"))
}

fn keys(v: &Value, names: &[&str]) {
    for name in names {
        assert!(!v[name].is_null(), "{name} is missing: {v}");
    }
}

#[test]
fn the_density_agrees_with_the_eigenvalues_and_draws_itself() {
    let room = Room::new();
    let plot = room.path("plots/density.svg");
    let words = format!("metrics density {ON} --probes 3 --steps 40 --seed 2");
    let report = json(&format!("{words} --plot {}", plot.display()));
    let card = &report["card"];
    keys(card, &["checkpoint", "dataset", "loss_name", "dtype", "device", "hvp", "version", "wall_s"]);
    assert_eq!((&card["matvecs"], &card["seed"], &card["examples"]), (&120.into(), &2.into(), &64.into()));
    assert!(card["bn_mode"].is_null(), "an mlp has no BatchNorm: {card}");
    let eig = json(&format!("metrics eig {ON} --top 1 --bottom 0"));
    let (top, edge) = (number(&eig["eigenvalues"][0]["value"]), number(&report["range"][1]));
    // a Ritz value errs by its residual squared over the gap
    assert!((top - edge).abs() < 1e-3 * top, "{top} {edge}");
    for moment in report["moments"].as_array().expect("four moments").iter().skip(1) {
        let (lo, hi) = (number(&moment["ci95"][0]), number(&moment["ci95"][1]));
        assert!(lo < number(&moment["value"]) && number(&moment["value"]) < hi);
    }
    keys(&report["rank"], &["participation", "entropy", "curvature_score"]);
    let svg = std::fs::read_to_string(&plot).expect("a plot");
    assert!(svg.starts_with("<svg") && svg.contains("eigenvalue of the Hessian") && svg.contains("interval"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "every coordinate is a number");
}

#[test]
fn the_hidden_states_have_a_dimension_below_their_number() {
    let report =
        json("metrics dimension --checkpoint models/flat.safetensors --dataset mnist --split train --limit 500");
    let (value, width) = (number(&report["value"]), number(&report["coordinates"]));
    assert!(1.0 < value && value < width && width == 32.0, "{report}");
    assert!(number(&report["ci95"][0]) < value && value < number(&report["ci95"][1]));
    assert_eq!(report["card"]["examples"], 500);
}

#[test]
fn flags_out_of_range_are_named() {
    for (words, flag) in [
        ("metrics density --probes 0", "--probes"),
        ("metrics density --width nan", "--width"),
        ("metrics density --plot x.png", "--plot"),
        ("metrics dimension --discard 1", "--discard"),
    ] {
        let text = fails(&format!("{words} {ON}"), 2);
        assert!(text.contains(flag), "{words}: {text}");
    }
}

#[test]
fn without_json_measures_are_tables() {
    let out = run(&format!("metrics density {ON} --probes 2 --steps 10"));
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains("tr H") && text.contains("20 products"), "{text}");
}
