//! Numbers are of the function they name, and what is no result is not called one.

use crate::tool::{Room, fails, json, run};
use candle_core::{Device, Tensor, safetensors};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

const SMALL: &str = "train --model mlp --hidden 8 --train-limit 256 --test-limit 64 --trace-probes 0 --device cpu";

fn weights(file: &Path) -> HashMap<String, Tensor> {
    safetensors::load(file, &Device::Cpu).expect("safetensors")
}

#[test]
fn a_run_whose_loss_is_far_above_a_guess_has_diverged_and_has_no_trace() {
    let room = Room::new();
    let out = room.path("run");
    let words = format!("{SMALL} --steps 30 --lr 1000 --out {} --quiet --json", out.display())
        .replace("--trace-probes 0", "--trace-probes 2");
    let ran = run(&words);
    assert_eq!(ran.status.code(), Some(3), "{}", String::from_utf8_lossy(&ran.stderr));
    if let Ok(summary) = std::fs::read(out.join("summary.json")) {
        let summary: Value = serde_json::from_slice(&summary).expect("JSON");
        assert_eq!(summary["state"], "diverged");
        assert!(summary["trace"].is_null());
    }
}

#[test]
fn short_runs_and_runs_of_no_steps_have_not_diverged() {
    let room = Room::new();
    for (i, flags) in
        ["--steps 0", "--steps 2", "--steps 2 --model resnet20 --channels 4 --batch-size 32"].iter().enumerate()
    {
        let model = if flags.contains("--model") { SMALL.replace("--model mlp --hidden 8", "") } else { SMALL.into() };
        let summary = json(&format!("{model} {flags} --out {}", room.path(&format!("{i}")).display()));
        assert_eq!(summary["state"], "finished", "{flags}");
    }
}

#[test]
fn a_gate_that_never_opens_is_sgd_and_is_warned_of() {
    let room = Room::new();
    let of = |name: &str, flags: &str| {
        let out = room.path(name);
        let summary = json(&format!("{SMALL} --epochs 2 {flags} --out {}", out.display()));
        (summary, std::fs::read(out.join("model.safetensors")).expect("weights"))
    };
    let (plain, sgd) = of("sgd", "--optimizer sgd");
    assert!(plain["warnings"].is_null());
    for rule in ["rsp", "sap"] {
        let (summary, bytes) = of(rule, &format!("--optimizer {rule} --eps0 1e-30"));
        assert!(bytes == sgd, "{rule}: other weights than sgd's");
        assert_eq!(summary["perturbed_steps"], 0);
        assert!(summary["warnings"][0].as_str().is_some_and(|w| w.contains("--eps0")), "{summary}");
    }
    let (open, _) = of("open", "--optimizer rsp");
    assert_eq!(open["perturbed_steps"], open["steps"]);
}

#[test]
fn weights_in_a_wrapper_are_the_same_weights_and_weights_that_are_not_finite_are_refused() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --epochs 1 --out {}", out.display()));
    let own = json(&format!("eval --checkpoint {} --limit 64", out.display()));
    let found = weights(&out.join("model.safetensors"));
    let eval = |name: &str, tensors: HashMap<String, Tensor>| {
        let file = room.path(name);
        safetensors::save(&tensors, &file).expect("a file");
        format!("eval --checkpoint {} --model mlp --hidden 8 --dataset mnist --limit 64", file.display())
    };
    for wrapper in ["module.", "_orig_mod.", "state_dict.model."] {
        let wrapped = found.iter().map(|(n, t)| (format!("{wrapper}{n}"), t.clone())).collect();
        assert_eq!(json(&eval("wrapped.safetensors", wrapped)), own, "{wrapper}");
    }
    let mut broken = found.clone();
    let (name, tensor) = found.iter().next().expect("a tensor");
    broken.insert(name.clone(), (tensor * f64::NAN).expect("NaN"));
    let text = fails(&eval("nan.safetensors", broken), 1);
    assert!(text.contains(name.as_str()) && text.contains("not finite"), "{text}");
}

