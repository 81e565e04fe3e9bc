//! Larger networks through the tool: they train, come back from their run, and are refused where images do not fit.

use crate::tool::{Room, fails, json};

#[test]
fn larger_networks_train_on_mnist_and_come_back_from_their_run() {
    let room = Room::new();
    for (i, network) in ["resnet34 --stem imagenet", "wrn-10-1", "vit-tiny --patch 7"].iter().enumerate() {
        let out = room.path(&i.to_string());
        let words = "--train-limit 16 --test-limit 8 --batch-size 8 --steps 2 --trace-probes 2 --trace-examples 4 --lr 1e-3 -o sam";
        let summary = json(&format!("train --model {network} {words} --out {}", out.display()));
        let again = json(&format!("eval --checkpoint {} --limit 8", out.display()));
        assert_eq!(summary["test_loss"], again["loss"], "{network}");
        assert_eq!(summary["model"].as_str(), network.split(' ').next(), "{network}");
        let trace = json(&format!("metrics trace --checkpoint {}", out.display()));
        assert_eq!(summary["trace"]["trace"], trace["trace"], "{network}");
    }
}

#[test]
fn a_network_that_does_not_fit_is_refused_with_the_flag_and_what_to_give() {
    for (words, said) in [
        ("--model vit-tiny --patch 5", "patch 5 does not divide images of 28x28"),
        ("--model vgg11-bn", "needs images of at least 32x32, not 28x28"),
        ("--model vit-tiny --activation tanh", "--activation"),
        ("--model lenet --stem imagenet", "--stem"),
        ("--model resnet20 --patch 4", "--patch"),
        ("--model wrn-17-4", "wrn-D-K with D = 6 n + 4"),
    ] {
        let text = fails(&format!("train --steps 1 {words}"), 2);
        assert!(text.contains(said), "{words}: {text}");
    }
}
