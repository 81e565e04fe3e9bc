//! Data with a spurious attribute: made, trained on, and scored group by group.

use crate::tool::{Room, fails, journal, json, run};
use serde_json::Value;

/// Makes coloured MNIST there.
pub fn colors(room: &Room, correlation: f64) -> String {
    let dir = room.path("colors").display().to_string();
    let made = json(&format!("data color --correlation {correlation} --seed 3 --out {dir}"));
    assert_eq!((&made["train"]["images"], &made["test"]["images"]), (&60_000.into(), &10_000.into()), "{made}");
    dir
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_network_that_reads_colours_is_right_in_the_groups_of_its_colours_alone() {
    let room = Room::new();
    let colors = colors(&room, 1.0);
    let out = room.path("run").display().to_string();
    // at correlation 1 the colour tells the class, and is easier than the digit
    let words = format!(
        "train --dataset colored-mnist --data-dir {colors} --model mlp --hidden 32 --train-limit 2000 --test-limit 2000 --epochs 4 \
         --trace-probes 0 --device cpu --out {out}"
    );
    let summary = json(&words);
    assert!(number(&summary["train_accuracy"]) > 0.99, "{summary}");
    let (average, worst) = (&summary["average_group"], &summary["worst_group"]);
    // a tenth of a balanced test set has the colour of its class
    assert!(number(&average["accuracy"]) < 0.3 && number(&worst["accuracy"]) < 0.05, "{summary}");
    assert_eq!((&average["groups"], &average["n"]), (&100.into(), &2000.into()));
    assert_ne!(worst["group"]["class"], worst["group"]["attribute"], "{worst}");
    assert!((number(&average["accuracy"]) - number(&summary["test_accuracy"])).abs() < 0.02, "{summary}");

    let scored = json(&format!("eval --checkpoint {out} --limit 2000"));
    assert_eq!((&scored["average_group"], &scored["worst_group"]), (average, worst));
    let test = journal(&room.path("run")).into_iter().rfind(|line| line["split"] == "test").expect("a test line");
    assert_eq!((&test["average_group"], &test["worst_group"]), (average, worst));
    let text = String::from_utf8(run(&format!("eval --checkpoint {out} --limit 2000")).stdout).expect("text");
    assert!(text.contains("average group") && text.contains("worst group"), "{text}");
    assert!(text.contains(&format!("attribute {}, ", worst["group"]["attribute"])), "{text}");
}

#[test]
fn a_coloured_set_that_is_not_there_or_cannot_be_made_is_one_error_with_the_remedy() {
    let room = Room::new();
    let dir = room.path("").display().to_string();
    let text = fails(&format!("train --dataset colored-mnist --data-dir {dir} --steps 1"), 1);
    assert!(text.contains("flat-train data color") && text.contains("--data-dir"), "{text}");
    let text = fails("data fetch colored-mnist", 1);
    assert!(text.contains("flat-train data color"), "{text}");
    for share in ["1.5", "-0.1", "nan"] {
        let text = fails(&format!("data color --correlation {share} --out {dir}"), 2);
        assert!(text.contains("--correlation"), "{text}");
    }
}

#[test]
fn a_balanced_sampler_keeps_a_network_from_reading_the_colour() {
    let room = Room::new();
    let colors = colors(&room, 0.95);
    let worst = |sampler: &str| {
        let out = room.path(sampler).display().to_string();
        let summary = json(&format!(
            "train --dataset colored-mnist --data-dir {colors} --model mlp --hidden 32 --train-limit 4000 --test-limit 2000 \
             --epochs 3 --trace-probes 0 --device cpu --sampler {sampler} --out {out}"
        ));
        number(&summary["average_group"]["accuracy"])
    };
    let [shuffle, biased, balanced] = ["shuffle", "biased", "balanced"].map(worst);
    assert!(balanced > shuffle + 0.1 && balanced > biased + 0.1, "{shuffle} {biased} {balanced}");
}

#[test]
fn a_sampler_by_groups_is_refused_where_there_are_none_or_no_batches() {
    for (words, needs) in [
        ("train --sampler balanced --steps 1", "--dataset with groups"),
        ("train --dataset colored-mnist --sampler balanced --full-batch --steps 1", "without --full-batch"),
        ("train --dataset colored-mnist --sampler balanced --no-shuffle --steps 1", "--sampler shuffle"),
    ] {
        let text = fails(words, 2);
        assert!(text.contains(needs) && text.contains("has no effect"), "{words}: {text}");
    }
}