#[test]
fn a_network_for_other_images_or_classes_is_refused_with_both_named() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --steps 1 --out {}", out.display()));
    let text = fails(&format!("eval --checkpoint {} --dataset cifar10", out.display()), 2);
    assert!(text.contains("28x28") && text.contains("32x32"), "{text}");
}

#[test]
fn an_average_is_judged_with_statistics_of_its_own_wherever_it_is_read() {
    for average in
        ["--ema 0.9", "--swa-start 4 --swa-every 3", "--base schedule-free --lr 0.1", "--ema 0.9 --validation 60"]
    {
        judged(average);
    }
}

/// A run that evaluates an average of its weights has the same score in its final weights and in its last checkpoint, whose
/// own statistics are the raw weights'.
fn judged(average: &str) {
    let room = Room::new();
    let out = room.path("run");
    let flags = format!("--channels 4 --batch-size 32 --steps 12 {average} --checkpoint-every 6 --keep-checkpoints 3");
    let words =
        format!("{} --model resnet20 {flags} --out {}", SMALL.replace("--model mlp --hidden 8", ""), out.display());
    let summary = json(&words);
    let eval = |file: &Path| json(&format!("eval --checkpoint {} --limit 64", file.display()));
    let final_weights = eval(&out.join("model.safetensors"));
    assert_eq!(final_weights["accuracy"], summary["test_accuracy"]);
    let newest = std::fs::read_dir(out.join("checkpoints")).expect("checkpoints").filter_map(|f| Some(f.ok()?.path()));
    let newest = newest.filter(|f| !f.ends_with("best.safetensors")).max().expect("a checkpoint");
    let of_checkpoint = eval(&newest);
    let (a, b) = (final_weights["loss"].as_f64().expect("a loss"), of_checkpoint["loss"].as_f64().expect("a loss"));
    assert!((a - b).abs() <= 1e-6 * a, "{a} {b}"); // f32 sums in one order or another
    // the run itself goes on with the raw statistics
    let raw = weights(&newest);
    let name = raw.keys().find(|n| n.ends_with("bn1.running_var")).expect("batch normalisation").clone();
    let own = name.rsplit_once("model.").map_or(name.as_str(), |(_, n)| n);
    let saved = weights(&out.join("model.safetensors"));
    let saved = saved.get(own).or_else(|| saved.get(&name)).expect("the same name");
    let gap = (raw[&name].to_dtype(candle_core::DType::F32).and_then(|t| t - saved))
        .and_then(|t| t.abs()?.max_all()?.to_scalar::<f32>());
    assert!(gap.expect("numbers") > 0.0);
}

const CONV: &str = "train --model resnet20 --channels 4 --train-limit 256 --test-limit 64 --batch-size 32 --device cpu";

#[test]
fn a_trace_of_a_run_is_the_run_s_own_to_the_digit() {
    let room = Room::new();
    for (name, words) in [
        ("mlp", SMALL.replace("--trace-probes 0", "--trace-probes 5 --trace-examples 200 --seed 7 --epochs 1")),
        (
            "held-out",
            format!(
                "{} --validation 57 --validation-seed 2",
                SMALL.replace("--trace-probes 0", "--trace-probes 2 --epochs 1")
            ),
        ),
        (
            "conv",
            format!("{CONV} --trace-probes 2 --trace-examples 1000 --steps 9 --ema 0.5 --seed 3 --label-smoothing 0.1"),
        ),
    ] {
        let out = room.path(name);
        let own = &json(&format!("{words} --out {}", out.display()))["trace"];
        let again = json(&format!("metrics trace --checkpoint {}", out.display()));
        for key in ["trace", "per_layer", "loss", "accuracy", "grad_norm", "examples", "seed", "data_std_error"] {
            assert_eq!(own[key], again[key], "{name}: {key}");
        }
        assert_eq!(own["card"]["data"], again["card"]["data"]);
        let other = json(&format!("metrics trace --checkpoint {} --probes 3 --split test --limit 9", out.display()));
        assert_eq!((&other["trace"]["probes"], &other["examples"]), (&3.into(), &9.into()), "flags win");
    }
}

