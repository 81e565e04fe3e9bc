//! Data with a spurious attribute: made, trained on, and scored group by group.

use crate::tool::{Room, SMALL, bytes, fails, journal, json, run};
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

/// Runs to the end, and once more from the checkpoint before the last: the weights of both.
fn resumed(room: &Room, flags: &str) -> [Vec<u8>; 2] {
    let out = room.path("resumed");
    let words = format!("{SMALL} {flags} --checkpoint-every 5 --keep-checkpoints 9 --steps 15 --out {}", out.display());
    json(&words);
    let whole = bytes(&out.join("model.safetensors"));
    std::fs::remove_file(out.join("model.safetensors")).expect("removed");
    std::fs::remove_file(out.join("checkpoints/step-0000000015.safetensors")).expect("removed");
    json(&format!("train --resume {}", out.display()));
    [whole, bytes(&out.join("model.safetensors"))]
}

#[test]
fn gerne_keeps_a_network_from_reading_the_colour_and_resumes_bit_for_bit() {
    let room = Room::new();
    let colors = colors(&room, 0.95);
    let data = format!("--dataset colored-mnist --data-dir {colors} --device cpu");
    let average = |flags: &str, out: &str| {
        let summary = json(&format!(
            "train {data} --model mlp --hidden 32 --train-limit 4000 --test-limit 2000 --trace-probes 0 --lr 0.01 {flags} --out \
             {}",
            room.path(out).display()
        ));
        (number(&summary["average_group"]["accuracy"]), number(&summary["evals"]), number(&summary["steps"]))
    };
    let (plain, ..) = average("--epochs 4", "plain");
    let (gerne, evals, steps) = average("--epochs 2 --optimizer gerne", "gerne");
    assert!(gerne > plain + 0.1 && evals == 2.0 * steps, "{plain} {gerne} {evals} {steps}");
    let [whole, again] = resumed(&room, &format!("{data} --optimizer gerne"));
    assert!(whole == again);
}

#[test]
fn entropy_sgd_counts_its_epochs_in_images_and_resumes_bit_for_bit() {
    let room = Room::new();
    let out = room.path("run").display().to_string();
    // 512 images are 8 batches of 64: 2 steps of 4 batches an epoch, 3 of 3
    for (l, steps) in [(4, 4), (3, 6)] {
        let summary = json(&format!(
            "{SMALL} --optimizer entropy-sgd --entropy-l {l} --lr 1 --momentum 0 --epochs 2 --out {out}{l}"
        ));
        assert_eq!((&summary["steps"], number(&summary["evals"])), (&steps.into(), f64::from(l * steps)));
        let lines = journal(&room.path(&format!("run{l}")));
        let trained = lines.iter().filter(|line| line["kind"] == "epoch" && line["split"] == "train");
        assert_eq!(trained.count(), 2, "epochs of {steps} steps");
    }
    let [whole, again] = resumed(&room, "--optimizer entropy-sgd --entropy-l 3 --lr 1 --momentum 0");
    assert!(whole == again);
}

#[test]
fn esam_trains_with_batch_norm_and_costs_what_it_says() {
    let room = Room::new();
    let summary = json(&format!(
        "train --model resnet20 --channels 4 --train-limit 64 --test-limit 32 --batch-size 32 --steps 2 --trace-probes 0 --optimizer \
         esam --device cpu --out {}",
        room.path("run").display()
    ));
    // a gradient, losses for a third of one, half of the examples
    assert!((number(&summary["evals"]) - 2.0 * (1.0 + 1.0 / 3.0 + 0.5)).abs() < 1e-9, "{summary}");
}

#[test]
fn a_rule_whose_batches_the_run_does_not_have_is_wrong_usage_that_names_both() {
    for (words, parts) in [
        ("--optimizer gerne", ["--optimizer gerne", "--dataset mnist"]),
        ("--dataset colored-mnist --optimizer gerne --full-batch", ["--optimizer gerne", "--full-batch"]),
        ("--dataset colored-mnist --optimizer gerne --sampler biased", ["--sampler", "gerne"]),
        ("--optimizer esam --full-batch", ["--optimizer esam", "--full-batch"]),
        ("--optimizer entropy-sgd --full-batch", ["--optimizer entropy-sgd", "--full-batch"]),
        ("--optimizer entropy-sgd --rule-every 2", ["--rule-every entropy-sgd", "several batches"]),
        ("--dataset colored-mnist --optimizer gerne --gerne-c 0", ["--gerne-c 0", "(0, 1]"]),
        ("--optimizer esam --esam-gamma 0", ["--esam-gamma 0", "(0, 1]"]),
    ] {
        let text = fails(&format!("train {words} --steps 1"), 2);
        assert!(parts.iter().all(|part| text.contains(part)), "{words}: {text}");
    }
}

#[test]
fn a_sweep_ranks_by_the_worst_group_of_its_validation_images() {
    let room = Room::new();
    let colors = colors(&room, 0.0);
    let out = room.path("out");
    let board = json(&format!(
        "sweep --dataset colored-mnist --data-dir {colors} --model mlp --hidden 32 --train-limit 6000 --validation 3000 --test-limit \
         500 --batch-size 64 --steps 150 --budget steps --device cpu --flatness lambda_max --flatness-every 75 \
         --flatness-examples 64 --grid lr=0.0001,0.05 --seeds 0..2 --select worst-group --out {}",
        out.display()
    ));
    assert_eq!(board["select"], "worst-group");
    let rows = board["rows"].as_array().expect("rows");
    assert_eq!((&rows[0]["cell"], &rows[1]["rank"]), (&"lr=0.05".into(), &2.into()), "{board}");
    for row in rows {
        let cell = row["cell"].as_str().expect("a name");
        let lines = [0, 1].map(|seed| journal(&out.join(format!("runs/{cell}/seed-{seed}"))));
        let last = |of: &dyn Fn(&Value) -> Option<f64>| {
            lines.iter().map(|lines| lines.iter().rev().find_map(of).expect("a line")).sum::<f64>() / 2.0
        };
        let worst =
            last(&|line| Some(line).filter(|l| l["split"] == "validation")?["worst_group"]["accuracy"].as_f64());
        assert!((number(&row["val_worst_group"]["mean"]) - worst).abs() < 1e-12, "{row}");
        let largest = last(&|line| line["lambda_max"]["value"].as_f64());
        assert!((number(&row["lambda_max"]["mean"]) - largest).abs() < 1e-9 * largest, "{row}");
    }
    let worst = |row: &Value| number(&row["val_worst_group"]["mean"]);
    assert!((number(&rows[1]["difference"]["mean"]) - (worst(&rows[1]) - worst(&rows[0]))).abs() < 1e-12, "{board}");
    assert!(worst(&rows[0]) < number(&rows[0]["val_accuracy"]["mean"]), "the worst group is below the mean");
}
