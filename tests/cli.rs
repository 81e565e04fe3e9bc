//! The command line tool on real MNIST: results, files, exit statuses and error messages.

use crate::tool::{Room, SMALL, bytes, fails, journal, json, run, step_losses};

#[test]
fn training_leaves_a_complete_run_directory() {
    let room = Room::new();
    let out = room.path("run");
    let summary = json(&format!(
        "train --optimizer rsp --train-limit 1024 --test-limit 512 --epochs 2 --trace-probes 4 --trace-examples 128 \
         --save-init --log-steps --out {}",
        out.display()
    ));
    for key in ["test_accuracy", "test_loss", "train_accuracy", "train_loss", "steps", "evals", "wall_s", "seed"] {
        assert!(summary[key].is_number(), "{key}: {summary}");
    }
    assert!(summary["test_accuracy"].as_f64().expect("a number") > 0.6, "{summary}");
    assert_eq!(summary["steps"], 16);
    assert_eq!(summary["evals"], 32.0, "rsp costs two gradients a step");
    assert_eq!(summary["version"], env!("CARGO_PKG_VERSION"));
    let trace = &summary["trace"]["trace"];
    let (value, lo, hi) = (trace["value"].as_f64(), trace["ci95"][0].as_f64(), trace["ci95"][1].as_f64());
    assert!(lo < value && value < hi, "{trace}");
    for file in ["config.toml", "metrics.jsonl", "model.safetensors", "init.safetensors", "summary.json"] {
        assert!(out.join(file).is_file(), "{file} is missing");
    }
    let config = std::fs::read_to_string(out.join("config.toml")).expect("a configuration");
    assert!(
        !config.contains("data-dir"),
        "data that were found where they usually are bind no configuration:\n{config}"
    );
    let saved: serde_json::Value = serde_json::from_slice(&bytes(&out.join("summary.json"))).expect("JSON");
    assert_eq!(saved, summary);
    assert_eq!(step_losses(&out).len(), 16);
    let lines = journal(&out);
    let count = |kind: &str, split: &str| lines.iter().filter(|r| r["kind"] == kind && r["split"] == split).count();
    assert_eq!((count("epoch", "train"), count("epoch", "test"), count("flatness", "train")), (2, 2, 1));
}

#[test]
fn eval_and_metrics_agree_with_the_summary_of_the_run() {
    let room = Room::new();
    let out = room.path("run");
    let summary = json(&format!("{SMALL} --epochs 2 --out {}", out.display()));
    let data = "--dataset mnist";
    for checkpoint in [out.clone(), out.join("model.safetensors"), out.join("checkpoints/best.safetensors")] {
        let score = json(&format!("eval --checkpoint {} {data} --split test --limit 256", checkpoint.display()));
        let best = checkpoint.ends_with("best.safetensors");
        let expected = if best { &summary["best_test_accuracy"] } else { &summary["test_accuracy"] };
        assert_eq!(&score["accuracy"], expected, "{}", checkpoint.display());
    }
    let report = json(&format!(
        "metrics trace --checkpoint {} {data} --split train --limit 512 --probes 5 --seed 3",
        out.display()
    ));
    let close = |a: &serde_json::Value, b: &serde_json::Value| {
        let (a, b) = (a.as_f64().expect("a number"), b.as_f64().expect("a number"));
        (a - b).abs() <= 1e-6 * b.abs()
    };
    assert!(close(&report["loss"], &summary["train_loss"]), "{report}");
    assert_eq!(report["dim"], 784 * 16 + 16 + 160 + 10);
    assert_eq!((&report["trace"]["probes"], &report["trace"]["matvecs"]), (&5.into(), &5.into()));
    assert_eq!((&report["seed"], &report["examples"], &report["bn_mode"]), (&3.into(), &512.into(), &"eval".into()));
    let total: f64 = report["per_layer"]
        .as_object()
        .expect("an object")
        .values()
        .map(|e| e["value"].as_f64().expect("a number"))
        .sum();
    let value = report["trace"]["value"].as_f64().expect("a number");
    assert!((total - value).abs() <= 1e-9 * value.abs(), "the layers sum to {total}, the trace is {value}");
    let normalized = report["trace_normalized"].as_f64().expect("a number") * report["dim"].as_f64().expect("d");
    assert!((normalized - value).abs() <= 1e-9 * value.abs());
}

