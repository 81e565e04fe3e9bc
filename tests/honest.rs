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
    let room = Room::new();
    let out = room.path("run");
    let flags = "--channels 4 --batch-size 32 --steps 12 --ema 0.9 --checkpoint-every 6 --keep-checkpoints 3";
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
    let average = weights(&out.join("model.safetensors"));
    let average = average.get(own).or_else(|| average.get(&name)).expect("the same name");
    let gap = (raw[&name].to_dtype(candle_core::DType::F32).and_then(|t| t - average))
        .and_then(|t| t.abs()?.max_all()?.to_scalar::<f32>());
    assert!(gap.expect("numbers") > 0.0);
}
