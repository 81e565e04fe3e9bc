//! Every deterministic rule against its transcription in PyTorch: `reference/canon.json`, printed by `reference/canon.py`
//! from the papers' formulas (torch 2.15.0, CPU, f64).
//!
//! The file lists the cases: the flags of the run, the loss of each step and a digest of the final weights. A new rule is a
//! new case. Both sides start from the same weights, which follow a formula. The tolerance is that of rounding: sums in
//! another order differ by some 1e-16, which twenty steps of these small networks amplify to 1e-11 at most.

use crate::device::devices;
use crate::tool::{Room, SMALL, bytes, fails, journal, json, step_losses};
use candle_core::{Device, Tensor, safetensors};
use flat_run::DeviceChoice;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

const TOLERANCE: f64 = 1e-10;
/// The weights in the order of the formula and of the digest: name and scale.
const WEIGHTS: [(&str, f64); 4] =
    [("fc1.bias", 0.0625), ("fc1.weight", 0.0625), ("fc2.bias", 0.5), ("fc2.weight", 0.5)];

fn reference() -> Value {
    serde_json::from_str(include_str!("reference/canon.json")).expect("canon.json")
}

/// Writes the first weights of an MLP with these hidden units: weight i is (h / 2^32 - 1/2) scale, with h = 2654435761 (i + 1)
/// modulo 2^32.
fn write_init(file: &Path, hidden: usize) {
    let shapes: [&[usize]; 4] = [&[hidden], &[hidden, 784], &[10], &[10, hidden]];
    let mut numbers = (1u32..).map(|i| f64::from(i.wrapping_mul(2_654_435_761)) / 2f64.powi(32) - 0.5);
    let tensors: HashMap<&str, Tensor> = WEIGHTS
        .iter()
        .zip(shapes)
        .map(|((name, scale), shape)| {
            let values: Vec<f64> = numbers.by_ref().take(shape.iter().product()).map(|x| x * scale).collect();
            (*name, Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor"))
        })
        .collect();
    safetensors::save(&tensors, file).expect("a file");
}

fn final_weights(run: &Path) -> HashMap<&'static str, Vec<f64>> {
    let file = safetensors::load(run.join("model.safetensors"), &Device::Cpu).expect("weights");
    let flat = |name| file[name].flatten_all().and_then(|t| t.to_vec1()).expect("f64 weights");
    WEIGHTS.iter().map(|(name, _)| (*name, flat(*name))).collect()
}

/// What the digest says of these weights, by its own names.
fn digest<'a>(weights: &'a HashMap<&'static str, Vec<f64>>, expected: &'a Value) -> Vec<(&'a str, f64, f64)> {
    let number = |value: &Value| value.as_f64().expect("a number");
    let all = || weights.values().flatten();
    let mut out = vec![
        ("sum", all().sum::<f64>(), number(&expected["sum"])),
        ("norm", all().map(|x| x * x).sum::<f64>().sqrt(), number(&expected["norm"])),
    ];
    for (at, value) in expected["elements"].as_object().expect("elements") {
        let (name, index) = at.strip_suffix(']').and_then(|at| at.split_once('[')).expect("name[index]");
        out.push((at, weights[name][index.parse::<usize>().expect("an index")], number(value)));
    }
    out
}

/// Where the tool leaves the reference, in words; nothing where they agree.
fn differences(case: &Value, device: &str) -> Vec<String> {
    let (room, flags) = (Room::new(), case["flags"].as_str().expect("flags"));
    let (init, out) = (room.path("init.safetensors"), room.path("run"));
    let hidden = flags.split_once("--hidden ").and_then(|(_, rest)| rest.split(' ').next()).expect("--hidden");
    write_init(&init, hidden.parse().expect("a number of units"));
    json(&format!(
        "train {flags} --init {} --device {device} --test-limit 10 --trace-probes 0 --eval-every 0 --checkpoint-every 0 --out {}",
        init.display(),
        out.display()
    ));
    let losses: Vec<f64> =
        case["losses"].as_array().expect("losses").iter().map(|x| x.as_f64().expect("a loss")).collect();
    let ours = step_losses(&out);
    assert_eq!(ours.len(), losses.len(), "{flags}");
    let steps: Vec<String> = (1..=losses.len()).map(|step| format!("loss of step {step}")).collect();
    let weights = final_weights(&out);
    let pairs =
        steps.iter().map(String::as_str).zip(ours).zip(losses).map(|((what, ours), theirs)| (what, ours, theirs));
    pairs
        .chain(digest(&weights, &case["weights"]))
        .filter(|(_, ours, theirs)| ours.is_nan() || (ours - theirs).abs() > TOLERANCE * theirs.abs().max(1.0))
        .map(|(what, ours, theirs)| format!("{flags} on {device}: {what} is {ours} here, {theirs} in PyTorch"))
        .collect()
}

#[test]
fn every_rule_is_the_one_of_its_paper_to_ten_digits() {
    let reference = reference();
    let cases = reference["cases"].as_array().expect("cases");
    let mut differ = Vec::new();
    for device in devices() {
        let device = DeviceChoice::of(&device).to_string();
        differ.extend(cases.iter().filter_map(|case| differences(case, &device).into_iter().next()));
    }
    assert!(differ.is_empty(), "{} of {} cases differ first at:\n{}", differ.len(), cases.len(), differ.join("\n"));
}

#[test]
fn a_run_of_so_many_evaluations_ends_when_they_are_spent_whatever_its_rule() {
    const EVALS: f64 = 60.0;
    for (rule, most, varies) in [
        ("sgd", 1.0, false),
        ("sam", 2.0, false),
        ("looksam --looksam-k 3", 2.0, false),
        ("aesam", 2.0, true),
        ("rsp --eps0 1.5", 2.0, true),
        ("sap --eps0 1.5 --rule-every 2", 2.0, true),
    ] {
        let room = Room::new();
        let out = room.path("run");
        let flags = format!("{SMALL} --optimizer {rule} --evals {EVALS} --log-steps --seed 3");
        json(&format!("{flags} --out {}", out.display()));
        let lines = journal(&out);
        let steps: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "step").collect();
        let number = |line: &Value, key: &str| line[key].as_f64().expect("a number");
        let spent = number(steps.last().expect("steps"), "evals");
        assert!(spent <= EVALS + 1e-6 && spent > EVALS - most, "{rule}: {spent}");
        let costs: Vec<f64> = (0..steps.len())
            .map(|i| number(steps[i], "evals") - if i > 0 { number(steps[i - 1], "evals") } else { 0.0 })
            .collect();
        assert_eq!(
            costs.iter().any(|cost| *cost != costs[0]),
            varies || rule.starts_with("looksam"),
            "{rule}: {costs:?}"
        );
        if rule == "aesam" {
            // the cosine is where the evaluations are
            let mut spent = 0.0;
            for (step, cost) in steps.iter().zip(&costs) {
                let lr = 0.025 * (1.0 + (std::f64::consts::PI * spent / EVALS).cos());
                assert!((number(step, "lr") - lr).abs() < 1e-12, "after {spent} evaluations"); // rounding of a cosine
                spent += cost;
            }
            // a run that pauses and goes on is the same
            let paused = room.path("paused");
            json(&format!("{flags} --pause-after 17 --out {}", paused.display()));
            json(&format!("train --resume {}", paused.display()));
            assert_eq!(bytes(&paused.join("model.safetensors")), bytes(&out.join("model.safetensors")));
        }
    }
    let error = fails(&format!("{SMALL} --optimizer aesam --evals 1"), 2);
    assert!(error.contains("--evals 1: a step costs 2 gradient evaluations"), "{error}");
}