#[test]
fn eval_takes_loss_type_and_data_from_the_run() {
    let room = Room::new();
    let out = room.path("run");
    let summary = json(&format!("{SMALL} --loss mse --dtype f64 --ema 0.9 --epochs 1 --out {}", out.display()));
    for checkpoint in [out.clone(), out.join("checkpoints/step-0000000008.safetensors")] {
        let score = json(&format!("eval --checkpoint {} --limit 256", checkpoint.display()));
        assert_eq!((&score["loss"], &score["accuracy"]), (&summary["test_loss"], &summary["test_accuracy"]));
    }
}

#[test]
fn the_width_of_a_network_is_in_its_weights_file() {
    let room = Room::new();
    let out = room.path("run");
    let flags = "--train-limit 64 --test-limit 32 --batch-size 32 --epochs 1 --trace-probes 0";
    let summary = json(&format!("train --model lenet --channels 3 {flags} --out {}", out.display()));
    // 3 * 25 + 3, 6 * 3 * 25 + 6, 96 * 6 * 16 + 96, 10 * 96 + 10
    assert_eq!(summary["dim"], 78 + 456 + 9312 + 970);
    let weights = room.path("elsewhere.safetensors");
    std::fs::copy(out.join("model.safetensors"), &weights).expect("copied");
    let eval = |flags: &str| format!("eval --checkpoint {} --dataset mnist --limit 32 {flags}", weights.display());
    assert_eq!(json(&eval(""))["accuracy"], summary["test_accuracy"]);
    assert_eq!(json(&eval("--model lenet --channels 3"))["accuracy"], summary["test_accuracy"]);
    let error = fails(&eval("--model lenet"), 1);
    assert!(error.contains("another model") && error.contains("--channels"), "{error}");
    let error = fails(&eval("--channels 3"), 2);
    assert!(error.contains("--model"), "{error}");
}

#[test]
fn the_accuracy_of_an_epoch_counts_every_micro_batch() {
    let room = Room::new();
    let accuracy = |name: &str, flags: &str| {
        let out = room.path(name);
        // in f64, accumulated gradients are those of the batch up to rounding
        json(&format!("{SMALL} --dtype f64 --epochs 1 {flags} --out {}", out.display()));
        journal(&out)[0]["accuracy"].as_f64().expect("an accuracy")
    };
    let whole = accuracy("whole", "");
    assert!(whole > 0.1, "{whole}");
    assert_eq!(whole, accuracy("parts", "--micro-batch 16"));
}

#[test]
fn the_three_hessian_vector_products_give_one_trace() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --activation tanh --epochs 1 --out {}", out.display()));
    let trace = |how: &str| {
        let words = format!(
            "metrics trace --checkpoint {} --split train --limit 128 --probes 3 --dtype f64 --hvp {how}",
            out.display()
        );
        json(&words)["trace"]["value"].as_f64().expect("a number")
    };
    let exact = trace("exact");
    // double backward is exact too; central differences have an error of about 1e-8 relative in f64
    assert!((trace("double") - exact).abs() <= 1e-10 * exact.abs());
    assert!((trace("difference") - exact).abs() <= 1e-6 * exact.abs());
}

