//! `flat-train reproduce escape` at its smallest scale.

use crate::tool::{Room, bytes, command, fails, json};
use serde_json::Value;
use std::path::Path;

fn cells(study: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(study.join("cells")).expect("cells");
    let mut names: Vec<String> = entries.map(|e| e.expect("entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn escape_makes_its_page_and_a_second_sitting_makes_only_what_is_missing() {
    let room = Room::new();
    let out = room.path("escape");
    let words = format!("reproduce escape --scale smoke --device cpu --out {}", out.display());
    let found = json(&words);
    let page = std::fs::read_to_string(out.join("results.md")).expect("a page");
    for part in [
        "The bad minima",
        "32 hidden units, 100 images of mnist, cross entropy",
        "batch normalisation, 20 images of mnist, squared loss",
        "Ablations",
        "| SA, batch 1 |",
        "mlp-ce-trbar.svg",
        "smoke scale",
    ] {
        assert!(page.contains(part), "{part} in\n{page}");
    }
    assert!(!page.contains(&*out.display().to_string()), "no paths of this machine");
    for plot in ["mlp-ce-trbar.svg", "mlp-ce-test.svg", "resnet20-bn-trbar.svg"] {
        assert!(bytes(&out.join(plot)).starts_with(b"<svg"), "{plot}");
    }
    let contenders = found["results"][0]["contenders"].as_array().expect("contenders");
    assert_eq!(contenders.len(), 7, "SGD, RS, SA of three sizes, SAM, NSO");
    for contender in contenders {
        let points = contender["fits"][0]["points"].as_array().expect("points");
        let last = points.last().expect("an end");
        assert!(last["trbar"].is_f64() && last["lambda_max"].is_f64(), "{contender}");
        let evals = last["evals"].as_f64().expect("evaluations");
        assert!(evals > 0.0 && evals <= 84.0, "{evals}: at most what was allowed, and four plain steps at the end");
        let unit = &contender["fits"][0]["unit_margin"];
        assert!(unit["margin"].as_f64() > Some(0.0) && unit["trbar"].as_f64() > Some(0.0), "{unit}");
    }
    let ends = |part: usize| -> Vec<(u64, f64)> {
        let contenders = found["results"][part]["contenders"].as_array().expect("contenders");
        assert!(contenders.iter().all(|c| c["fits"][0]["unit_margin"].is_null()), "margins are for the cross entropy");
        let last = contenders.iter().map(|c| c["fits"][0]["points"].as_array().and_then(|p| p.last()).expect("an end"));
        last.map(|p| (p["step"].as_u64().expect("steps"), p["evals"].as_f64().expect("evaluations"))).collect()
    };
    // SGD, SA of the batch, SA of one image, which needs its batch of 20 with batch normalisation alone
    assert_eq!(ends(1), [(6, 6.0), (3, 6.0), (2, 6.0)]);
    assert_eq!(ends(2), [(6, 6.0), (3, 6.0), (5, 5.5)]);
    let runs = std::fs::read_dir(out.join("runs")).expect("runs").count();
    assert_eq!(runs, 0, "the runs' folders go when their cells are done");

    // an earlier sitting that was stopped: one run is missing, another's file was cut short
    let (first, names) = (bytes(&out.join("results.json")), cells(&out));
    let run = names.iter().find(|n| n.starts_with("run-mlp-ce-rs")).expect("a run of RS");
    let ablation = names.iter().find(|n| n.starts_with("ablation-mlp-ce-sa1-plus")).expect("an ablation");
    let search = names.iter().find(|n| n.starts_with("search-mlp-ce-sgd")).expect("a search");
    let untouched = std::fs::metadata(out.join("cells").join(search)).and_then(|m| m.modified()).expect("a time");
    std::fs::remove_file(out.join("cells").join(run)).expect("removed");
    std::fs::write(out.join("cells").join(ablation), b"{\"settings\":").expect("cut short");
    let again = command(&format!("{words} --json --quiet")).output().expect("flat-train starts");
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(String::from_utf8_lossy(&again.stderr).contains("computing it again"));
    assert_eq!(cells(&out), names);
    assert!(bytes(&out.join("results.json")) == first, "the same results bit for bit");
    let after = std::fs::metadata(out.join("cells").join(search)).and_then(|m| m.modified()).expect("a time");
    assert_eq!(after, untouched, "cells that are there are not computed again");

    let error = fails(&format!("reproduce escape --scale smoke --seed 1 --out {}", out.display()), 2);
    assert!(error.contains("--seed 0") && error.contains("choose another folder"), "{error}");

    std::fs::remove_file(out.join("minima/mlp-ce-s0.safetensors")).expect("removed");
    let error = fails(&words, 1);
    assert!(error.contains("minimum-mlp-ce-s0.json"), "{error}");
    let whole: Value = serde_json::from_slice(&first).expect("JSON");
    assert_eq!(whole["provenance"]["scale"], "smoke");
}

#[test]
fn parts_are_named_and_made_alone() {
    let room = Room::new();
    let out = room.path("escape");
    let words = format!("reproduce escape --scale smoke --device cpu --out {}", out.display());
    let found = json(&format!("{words} --part resnet20-bn"));
    assert_eq!(found["results"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["results"][0]["part"], "resnet20-bn");
    assert!(cells(&out).iter().all(|cell| cell.contains("resnet20-bn")), "{:?}", cells(&out));
    assert_eq!(found["provenance"]["parts"][0], "resnet20-bn");
    let page = std::fs::read_to_string(out.join("results.md")).expect("a page");
    assert!(page.contains("--scale smoke --seed 0 --part resnet20-bn`"), "{page}");
    let error = fails(&format!("{words} --part lenet"), 2);
    assert!(error.contains("--part lenet") && error.contains("mlp-ce, resnet20-bn, resnet20-gn"), "{error}");
    let error = fails(&format!("reproduce canon --scale smoke --part mnist-mlp --out {}", room.path("c").display()), 2);
    assert!(error.contains("--part mnist-mlp: at --scale smoke there are smoke"), "{error}");
    let error = fails(&format!("reproduce theory --scale smoke --part x --out {}", room.path("t").display()), 2);
    assert!(error.contains("--part"), "{error}");
}
