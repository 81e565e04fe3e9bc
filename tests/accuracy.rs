//! What the tool reaches on full MNIST.

use crate::tool::{Room, bytes, json};

#[test]
#[ignore = "about six minutes: nine epochs of LeNet, three of them with two gradients a step"]
fn lenet_reaches_99_percent_within_three_epochs_and_one_seed_gives_one_result() {
    let room = Room::new();
    let run = |optimizer: &str, name: &str| {
        let out = room.path(name);
        let summary =
            json(&format!("train --optimizer {optimizer} --epochs 3 --trace-probes 0 --out {}", out.display()));
        let accuracy = summary["test_accuracy"].as_f64().expect("an accuracy");
        println!("{optimizer}: {accuracy}");
        assert!(accuracy >= 0.99, "{optimizer}: {accuracy}");
        bytes(&out.join("model.safetensors"))
    };
    assert!(run("sgd", "a") == run("sgd", "b"), "two runs of one command differ");
    run("sam", "c");
}