#[test]
fn eigenvalues_come_with_residuals_and_their_sum_stays_below_the_trace() {
    let words = "metrics eig --checkpoint models/flat.safetensors --dataset mnist --split train --limit 500 --top 3 --bottom 1 --dtype f64";
    let report = json(words);
    let pairs = report["eigenvalues"].as_array().expect("an array");
    let values: Vec<f64> = pairs.iter().map(|p| p["value"].as_f64().expect("a number")).collect();
    assert_eq!(values.len(), 4);
    assert!(values.windows(2).all(|w| w[0] >= w[1]), "{values:?}");
    assert!(pairs.iter().all(|p| p["residual"].as_f64().expect("a number") <= 1e-6 * values[0]), "{report}");
    assert_eq!(report["converged"], true);
    let double = json(&format!("{words} --hvp double"));
    let again = double["eigenvalues"][0]["value"].as_f64().expect("a number");
    assert!((again - values[0]).abs() <= 1e-9 * values[0], "{again} {values:?}");
    let text = fails("metrics eig --checkpoint models/flat.safetensors --dataset mnist --limit 64 --rel-tol -1", 2);
    assert!(text.contains("--rel-tol"), "{text}");
}

#[test]
fn without_json_the_result_is_text_and_progress_goes_to_stderr() {
    let room = Room::new();
    let out = run(&format!("{SMALL} --epochs 1 --out {}", room.path("run").display()));
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(stdout.contains("test accuracy") && !stdout.contains("epoch 1"), "{stdout}");
    assert!(stderr.contains("epoch 1"), "{stderr}");
}

#[test]
fn wrong_usage_exits_2_and_names_the_flag() {
    for (words, part) in [
        ("train --lr -1", "--lr"),
        ("train --optimizer lion", "lion"),
        ("train --model vgg", "vgg"),
        ("train --rho 0.1", "--rho"),
        ("train --epochs 1 --steps 1", "--steps"),
        ("train --augment rotate", "rotate"),
        ("train --device tpu", "tpu"),
        ("metrics trace --checkpoint x --rel-tol -1", "--rel-tol"),
        ("metrics trace --checkpoint x --estimator xtrace --rel-tol 0.1", "--rel-tol"),
        ("metrics trace --checkpoint x --estimator xtrace --probes 3", "--probes"),
        ("metrics trace --checkpoint x --estimator lanczos", "lanczos"),
        ("metrics trace --checkpoint x --radius 1", "--radius"),
        ("metrics trace --checkpoint x --estimator perturbed-loss --radius NaN", "--radius"),
        ("metrics trace --checkpoint x --estimator perturbed-loss --operator ggn", "--operator"),
        ("metrics trace --checkpoint x --estimator perturbed-gradient --hvp double", "--hvp"),
        ("metrics trace --checkpoint x --operator ggn --hvp difference", "--hvp"),
        ("metrics trace --checkpoint x --operator fisher --labels 2", "--labels"),
        ("metrics layers --checkpoint x --rel-tol 0", "--rel-tol"),
        ("metrics layers --checkpoint x --probes 1", "--probes"),
        ("train --flatness-every 1ep", "--flatness-every"),
        ("train --flatness sharpness", "sharpness"),
        ("eval --checkpoint x --limit 0", "--limit"),
        ("eval --checkpoint x --batch-size 0", "--batch-size"),
        ("frobnicate", "frobnicate"),
    ] {
        let text = fails(words, 2);
        assert!(text.contains(part), "{words}: {text}");
    }
}

#[test]
fn run_time_failures_exit_1_and_name_the_file() {
    let room = Room::new();
    let junk = room.path("junk.safetensors");
    std::fs::write(&junk, b"not a checkpoint").expect("written");
    for (words, part) in [
        (format!("eval --checkpoint {}", room.path("absent").display()), "absent"),
        (format!("eval --checkpoint {} --dataset mnist", junk.display()), "junk.safetensors"),
        (
            format!("train --model mlp --init {} --out {}", junk.display(), room.path("r1").display()),
            "junk.safetensors",
        ),
        (format!("train --data-dir {} --out {}", room.path("nodata").display(), room.path("r2").display()), "nodata"),
    ] {
        let text = fails(&words, 1);
        assert!(text.contains(part), "{words}: {text}");
    }
}

