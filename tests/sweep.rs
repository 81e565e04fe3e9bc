//! `flat-train sweep` on the MNIST in `data/`: runs, selection, resumption, and what it refuses.

use crate::tool::{Room, bytes, command, fails, json, run, top};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A small network on 512 images, of which 51 validate: 8 steps an epoch.
const SMALL: &str = "sweep --model mlp --hidden 16 --train-limit 512 --test-limit 256 --batch-size 64 --device cpu";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn summary(out: &Path, cell: &str, seed: u64) -> Value {
    let file = out.join("runs").join(cell).join(format!("seed-{seed}/summary.json"));
    serde_json::from_slice(&bytes(&file)).expect("JSON")
}

fn rows(board: &Value) -> &Vec<Value> {
    board["rows"].as_array().expect("rows")
}

fn row<'a>(board: &'a Value, cell: &str) -> &'a Value {
    rows(board).iter().find(|row| row["cell"] == cell).unwrap_or_else(|| panic!("no {cell} in {board}"))
}

/// The rows without what differs from one sitting to the next: folder and seconds.
fn results(board: &Value) -> Vec<Value> {
    let without = |row: &Value| {
        let mut row = row.clone();
        row.as_object_mut().expect("an object").remove("wall_s");
        row
    };
    rows(board).iter().map(without).collect()
}

#[test]
fn a_grid_is_ranked_by_means_over_the_seeds_at_equal_cost() {
    let room = Room::new();
    let (out, csv) = (room.path("out"), room.path("board.csv"));
    let words = format!(
        "{SMALL} --epochs 2 --optimizer sgd,sam --grid lr=0.02,0.1 --seeds 0..3 --csv {} --out {}",
        csv.display(),
        out.display()
    );
    let board = json(&words);
    assert_eq!((rows(&board).len(), &board["complete"]), (4, &true.into()));
    for row in rows(&board) {
        let cell = row["cell"].as_str().expect("a name");
        let runs: Vec<Value> = (0..3).map(|seed| summary(&out, cell, seed)).collect();
        let accuracies: Vec<f64> = runs.iter().map(|run| number(&run["val_accuracy"])).collect();
        let mean = accuracies.iter().sum::<f64>() / 3.0;
        assert!((number(&row["val_accuracy"]["mean"]) - mean).abs() < 1e-12, "{cell}");
        // half the width of Student's interval with 2 degrees of freedom is 4.302653 s / sqrt(3)
        let std = (accuracies.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
        let half = number(&row["val_accuracy"]["ci95"][1]) - mean;
        assert!((half - 4.302_653 * std / 3f64.sqrt()).abs() < 1e-6, "{cell}: {half}");
        // 461 images are 8 batches, twice
        let steps = if cell.contains("sam") { 8.0 } else { 16.0 };
        assert_eq!((number(&row["evals"]), number(&row["steps"])), (16.0, steps), "{cell}");
        assert!(runs.iter().all(|run| run["test_accuracy"].is_null()), "{cell}: a run looked at the test set");
        assert_eq!(row["test_accuracy"].is_null(), row["rank"] != 1, "{cell}");
    }
    let means: Vec<f64> = rows(&board).iter().map(|row| number(&row["val_accuracy"]["mean"])).collect();
    assert!(means.is_sorted_by(|a, b| a >= b), "{means:?}");
    let last = &rows(&board)[3];
    let difference = number(&last["difference"]["mean"]);
    assert!((difference - (means[3] - means[0])).abs() < 1e-12);
    let text = String::from_utf8(bytes(&csv)).expect("text");
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.starts_with("rank,cell,optimizer,lr,val_accuracy_mean"), "{text}");

    // nothing is left to run
    let begun = Instant::now();
    let again = json(&words);
    assert_eq!(again, board, "{:?}", begun.elapsed());
}

