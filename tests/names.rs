//! What a person types and means: names in any case and by other names are understood, wrong ones are answered with the right.

use crate::tool::{Room, bytes, fails, json, run};
use flat_core::name::meant;
use flat_core::setting::{SettingType, Value};
use flat_run::settings::flags;
use flat_train::args::{Cli, Command};

/// The value that `train` takes of a flag.
fn taken(flag: &str, typed: &str) -> Result<String, String> {
    let name = flag.trim_start_matches('-');
    let words = ["flat-train", "train", flag, typed];
    let cli = Cli::read(words.map(Into::into)).map_err(|e| e.to_string())?;
    let Command::Train(train) = cli.command else { return Err("no train".into()) };
    let name = match name {
        "o" => "optimizer",
        "wd" => "weight-decay",
        "bs" => "batch-size",
        "learning-rate" => "lr",
        "step" => "steps",
        name => name,
    };
    train.given.values.get(name).map(Value::to_string).ok_or_else(|| format!("no {name}"))
}

#[test]
fn what_is_typed_in_another_case_or_by_another_name_is_understood() {
    for (flag, typed, meant) in [
        ("--optimizer", "SAM", "sam"),
        ("--optimizer", "Sam", "sam"),
        ("-o", "RSP", "rsp"),
        ("-o", "m-SAM", "msam"),
        ("--optimizer", "F-SAM", "fsam"),
        ("--optimizer", "LookSAM", "looksam"),
        ("--optimizer", "AE-SAM", "aesam"),
        ("--optimizer", "entropy_sgd", "entropy-sgd"),
        ("--optimizer", "EntropySGD", "entropy-sgd"),
        ("--optimizer", "LPF-SGD", "lpf"),
        ("--optimizer", "DomSGD", "dom-sgd"),
        ("--optimizer", "adam", "adamw"),
        ("--optimizer", "AdamW", "adamw"),
        ("--optimizer", "SGD", "sgd"),
        ("--base", "Adam", "adamw"),
        ("--base", "ScheduleFree", "schedule-free"),
        ("--base", "schedule_free_adamw", "schedule-free-adamw"),
        ("--dataset", "CIFAR10", "cifar10"),
        ("--dataset", "cifar-10", "cifar10"),
        ("--dataset", "CIFAR_100", "cifar100"),
        ("--dataset", "FashionMNIST", "fashion-mnist"),
        ("--dataset", "fmnist", "fashion-mnist"),
        ("--dataset", "MNIST", "mnist"),
        ("--model", "ResNet18", "resnet18"),
        ("--model", "ResNet-20", "resnet20"),
        ("--model", "resnet_20", "resnet20"),
        ("--model", "LeNet5", "lenet"),
        ("--model", "WRN16-4", "wrn-16-4"),
        ("--model", "WideResNet16-4", "wrn-16-4"),
        ("--model", "WRN28-10", "wrn-28-10"),
        ("--stem", "ImageNet", "imagenet"),
        ("--activation", "ReLU", "relu"),
        ("--norm", "BatchNorm", "batch"),
        ("--norm", "gn", "group"),
        ("--loss", "CrossEntropy", "cross-entropy"),
        ("--loss", "CE", "cross-entropy"),
        ("--loss", "MSE", "mse"),
        ("--schedule", "Cosine", "cosine"),
        ("--schedule", "constant", "constant"),
        ("--dtype", "float32", "f32"),
        ("--dtype", "FP64", "f64"),
        ("--precision", "BFloat16", "bf16"),
        ("--perturb", "Norm", "norm"),
        ("--rho-schedule", "follow_lr", "follow-lr"),
        ("--wd", "5e-4", "5e-4"),
        ("--bs", "64", "64"),
        ("--learning-rate", "0.1", "0.1"),
        ("--step", "3", "3"),
    ] {
        assert_eq!(taken(flag, typed).as_deref(), Ok(meant), "{flag} {typed}");
    }
}

#[test]
fn images_of_a_measure_go_by_both_names() {
    for flag in ["--limit", "--examples"] {
        let words = ["flat-train", "metrics", "trace", "--checkpoint", "run", flag, "64"];
        let cli = Cli::read(words.map(Into::into)).unwrap_or_else(|e| panic!("{flag}: {e}"));
        let Command::Metrics(metrics) = cli.command else { panic!("no metrics") };
        assert_eq!(metrics.given.get("limit").map(Value::to_string).as_deref(), Some("64"), "{flag}");
    }
}