#[test]
fn every_number_of_batch_mode_is_of_batch_mode() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{CONV} --steps 6 --trace-probes 0 --out {}", out.display()));
    let on = format!("--checkpoint {} --limit 64 --batch-size 32", out.display());
    let loss = |words: &str| json(words)["loss"].as_f64().expect("a loss");
    let (eval, batch) = (
        loss(&format!("metrics trace {on} --probes 2")),
        loss(&format!("metrics trace {on} --probes 2 --bn-mode batch")),
    );
    assert!((eval - batch).abs() > 1e-3 * batch, "running statistics after six steps are not the batches'");
    // the loss that the sharpness starts from is the objective's, by another way
    let sharpness = json(&format!("metrics sharpness {on} --bn-mode batch --measures first-order"));
    let there = sharpness["measures"][0]["loss"].as_f64().expect("a loss");
    assert!((there - batch).abs() <= 1e-5 * batch, "{there} {batch}");
    let slice = json(&format!("landscape {on} --bn-mode batch --axes 1 --points 3 --out {}", room.path("s").display()));
    let here = slice["loss_here"].as_f64().expect("a loss");
    assert!((here - batch).abs() <= 1e-6 * batch, "{here} {batch}");
    let dimension = |mode: &str| json(&format!("metrics dimension {on} --bn-mode {mode}"));
    assert!(dimension("eval")["value"] != dimension("batch")["value"]);
    assert_eq!(dimension("batch")["card"]["bn_mode"], "batch");
}

#[test]
fn both_ends_of_a_line_are_what_eval_says_and_the_middle_has_statistics_of_its_own() {
    let room = Room::new();
    let run_of = |seed: u64| {
        let out = room.path(&format!("{seed}"));
        json(&format!("{CONV} --steps 24 --trace-probes 0 --seed {seed} --out {}", out.display()));
        out
    };
    let (a, b) = (run_of(1), run_of(2));
    let score = |run: &Path| json(&format!("eval --checkpoint {} --split train --limit 128", run.display()));
    for (points, span) in [(5, 0.0), (8, 0.25)] {
        let out = room.path(&format!("line{points}"));
        let line = json(&format!(
            "landscape --checkpoint {} --between {} --split train --limit 128 --points {points} --span {span} --out {}",
            a.display(),
            b.display(),
            out.display()
        ));
        let x: Vec<f64> = line["x"].as_array().expect("x").iter().filter_map(Value::as_f64).collect();
        for (end, run) in [(0.0, &a), (1.0, &b)] {
            let at = x.iter().position(|x| *x == end).expect("the end is on the line");
            let own = score(run);
            assert_eq!((&line["loss"][at], &line["accuracy"][at]), (&own["loss"], &own["accuracy"]), "{end}");
        }
        let own = line["running_statistics"].as_array().expect("whose");
        assert_eq!(own.iter().filter(|w| **w == "recomputed").count(), points - 2);
        assert!(line["card"]["notes"][0].as_str().is_some_and(|n| n.contains("running statistics")), "{line}");
        let csv = std::fs::read_to_string(out.join("landscape.csv")).expect("csv");
        assert!(csv.starts_with("x,loss,accuracy,running_statistics") && csv.contains(",recomputed"), "{csv}");
        let svg = std::fs::read_to_string(out.join("landscape.svg")).expect("svg");
        assert!(svg.contains("running statistics"), "the plot says it too");
        // with either end's statistics the losses between are far above a guess's ln 10
        let worst = line["loss"].as_array().expect("losses").iter().filter_map(Value::as_f64).fold(0.0, f64::max);
        assert!(worst < 8.0, "{line}");
    }
}

#[test]
fn a_loss_that_is_not_finite_is_null_in_the_journal_and_the_verdict_is_the_same_after_a_resume() {
    let room = Room::new();
    let out = room.path("run");
    let words = format!("{SMALL} --steps 8 --lr 1e6 --momentum 0 --log-steps --out {} --quiet --json", out.display());
    let ran = run(&words);
    assert_eq!(ran.status.code(), Some(3), "{}", String::from_utf8_lossy(&ran.stderr));
    let lines = crate::tool::journal(&out);
    assert!(lines.iter().filter(|l| l["kind"] == "step").all(|l| l.get("loss").is_some()), "{lines:?}");
    if out.join("summary.json").exists() {
        let again = run(&format!("train --resume {} --quiet --json", out.display()));
        assert_eq!(again.status.code(), Some(3));
        let page = room.path("page.html");
        json(&format!("report {} --out {}", out.display(), page.display()));
        assert!(std::fs::read_to_string(page).expect("a page").contains("diverged"));
    }
}