#[test]
fn a_checkpoint_of_another_model_is_refused_by_name() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --steps 1 --out {}", out.display()));
    let text = fails(
        &format!("train --model lenet --init {}/model.safetensors --out {}", out.display(), room.path("b").display()),
        1,
    );
    assert!(text.contains("conv1."), "{text}");
    assert!(!room.path("b").join("model.safetensors").exists());
}

#[test]
fn a_second_run_in_one_directory_is_refused_and_loses_nothing() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --steps 1 --out {}", out.display()));
    let before = bytes(&out.join("model.safetensors"));
    let text = fails(&format!("{SMALL} --steps 2 --out {}", out.display()), 2);
    assert!(text.contains("--resume") && text.contains("--out"), "{text}");
    assert!(before == bytes(&out.join("model.safetensors")));
}

#[test]
fn a_diverging_run_skips_stops_and_keeps_its_last_checkpoint() {
    let room = Room::new();
    let out = room.path("run");
    let text = fails(
        &format!(
            "{SMALL} --lr 1e30 --momentum 0 --schedule constant --steps 50 --checkpoint-every 1 --out {}",
            out.display()
        ),
        3,
    );
    assert!(text.contains("skipped") && text.contains("learning rate"), "{text}");
    // the update that overflowed is the last that was saved; its weights are finite and can be read, its loss is not
    let saved = out.join("checkpoints/step-0000000001.safetensors");
    let text = fails(&format!("eval --checkpoint {} --limit 256", saved.display()), 1);
    assert!(text.contains("the loss is not finite on 256 images"), "{text}");
}

#[test]
fn data_verify_checks_the_files_in_the_repository() {
    let report = json("data verify mnist --data-dir data");
    assert_eq!(report["ok"], true, "{report}");
    let room = Room::new();
    let dir = room.path("mnist");
    std::fs::create_dir(&dir).expect("created");
    for file in std::fs::read_dir(crate::tool::top().join("data/mnist")).expect("data/mnist") {
        let path = file.expect("an entry").path();
        let mut content = bytes(&path);
        if path.ends_with("t10k-labels-idx1-ubyte.gz") {
            content.truncate(1000);
        }
        std::fs::write(dir.join(path.file_name().expect("a name")), content).expect("copied");
    }
    let text = fails(&format!("data verify mnist --data-dir {}", room.path("").display()), 1);
    assert!(text.contains("t10k-labels"), "{text}");
}

#[test]
fn learning_rate_and_radius_warm_up_each_by_its_own_flag() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!(
        "{SMALL} --optimizer sam --lr 0.1 --rho 0.08 --schedule constant --warmup 1 --rho-warmup 3 --steps 5 --log-steps --out {}",
        out.display()
    ));
    let lines = journal(&out);
    let steps: Vec<_> = lines.iter().filter(|r| r["kind"] == "step").collect();
    let column = |name: &str| steps.iter().map(|r| r[name].as_f64().expect("a number")).collect::<Vec<_>>();
    // value (step + 1) / (warm-up + 1)
    assert_eq!(column("lr"), [0.05, 0.1, 0.1, 0.1, 0.1]);
    assert_eq!(column("rho"), [0.02, 0.04, 0.06, 0.08, 0.08]);
}

#[test]
fn full_batch_takes_one_step_an_epoch_on_the_whole_set() {
    let room = Room::new();
    let (a, b) = (room.path("a"), room.path("b"));
    // in f64 the streamed gradient equals that of one big batch up to rounding
    let common = "train --model mlp --hidden 8 --train-limit 200 --test-limit 64 --trace-probes 0 --dtype f64 --no-shuffle \
                  --optimizer rsp --log-steps --schedule constant";
    json(&format!("{common} --full-batch --batch-size 64 --epochs 5 --out {}", a.display()));
    json(&format!("{common} --batch-size 200 --epochs 5 --out {}", b.display()));
    let (a, b) = (step_losses(&a), step_losses(&b));
    assert_eq!(a.len(), 5);
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() < 1e-12 * b.abs(), "{a} {b}");
    }
}

