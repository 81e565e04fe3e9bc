//! The same losses as PyTorch, step by step, on real MNIST from the same initial weights.
//!
//! The literal losses in `reference/*.txt` were printed by `reference/lenet_mnist.py` (torch 2.15.0, CPU) from the
//! init.safetensors of these very runs.
//!
//! The learning rates of the f32 runs are small on purpose. At larger ones training amplifies rounding: PyTorch in f32
//! then differs from PyTorch in f64 by as much as these runs differ from either (at lr 0.02, by some percent after 50
//! steps), and no tolerance would mean anything. In f64 the usual rates are used.

use crate::device::devices;
use crate::tool::{Room, json, step_losses};
use flat_run::DeviceChoice;

const RUN: &str = "train --no-shuffle --train-limit 12800 --test-limit 100 --batch-size 128 --schedule constant --log-steps \
                   --trace-probes 0";

fn compare(flags: &str, reference: &str, tolerance: f64) {
    for device in devices() {
        compare_on(&format!("{flags} --device {}", DeviceChoice::of(&device)), reference, tolerance);
    }
}

fn compare_on(flags: &str, reference: &str, tolerance: f64) {
    let room = Room::new();
    let out = room.path("run");
    let expected: Vec<f64> = reference.lines().map(|l| l.parse().expect("a number a line")).collect();
    json(&format!("{RUN} --steps {} {flags} --out {}", expected.len(), out.display()));
    let losses = step_losses(&out);
    assert_eq!(losses.len(), expected.len());
    for (step, (ours, theirs)) in losses.iter().zip(&expected).enumerate() {
        let error = (ours - theirs).abs() / theirs;
        assert!(error <= tolerance, "{flags}, step {step}: {ours} here, {theirs} in PyTorch, relative {error:.1e}");
    }
}

#[test]
fn a_hundred_steps_of_sgd_momentum_agree_with_pytorch_in_f32() {
    compare("--optimizer sgd --lr 0.0005 --weight-decay 5e-4", include_str!("reference/lenet_sgd_f32.txt"), 1e-4);
}

#[test]
fn a_hundred_steps_of_sam_agree_with_pytorch_in_f32() {
    compare("--optimizer sam --lr 0.0005 --weight-decay 5e-4", include_str!("reference/lenet_sam_f32.txt"), 1e-4);
}

#[test]
fn a_hundred_steps_of_adamw_agree_with_pytorch_in_f32() {
    compare("--optimizer adamw --lr 1e-5 --weight-decay 0.01", include_str!("reference/lenet_adamw_f32.txt"), 1e-4);
}

#[test]
fn a_few_steps_agree_with_pytorch_in_f64() {
    for (flags, reference) in [
        ("--optimizer sgd --lr 0.02 --weight-decay 5e-4", include_str!("reference/lenet_sgd_f64.txt")),
        ("--optimizer sam --lr 0.02 --weight-decay 5e-4", include_str!("reference/lenet_sam_f64.txt")),
        ("--optimizer adamw --lr 1e-3 --weight-decay 0.01", include_str!("reference/lenet_adamw_f64.txt")),
    ] {
        compare(&format!("{flags} --dtype f64"), reference, 1e-9);
    }
}
