//! Networks of agents beside an independent implementation, and what the tool says of them.

use crate::tool::{Room, fails, journal, json, run, step_losses};
use serde_json::Value;

const RUN: &str = "train --model mlp --hidden 16 --dtype f64 --no-shuffle --test-limit 10 --trace-probes 0 --schedule constant \
                   --log-steps --optimizer sgd --steps 5 --device cpu";

/// The networks of `reference/agents.py`, whose numbers (torch 2.15.0, CPU, f64) are in `reference/agents.json`.
const CASES: [(&str, &str); 2] = [
    ("ring", "--agents 5 --graph ring --batch-size 68 --train-limit 340 --momentum 0.9 --lr 0.1"),
    ("grid", "--agents 6 --graph grid --batch-size 60 --train-limit 300 --momentum 0 --lr 0.2"),
];

/// The consensus distances that a journal has, the last one last.
fn distances(lines: &[Value]) -> Vec<f64> {
    lines.iter().filter_map(|line| line["consensus_distance"].as_f64()).collect()
}

#[test]
fn five_steps_of_consensus_and_diffusion_agree_with_pytorch() {
    let reference: Value = serde_json::from_str(include_str!("reference/agents.json")).expect("JSON");
    for strategy in ["consensus", "diffusion"] {
        for (graph, flags) in CASES {
            let (room, of) = (Room::new(), &reference[format!("{strategy} {graph}")]);
            let out = room.path("run");
            json(&format!("{RUN} {flags} --strategy {strategy} --out {}", out.display()));
            let expected: Vec<f64> = serde_json::from_value(of["losses"].clone()).expect("losses");
            let losses = step_losses(&out);
            assert_eq!(losses.len(), expected.len());
            for (ours, theirs) in losses.iter().zip(&expected) {
                // five steps in f64
                assert!((ours / theirs - 1.0).abs() < 1e-10, "{strategy} {graph}: {losses:?} {expected:?}");
            }
            let (ours, theirs) = (distances(&journal(&out)), of["distance"].as_f64().expect("a distance"));
            assert!((ours.last().expect("one") / theirs - 1.0).abs() < 1e-10, "{strategy} {graph}: {ours:?} {theirs}");
        }
    }
}

#[test]
fn a_network_says_its_spectral_gap_and_its_files_are_of_the_mean_of_its_agents() {
    let (room, file) = (Room::new(), Room::new());
    let (out, weights) = (room.path("run"), file.path("weights.txt"));
    std::fs::write(&weights, "# pairs\n0.5 0.25 0.25\n0.25 0.5 0.25\n0.25 0.25 0.5\n").expect("written");
    let flags = "train --model mlp --hidden 16 --train-limit 96 --test-limit 50 --batch-size 24 --epochs 2 --trace-probes 0 --device cpu";
    let network = format!("{flags} --strategy diffusion --agents 3 --graph {}", weights.display());
    let ran = run(&format!("{network} --out {}", out.display()));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    // eigenvalues 1, 1/4 and 1/4
    assert!(ran.status.success() && said.contains("spectral gap 0.75, smallest eigenvalue 0.25"), "{said}");
    assert_eq!(distances(&journal(&out)).len(), 4, "two epochs and two evaluations");
    let of = |checkpoint: &str| {
        json(&format!("eval --checkpoint {}/{checkpoint} --dataset mnist --limit 50", out.display()))["loss"].as_f64()
    };
    let loss = of("model.safetensors");
    assert_eq!(loss, of("checkpoints/step-0000000008.safetensors"), "the mean is in the checkpoint too");
    let summary: Value =
        serde_json::from_slice(&std::fs::read(out.join("summary.json")).expect("summary.json")).expect("JSON");
    assert_eq!(loss, summary["test_loss"].as_f64());

    std::fs::write(&weights, "0.5 0.3 0.2\n0.3 0.5 0.2\n0.2 0.2 0.6\n").expect("written");
    let text = fails(&format!("train --resume {} --epochs 3", out.display()), 2);
    assert!(text.contains("the weights of --graph are others"), "{text}");
    std::fs::write(&weights, "0.5 0.5\n0.4 0.6\n").expect("written");
    let text = fails(&format!("{network} --out {}", room.path("other").display()), 2);
    assert!(text.contains("--graph") && text.contains("row 2, column 1 is 0.4"), "{text}");
    assert!(!room.path("other").exists(), "a run that cannot start leaves nothing behind");
}
