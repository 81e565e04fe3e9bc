//! Training with products in bf16: by which instructions, and how the losses lie beside those of f32.

use crate::tool::{Room, SMALL, command, json, step_losses};
use flat_nn::Bf16;

const LENET: &str = "train --model lenet --channels 4 --train-limit 512 --test-limit 64 --batch-size 64 --trace-probes 0 \
                     --lr 0.05 --steps 24 --log-steps --device cpu";

#[test]
fn bf16_is_multiplied_by_what_the_variable_names_and_the_summary_says_so() {
    let room = Room::new();
    let run = |by: &str| {
        let out = room.path(&format!("by-{by}"));
        let flags = format!("{SMALL} --steps 3 --device cpu --precision bf16 --out {}", out.display());
        let ran = command(&flags).env("FLAT_BF16", by).output().expect("flat-train starts");
        let summary = std::fs::read_to_string(out.join("summary.json")).unwrap_or_default();
        (ran.status.code(), summary, String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    for by in Bf16::ALL {
        let (status, summary, error) = run(by.name());
        if by.available() {
            assert!(summary.contains(&format!("\"bf16\": \"{}\"", by.name())), "{summary}{error}");
        } else {
            assert_eq!(status, Some(2), "{error}");
        }
    }
    let (_, summary, error) = run("");
    assert!(summary.contains(&format!("\"bf16\": \"{}\"", Bf16::best().name())), "{summary}{error}");
    let (status, _, error) = run("fast");
    assert_eq!(status, Some(2), "{error}");
    assert!(error.contains("FLAT_BF16=fast") && error.contains("multiplies bf16 by rounding"), "{error}");
}

#[test]
fn a_run_in_bf16_has_the_same_losses_for_any_number_of_threads() {
    let room = Room::new();
    for by in Bf16::ALL.into_iter().filter(|by| by.available()) {
        let losses = |threads: &str| {
            let out = room.path(&format!("{}-{threads}", by.name()));
            let flags = format!("{LENET} --precision bf16 --out {}", out.display());
            let run = command(&flags).env("FLAT_BF16", by.name()).env("RAYON_NUM_THREADS", threads).output();
            assert!(run.expect("flat-train starts").status.success());
            step_losses(&out)
        };
        assert_eq!(losses("1"), losses("3"), "{by:?}");
    }
}

#[test]
fn over_five_seeds_losses_in_bf16_differ_from_those_in_f32_by_less_than_seeds_do() {
    let room = Room::new();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    // the mean loss of the last eight steps
    let last = |precision: &str, seed: u64| {
        let out = room.path(&format!("{precision}-{seed}"));
        json(&format!("{LENET} --seed {seed} --precision {precision} --out {}", out.display()));
        let losses = step_losses(&out);
        mean(&losses[losses.len() - 8..])
    };
    let pairs: Vec<(f64, f64)> = (0..5).map(|seed| (last("f32", seed), last("bf16", seed))).collect();
    let full: Vec<f64> = pairs.iter().map(|p| p.0).collect();
    let apart: Vec<f64> = pairs.iter().map(|p| p.1 - p.0).collect();
    let centre = mean(&full);
    let deviation = (full.iter().map(|l| (l - centre).powi(2)).sum::<f64>() / 4.0).sqrt();
    assert!(apart.iter().all(|d| *d != 0.0), "nothing was rounded: {pairs:?}");
    assert!(mean(&apart).abs() < deviation, "{pairs:?}");
}