/// The network of tests/reference/pixels.py.
fn by_formula() -> HashMap<String, Tensor> {
    let tensor = |shape: &[usize], scale: f64, shift: f64| {
        let n: usize = shape.iter().product();
        let values: Vec<f64> = (0..n).map(|i| scale * (shift + i as f64).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor")
    };
    HashMap::from([
        ("fc1.weight".to_string(), tensor(&[8, 784], 0.1, 1.0)),
        ("fc1.bias".to_string(), tensor(&[8], 0.1, 2.0)),
        ("fc2.weight".to_string(), tensor(&[10, 8], 0.5, 3.0)),
        ("fc2.bias".to_string(), tensor(&[10], 0.1, 4.0)),
    ])
}

#[test]
fn foreign_weights_are_measured_on_the_pixels_that_the_flags_say_and_what_is_assumed_is_said() {
    let room = Room::new();
    let file = room.path("foreign.safetensors");
    safetensors::save(&by_formula(), &file).expect("a file");
    let on = format!(
        "metrics trace --checkpoint {} --model mlp --hidden 8 --dataset mnist --split train --limit 64 --probes 400",
        file.display()
    );
    // what tests/reference/pixels.py printed: loss, norm of the gradient, trace
    for (flags, loss, norm, trace) in [
        ("--normalize none", 2.287975888203622, 0.9324746681582616, 47.2666197878702),
        ("", 2.2919591936074672, 2.798591383430896, 367.7318659146812),
        ("--normalize dataset", 2.2919591936074672, 2.798591383430896, 367.7318659146812),
        ("--mean 0.5 --std 0.25", 2.2929192761135173, 4.9721878326517395, 1297.5400077022227),
    ] {
        let found = json(&format!("{on} {flags}"));
        let number = |name: &str| found[name].as_f64().expect("a number");
        assert!((number("loss") - loss).abs() <= 1e-12 * loss, "{flags}: {found}");
        assert!((number("grad_norm") - norm).abs() <= 1e-12 * norm, "{flags}: {found}");
        let (value, error) = (found["trace"]["value"].as_f64().expect("a trace"), number("probe_std_error"));
        assert!(
            error < 0.05 * trace && (value - trace).abs() <= 3.0 * error,
            "{flags}: {value} +- {error}, not {trace}"
        );
        let notes = found["notes"].to_string();
        assert_eq!(notes.contains("--mean"), flags.is_empty(), "{flags}: {notes}");
        assert!(notes.contains("activation relu"), "{flags}: {notes}");
    }
    let told = json(
        &format!("{on} --probes 2 --normalize none --activation relu --loss cross-entropy")
            .replace("--probes 400 ", ""),
    );
    assert!(told.get("notes").is_none(), "nothing is assumed: {told}");
    fails(&format!("{on} --mean 0.5"), 2);
    fails(&format!("{on} --mean 0.5 --std 0"), 2);
    fails(&format!("{on} --mean 0.5,0.5 --std 1,1"), 2);
}

#[test]
fn a_file_remembers_the_normalisation_that_its_run_trained_on() {
    let room = Room::new();
    let (out, copy) = (room.path("run"), room.path("copy.safetensors"));
    json(&format!("{SMALL} --epochs 1 --normalize none --out {}", out.display()));
    std::fs::copy(out.join("model.safetensors"), &copy).expect("copied");
    let eval = |words: &str| json(&format!("eval --limit 64 --dataset mnist --checkpoint {words}"));
    let (own, alone) = (eval(&out.display().to_string()), eval(&copy.display().to_string()));
    assert_eq!(own, alone);
    assert!(own["loss"] != eval(&format!("{} --normalize dataset", copy.display()))["loss"]);
}