#[test]
fn what_is_mistyped_is_answered_with_the_right_word() {
    for (flag, typed, right) in [
        ("--optimizer", "sma", "sam"),
        ("--optimizer", "looksm", "looksam"),
        ("--optimizer", "adamv", "adamw"),
        ("--dataset", "cifr10", "cifar10"),
        ("--dataset", "minst", "mnist"),
        ("--model", "resnet19", "resnet18"),
        ("--model", "lenett", "lenet"),
        ("--activation", "rleu", "relu"),
        ("--schedule", "cosin", "cosine"),
        ("--loss", "crossentrop", "cross-entropy"),
        ("--optimzer", "sam", "--optimizer"),
        ("--bach-size", "64", "--batch-size"),
        ("--batch_size", "64", "--batch-size"),
        ("--batchsize", "64", "--batch-size"),
        ("--weight_decay", "0", "--weight-decay"),
        ("--learning_rate", "0.1", "--learning-rate"),
        ("--epoch", "3", "--epochs"),
        ("--stps", "3", "--steps"),
        ("--momentm", "0.9", "--momentum"),
        ("--data", "mnist", "--dataset"),
        ("--label_smoothing", "0.1", "--label-smoothing"),
        ("--roh", "0.1", "--rho"),
    ] {
        let told = taken(flag, typed).expect_err(typed);
        let answer = told.lines().find(|line| line.contains("similar")).unwrap_or_default();
        assert!(answer.contains(&format!("'{right}'")), "{flag} {typed}: {told}");
    }
}

#[test]
fn a_wrong_key_or_name_in_a_configuration_is_answered_with_the_right_one() {
    let folder = tempfile::tempdir().expect("a folder");
    for (line, right) in [
        ("optimizr = \"sam\"", "did you mean `optimizer`?"),
        ("batch_size = 64", "did you mean `batch-size`?"),
        ("optimizer = \"sma\"", "did you mean sam"),
        ("model = \"resnt20\"", "did you mean resnet20"),
        ("base = \"adamx\"", "did you mean adamw"),
    ] {
        let file = folder.path().join("config.toml");
        std::fs::write(&file, line).expect("room");
        let told = fails(&format!("train --config {}", file.display()), 2);
        assert!(told.contains(right), "{line}: {told}");
    }
}

#[test]
fn no_two_names_of_a_list_are_the_same_but_for_case_and_signs() {
    for flag in flags() {
        let (names, others) = (&flag.setting.names, &flag.setting.others);
        for name in names {
            assert_eq!(meant(&name.to_uppercase(), names, others), Some(*name), "--{}", flag.setting.name);
        }
        for (other, name) in others {
            let found = meant(other, names, others);
            assert_eq!(found, Some(*name), "--{} {other}", flag.setting.name);
        }
    }
    assert!(flat_run::settings::OptimizerName::others().contains(&("adam", "adamw")));
}

#[test]
fn a_dry_run_says_what_a_run_would_do_and_the_printed_configuration_makes_that_run() {
    let room = Room::new();
    let flags = "--optimizer SAM --model mlp --hidden 8 --train-limit 300 --test-limit 50 --batch-size 100 --epochs 2 \
                 --validation 50 --trace-probes 0 --device cpu";
    let plan = json(&format!("train {flags} --dry-run --out {}", room.path("dry").display()));
    // 250 images in batches of 100 make 3 steps an epoch, of two gradients each
    for (key, n) in
        [("train_images", 250), ("val_images", 50), ("test_images", 50), ("steps", 6), ("steps_per_epoch", 3)]
    {
        assert_eq!(plan[key], n, "{key}");
    }
    assert_eq!((plan["evals"].as_f64(), plan["dim"].as_u64()), (Some(12.0), Some(785 * 8 + 9 * 10)));
    assert!(!room.path("dry").exists(), "it writes nothing");

    let config = room.path("config.toml");
    let text = String::from_utf8(run(&format!("train {flags} --print-config")).stdout).expect("text");
    assert!(text.contains("optimizer = \"sam\"") && text.contains("rho = 0.05"), "{text}");
    assert!(!text.contains("data-dir"), "where the data are is no part of it: {text}");
    std::fs::write(&config, text).expect("room");
    let (by_flags, by_file) = (room.path("flags"), room.path("file"));
    run(&format!("train {flags} --quiet --out {}", by_flags.display()));
    run(&format!("train --config {} --quiet --out {}", config.display(), by_file.display()));
    let weights = |root: &std::path::Path| bytes(&root.join("model.safetensors"));
    assert!(weights(&by_flags) == weights(&by_file));
}
