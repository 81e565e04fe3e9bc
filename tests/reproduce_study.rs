//! `flat-train reproduce` with a study file of the user's own.

use crate::tool::{Room, bytes, command, fails, json, run, top};
use std::path::{Path, PathBuf};
use std::process::Stdio;

const STUDIES: &str = "crates/flat-reproduce/studies";

fn study(name: &str) -> String {
    std::fs::read_to_string(top().join(STUDIES).join(name)).expect("a study's file")
}

fn cells(out: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(out.join("cells")).expect("cells");
    let mut names: Vec<String> = entries.map(|e| e.expect("entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn another_grid_is_another_file_and_computes_only_the_cells_that_are_new() {
    let room = Room::new();
    let (file, out) = (room.path("my.toml"), room.path("out"));
    let words =
        format!("reproduce late-sam --scale smoke --device cpu --study {} --out {}", file.display(), out.display());
    std::fs::write(&file, study("late-sam.toml").replace("rhos = [0.1]", "rhos = [0.2]")).expect("written");
    json(&words);
    let first = cells(&out);
    assert!(first.contains(&"search-rho0.2.json".to_string()), "{first:?}");
    let modified =
        |name: &str| std::fs::metadata(out.join("cells").join(name)).and_then(|m| m.modified()).expect("a time");
    let before = modified("search-rho0.2.json");
    let page = std::fs::read_to_string(out.join("results.md")).expect("a page");
    assert!(page.contains(&format!("--study {}", file.display())) && !page.contains("{{"), "{page}");
    assert_eq!(std::fs::read_to_string(out.join("study.toml")).ok(), std::fs::read_to_string(&file).ok());

    std::fs::write(&file, study("late-sam.toml").replace("rhos = [0.1]", "rhos = [0.2, 0.3]")).expect("written");
    json(&words);
    assert_eq!(modified("search-rho0.2.json"), before, "its settings are the same");
    assert!(cells(&out).contains(&"search-rho0.3.json".to_string()));
}

#[test]
fn the_smallest_scale_fills_every_hole_and_uses_all_that_was_computed() {
    let room = Room::new();
    for name in ["defaults", "sam-vs-sgd", "groups", "tiny-subspace", "canon", "flatness-network"] {
        let out = room.path(name);
        json(&format!("reproduce {name} --scale smoke --device cpu --out {}", out.display()));
        let page = std::fs::read_to_string(out.join("results.md")).expect("a page");
        assert!(page.contains("smoke scale") && !page.contains("{{"), "{page}");
        let file = std::fs::read_to_string(out.join("study.toml")).expect("the study's file");
        assert_eq!(file, study(&format!("{name}.toml")), "to begin another study with");
    }
}

#[test]
fn a_bad_minimum_that_is_not_there_is_named_before_anything_is_computed() {
    let room = Room::new();
    let (file, out) = (room.path("my.toml"), room.path("out"));
    let text = study("flatness-network.toml").replace("models/bad.safetensors", "models/absent.safetensors");
    std::fs::write(&file, text).expect("written");
    let words = format!("reproduce flatness-network --scale smoke --study {} --out {}", file.display(), out.display());
    let error = fails(&words, 2);
    assert!(error.contains("models/absent.safetensors: no such file") && cells(&out).is_empty(), "{error}");
}

/// The checkpoints of the runs that a study has in the making.
fn checkpoints(out: &Path) -> Vec<PathBuf> {
    let within = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = within(out.join("runs")).flat_map(|run| within(run.join("checkpoints")));
    files.filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-"))).collect()
}

#[test]
fn a_cell_whose_run_does_not_resume_is_made_anew_and_says_so() {
    let room = Room::new();
    let file = room.path("my.toml");
    let text = study("late-sam.toml").replace("late = [0, 1, 2]", "late = [0]").replace("seeds = 2", "seeds = 1");
    let text = text.replace("epochs = 2\n", "epochs = 40\n").replace("[flags]", "[flags]\ncheckpoint-every = \"1\"");
    std::fs::write(&file, text).expect("written");
    let words =
        |out: &Path| format!("reproduce late-sam --scale smoke --study {} --out {}", file.display(), out.display());
    let (whole, cut) = (room.path("whole"), room.path("cut"));
    let first = json(&words(&whole));
    let mut child = command(&words(&cut)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    while checkpoints(&cut).is_empty() {
        assert!(child.try_wait().expect("a status").is_none(), "it ended before it could be killed");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("it ended");
    let left = checkpoints(&cut);
    assert!(!left.is_empty(), "killed between two runs");
    left.iter().for_each(|file| std::fs::write(file, b"junk").expect("damaged"));
    let out = run(&words(&cut));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains("cannot be resumed") && said.contains("made anew"), "{said}");
    let again: serde_json::Value = serde_json::from_slice(&bytes(&cut.join("results.json"))).expect("JSON");
    assert_eq!(again["results"], first["results"]);
    assert_eq!(std::fs::read_dir(cut.join("runs")).expect("a folder").count(), 0, "no run is left");
}

#[test]
fn a_study_file_with_a_fault_is_wrong_usage_that_names_file_and_key() {
    let room = Room::new();
    let file = room.path("my.toml");
    for (from, to, named) in [
        ("rhos = [0.1]", "rhos = [0.1]\nrohs = [0.2]", "rohs"),
        ("rhos = [0.1]", "rhos = \"0.1\"", "rhos"),
        ("[scales.smoke]", "[scales.tiny]", "tiny"),
        ("momentum = 0.9", "momentum = 2.0", "momentum"),
        ("momentum = 0.9", "momentmu = 0.9", "momentmu"),
        ("momentum = 0.9", "momentum = 0.9\nrho = 0.1", "rho"),
    ] {
        let text = study("late-sam.toml");
        assert!(text.contains(from), "{from}");
        std::fs::write(&file, text.replacen(from, to, 1)).expect("written");
        let out = room.path(named);
        let error = fails(
            &format!("reproduce late-sam --scale smoke --study {} --out {} --quiet", file.display(), out.display()),
            2,
        );
        assert!(error.contains(named), "{to}: {error}");
    }
    let (none, out) = (room.path("none.toml"), room.path("none"));
    let error = fails(&format!("reproduce late-sam --study {} --out {} --quiet", none.display(), out.display()), 1);
    assert!(error.contains("none.toml") && !out.exists(), "{error}");
}