#[test]
fn a_setting_without_effect_is_left_out_of_its_cell_and_said() {
    let room = Room::new();
    let board = json(&format!(
        "{SMALL} --steps 2 --budget steps --grid optimizer=sgd,sam --grid rho=0.02,0.05 --out {}",
        room.path("out").display()
    ));
    let mut cells: Vec<&str> = rows(&board).iter().map(|row| row["cell"].as_str().expect("a name")).collect();
    cells.sort_unstable();
    assert_eq!(cells, ["optimizer=sam,rho=0.02", "optimizer=sam,rho=0.05", "optimizer=sgd"]);
    assert!(board["notes"][0].as_str().expect("a note").contains("rho has no effect in optimizer=sgd"), "{board}");
    assert_eq!(number(&row(&board, "optimizer=sam,rho=0.02")["evals"]), 4.0, "--budget steps counts steps");
    assert_eq!(
        row(&board, "optimizer=sgd")["verdict"].as_str().map(|v| v.contains("interval") || v == "best"),
        Some(true)
    );
}

/// A copy of the data whose test labels are all 0.
fn with_other_test_labels(room: &Room) -> PathBuf {
    let dir = room.path("data");
    std::fs::create_dir(&dir).expect("a folder");
    for name in ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz"] {
        std::fs::copy(top().join("data/mnist").join(name), dir.join(name)).expect("copied");
    }
    let mut labels = vec![0, 0, 8, 1];
    labels.extend(10_000u32.to_be_bytes());
    labels.extend([0; 10_000]);
    std::fs::write(dir.join("t10k-labels-idx1-ubyte"), labels).expect("written");
    dir
}

#[test]
fn other_test_images_change_nothing_but_the_score_of_the_best() {
    let room = Room::new();
    let words = |out: &str| {
        format!("{SMALL} --epochs 1 --grid lr=0.01,0.05,0.2 --seeds 0..2 --out {}", room.path(out).display())
    };
    let ours = json(&words("ours"));
    let theirs = json(&format!("{} --data-dir {}", words("theirs"), with_other_test_labels(&room).display()));
    let (mut a, mut b) = (results(&ours), results(&theirs));
    assert_ne!(a[0]["test_accuracy"], b[0]["test_accuracy"]);
    for row in a.iter_mut().chain(&mut b) {
        let row = row.as_object_mut().expect("an object");
        row.remove("test_accuracy");
        row.remove("test_loss");
    }
    assert_eq!(a, b);
}

#[test]
fn a_run_that_diverges_is_a_result_and_the_others_go_on() {
    let room = Room::new();
    let board = json(&format!(
        "{SMALL} --steps 30 --momentum 0 --schedule constant --grid lr=0.05,1e30 --seeds 0..2 --out {}",
        room.path("out").display()
    ));
    let lost = row(&board, "lr=1000000000000000000000000000000");
    assert_eq!((&lost["diverged"], &lost["rank"]), (&2.into(), &2.into()), "{lost}");
    assert!(lost["verdict"].as_str().expect("text").contains("diverged in 2 of 2") && lost["val_loss"].is_null());
    let best = row(&board, "lr=0.05");
    assert!(best["verdict"] == "best" && best["finished"] == 2 && best["test_accuracy"].is_object(), "{best}");
}