#[test]
fn hessian_products_are_counted_apart_and_only_where_a_rule_projects() {
    let room = Room::new();
    let run = "train --model mlp --hidden 6 --loss mse --train-limit 48 --test-limit 8 --batch-size 16 --eval-every 0 \
               --trace-probes 0 --steps 6 --log-steps";
    let plain = json(&format!("{run} --optimizer sgd --out {}", room.path("plain").display()));
    assert!(plain.get("subspace").is_none() && plain["evals"] == 6.0, "{plain}");
    let out = room.path("dom");
    let dom = json(&format!("{run} --optimizer dom-sgd --subspace-every 2 --project-from 2 --out {}", out.display()));
    let subspace = &dom["subspace"];
    assert_eq!((dom["evals"].as_f64(), subspace["refreshes"].as_u64()), (Some(6.0), Some(2)), "{dom}");
    assert_eq!((subspace["full_gradients"].as_u64(), &subspace["share"]), (Some(0), &serde_json::Value::Null), "{dom}");
    // the kept vectors of ten classes alone are 13 products each time
    assert!(subspace["hessian_products"].as_u64() >= Some(26), "{dom}");
    assert!(subspace["gap"].as_f64() > Some(0.0) && subspace["residual"].as_f64() > Some(0.0), "{dom}");
    let products: Vec<Option<u64>> = journal(&out)
        .iter()
        .filter(|line| line["kind"] == "step")
        .map(|line| line["hessian_products"].as_u64())
        .collect();
    assert!(products[..2] == [Some(0), Some(0)] && products[2] > Some(0) && products[3] == products[2], "{products:?}");
    assert_eq!(products[5], subspace["hessian_products"].as_u64());
    let text = fails(&format!("{run} --optimizer sgd --subspace-every 2"), 2);
    assert!(text.contains("--subspace-every") && text.contains("dom-sgd"), "{text}");
    let text = fails(&format!("{run} --optimizer bulk-sgd --subspace-k 100000"), 2);
    assert!(text.contains("--subspace-k 100000") && text.contains("parameters"), "{text}");
}

#[test]
fn the_gap_of_a_run_is_that_between_two_eigenvalues_of_lanczos_method() {
    let room = Room::new();
    let out = room.path("run");
    let run = format!(
        "train --optimizer bulk-sgd --subspace-k 3 --subspace-tol 1e-7 --dtype f64 --steps 1 --save-init --model mlp --hidden 6 \
         --activation tanh --loss mse --train-limit 64 --test-limit 8 --batch-size 16 --trace-probes 0 --out {}",
        out.display()
    );
    let subspace = json(&run)["subspace"].clone();
    let eig = json(&format!(
        "metrics eig --checkpoint {} --dataset mnist --model mlp --hidden 6 --activation tanh --loss mse --split train --limit 64 \
         --dtype f64 --top 4 --bottom 0 --rel-tol 1e-9 --max-matvecs 400",
        out.join("init.safetensors").display()
    ));
    let value = |i: usize| eig["top"][i]["value"].as_f64().expect("an eigenvalue");
    let (gap, expected) = (subspace["gap"].as_f64().expect("a gap"), value(2) - value(3));
    // the fourth vector is found to 1e-6 of the largest value, its value to the square of that over the gaps
    assert!((gap - expected).abs() < 1e-6 * value(0), "{gap} {expected}");
    assert!(expected > 1e-4 * value(0), "a gap that means something: {expected}");
}

#[test]
fn the_version_is_one_line_in_short_and_tells_the_build_in_long() {
    let said = |words: &str| String::from_utf8(run(words).stdout).expect("text");
    let version = format!("flat-train {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(said("-V"), format!("{version}\n"));
    let long = said("--version");
    assert!(
        long.starts_with(&version) && long.lines().nth(1).is_some_and(|l| l.starts_with("features: hub")),
        "{long}"
    );
    assert_eq!(said("train --version").lines().nth(1), long.lines().nth(1));
}