#[test]
fn a_run_that_fails_is_told_with_its_last_words_and_the_others_go_on() {
    let room = Room::new();
    let out = room.path("out");
    let done = run(&format!(
        "{SMALL} --steps 2 --grid init=models/absent.safetensors,models/none.safetensors --out {} --json --quiet",
        out.display()
    ));
    assert_eq!(done.status.code(), Some(1));
    let board: Value = serde_json::from_slice(&done.stdout).expect("a board all the same");
    let failures = board["failures"].as_array().expect("a list");
    assert_eq!(failures.len(), 2);
    assert!(failures[0]["why"].as_str().expect("text").contains(".safetensors"), "{board}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("2 of the runs failed"));
}

/// Starts a sweep and kills it with this signal once its board says that a run has ended.
fn killed(words: &str, out: &Path, signal: &str) -> Option<i32> {
    let mut child = command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("flat-train starts");
    let begun = Instant::now();
    while !out.join("sweep.json").exists() {
        assert!(begun.elapsed() < Duration::from_secs(120), "no run has ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    let id = child.id().to_string();
    let killed = std::process::Command::new("kill").args([signal, &id]).status().expect("kill runs");
    assert!(killed.success(), "it had ended by then");
    child.wait().expect("it ends").code()
}

#[test]
fn a_killed_and_an_interrupted_sweep_go_on_to_the_same_board() {
    let room = Room::new();
    let words = |out: &Path| {
        format!(
            "{SMALL} --epochs 120 --eval-every 0 --grid lr=0.01,0.05,0.1 --seeds 0..2 --jobs 2 --out {}",
            out.display()
        )
    };
    let whole = json(&words(&room.path("whole")));
    for (signal, status) in [("-KILL", None), ("-INT", Some(130))] {
        let out = room.path(signal);
        assert_eq!(killed(&words(&out), &out, signal), status, "{signal}");
        let so_far: Value = serde_json::from_slice(&bytes(&out.join("sweep.json"))).expect("a whole file");
        let ended = |row: &Value| row["finished"].as_u64().is_some_and(|n| n > 0);
        assert!(so_far["complete"] == false && rows(&so_far).iter().any(ended), "{so_far}");
        let first: Vec<PathBuf> = (["lr=0.01", "lr=0.05", "lr=0.1"].iter())
            .map(|cell| out.join("runs").join(cell).join("seed-0/summary.json"))
            .filter(|file| file.exists())
            .collect();
        let modified = |file: &PathBuf| file.metadata().and_then(|m| m.modified()).expect("a time");
        let times: Vec<_> = first.iter().map(modified).collect();
        assert!(!first.is_empty());
        let board = json(&words(&out));
        assert_eq!(results(&board), results(&whole), "{signal}");
        let now: Vec<_> = first.iter().map(modified).collect();
        assert_eq!(times, now, "a finished run was run again");
    }
}

#[test]
fn runs_that_halving_keeps_are_those_without_it_and_the_worst_are_dropped() {
    let room = Room::new();
    let words = |out: &str| format!("{SMALL} --epochs 3 --grid lr=0.0001,0.02,0.1 --out {}", room.path(out).display());
    let whole = json(&words("whole"));
    let halved = json(&format!("{} --halving eta=3", words("halved")));
    let best = rows(&halved)[0]["cell"].as_str().expect("a name");
    let file = |out: &str| room.path(out).join("runs").join(best).join("seed-0/model.safetensors");
    assert_eq!(bytes(&file("halved")), bytes(&file("whole")), "the schedule is that of the whole budget");
    for dropped in &rows(&halved)[1..] {
        // a third of 24 steps
        assert_eq!((&dropped["dropped_after"], &dropped["finished"]), (&8.into(), &0.into()), "{dropped}");
        assert!(dropped["difference"].is_null() && dropped["steps"] == 8.0 && dropped["val_accuracy"].is_object());
    }
    assert_eq!(rows(&whole).len(), 3);
    let again = json(&format!("{} --halving eta=3", words("halved")));
    assert_eq!(results(&again), results(&halved), "begun again, it decides as it did");
}

#[test]
fn random_settings_are_drawn_within_their_ranges_and_the_same_again() {
    let room = Room::new();
    let study = room.path("study.toml");
    let text = "random = 4\nrandom-seed = 3\nseeds = [5]\n[sample]\nlr = 'log:0.01..1'\nbatch-size = '32..64'\n\
                [train]\nmodel = 'mlp'\nhidden = [8]\ntrain-limit = 256\ntest-limit = 64\nsteps = 2\ndevice = 'cpu'\n";
    std::fs::write(&study, text).expect("written");
    let board = json(&format!("sweep --study {} --out {}", study.display(), room.path("a").display()));
    let flags = "sweep --random 4 --random-seed 3 --seeds 5 --sample batch-size=32..64 --sample lr=log:0.01..1 --model mlp \
                 --hidden 8 --train-limit 256 --test-limit 64 --steps 2 --device cpu";
    let same = json(&format!("{flags} --out {}", room.path("b").display()));
    assert_eq!(results(&board), results(&same));
    for row in rows(&board) {
        let of = |name: &str| row["settings"][name].as_str().expect("text").parse::<f64>().expect("a number");
        assert!((0.01..=1.0).contains(&of("lr")) && (32.0..=64.0).contains(&of("batch-size")), "{row}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_runs() {
    let room = Room::new();
    let out = room.path("out");
    for (flags, parts) in [
        ("", &["nothing varies", "--grid"][..]),
        ("--grid rhos=0.1,0.2", &["rhos", "near it", "rho"]),
        ("--grid rho=", &["no values"]),
        ("--grid lr=0.1,1e-1", &["twice"]),
        ("--grid lr=0.1,-1", &["--lr -1", "above 0", "in the cell lr=-1"]),
        ("--grid optimizer=sgd,plain", &["one and the same cell"]),
        ("--grid optimizer=sgd --grid rho=0.1,0.2", &["--rho", "no effect in any cell"]),
        ("--grid lr=0.1,0.2 --rho 0.1", &["--rho", "no effect in any cell"]),
        ("--grid lr=0.1,0.2 --lr 0.3", &["--lr", "varies too"]),
        ("--grid lr=0.1 --grid lr=0.2", &["--grid lr", "twice"]),
        ("--grid lr=0.1,0.2 --seeds 3..3", &["--seeds"]),
        ("--grid seed=1,2", &["--seeds"]),
        ("--grid validation=10,20", &["--validation", "the same images"]),
        ("--sample lr=0.1..0.2", &["--random"]),
        ("--random 3 --sample lr=0.2..0.1", &["--sample", "smaller end first"]),
        ("--random 9 --sample lr=0.1,0.2", &["--random 9", "only 2"]),
        ("--grid lr=0.1,0.2 --validation 512", &["--validation 512", "512 training images"]),
        ("--grid lr=0.1,0.2 --budget evals=9 --epochs 3", &["--epochs", "--budget evals=9"]),
        ("--grid optimizer=sgd,sam --budget evals=1", &["--evals 1", "costs 2", "optimizer=sam"]),
        ("--grid warmup=0,9ep", &["--warmup 9ep"]),
        ("--grid lr=0.1,0.2 --select worst-group", &["--select worst-group", "mnist has no groups", "colored-mnist"]),
    ] {
        let error = fails(&format!("{SMALL} {flags} --out {}", out.display()), 2);
        for part in parts {
            assert!(error.contains(part), "{flags}: no `{part}` in {error}");
        }
        assert!(!out.exists(), "{flags}: it left a folder");
    }
}

#[test]
fn a_run_with_other_settings_in_the_folder_is_named_with_the_difference() {
    let room = Room::new();
    let words = format!("{SMALL} --steps 2 --grid lr=0.1,0.2 --out {}", room.path("out").display());
    json(&words);
    let error = fails(&format!("{words} --momentum 0.5"), 2);
    assert!(error.contains("momentum was 0.9, is 0.5") && error.contains("seed-0"), "{error}");
    // more values and seeds are no other settings
    let more = json(&words.replace("lr=0.1,0.2", "lr=0.1,0.2,0.3 --seeds 0..2"));
    assert_eq!(rows(&more).len(), 3);
    assert!(rows(&more).iter().all(|row| row["finished"] == 2));
}

#[test]
fn the_report_shows_the_leaderboard_and_a_plot_of_the_setting() {
    let room = Room::new();
    let (out, page) = (room.path("out"), room.path("page.html"));
    json(&format!("{SMALL} --steps 2 --optimizer sgd,sam --grid lr=0.01,0.02,0.04 --out {}", out.display()));
    let contents = json(&format!("report {} --out {}", out.display(), page.display()));
    assert_eq!((&contents["sweeps"][0]["cells"], &contents["sweeps"][0]["figures"]), (&6.into(), &1.into()));
    let html = String::from_utf8(bytes(&page)).expect("UTF-8");
    for part in [
        "Sweep out",
        "optimizer=sam,lr=0.02",
        "validation accuracy, percent against lr, logarithmic",
        "data:image/svg+xml",
    ] {
        assert!(html.contains(part), "no {part}");
    }
}
