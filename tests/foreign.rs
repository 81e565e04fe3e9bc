//! Weights and data that other programs wrote, through the command line.

use crate::tool::{Room, command, fails, json, run, top};
use candle_core::{DType, Device, Tensor, safetensors};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

const SMALL: &str = "train --model mlp --hidden 8 --train-limit 256 --test-limit 64 --trace-probes 0 --device cpu";
const DESCRIBED: &str = "--model mlp --hidden 8 --dataset mnist --limit 64";

type Tensors = HashMap<String, Tensor>;

/// A small run's folder and its weights.
fn trained(room: &Room, name: &str, flags: &str) -> (std::path::PathBuf, Tensors) {
    let out = room.path(name);
    json(&format!("{SMALL} --epochs 1 {flags} --out {}", out.display()));
    let weights = safetensors::load(out.join("model.safetensors"), &Device::Cpu).expect("weights");
    (out, weights)
}

fn prefixed(tensors: &Tensors, prefix: &str) -> Tensors {
    tensors.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone())).collect()
}

fn eval(file: &Path, tensors: &Tensors) -> String {
    safetensors::save(tensors, file).expect("a file");
    format!("eval --checkpoint {} {DESCRIBED}", file.display())
}

/// What eval prints, without the time it took.
fn scores(words: &str) -> [Value; 2] {
    let found = json(words);
    ["loss", "accuracy"].map(|key| found[key].clone())
}

#[test]
fn entries_of_no_layer_change_nothing_and_are_named_in_one_line() {
    let room = Room::new();
    let (out, weights) = trained(&room, "run", "");
    let own = scores(&format!("eval --checkpoint {} --limit 64", out.display()));
    let mut theirs = prefixed(&weights, "state_dict.model.");
    let nan = Tensor::full(f32::NAN, 3, &Device::Cpu).expect("NaN");
    theirs.insert("state_dict.model.normalize.mean".into(), nan);
    theirs.insert("epoch".into(), Tensor::new(7i64, &Device::Cpu).expect("a scalar"));
    theirs.extend(prefixed(&weights, "optimizer.exp_avg."));
    let words = eval(&room.path("theirs.safetensors"), &theirs);
    assert_eq!(scores(&words), own);
    let said = String::from_utf8_lossy(&run(&words).stderr).into_owned();
    let line = said.lines().find(|line| line.contains("ignored")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("epoch") && line.contains("2 more"), "{line}");
    // from such a file a run starts too
    let words = format!(
        "{SMALL} --steps 0 --init {} --out {}",
        room.path("theirs.safetensors").display(),
        room.path("next").display()
    );
    json(&words);
    let next = safetensors::load(room.path("next/model.safetensors"), &Device::Cpu).expect("weights");
    for (name, tensor) in &weights {
        let values =
            |t: &Tensor| t.to_dtype(DType::F64).and_then(|t| t.flatten_all()?.to_vec1::<f64>()).expect("numbers");
        assert_eq!(values(&next[name]), values(tensor), "{name}");
    }
}

#[test]
fn a_file_of_two_networks_is_refused_and_both_are_named() {
    let room = Room::new();
    let (_, weights) = trained(&room, "run", "");
    let both = prefixed(&weights, "student.").into_iter().chain(prefixed(&weights, "teacher.")).collect();
    let text = fails(&eval(&room.path("both.safetensors"), &both), 1);
    assert!(text.contains("`student.` and `teacher.`"), "{text}");
    // one layer of each
    let halves: Tensors = both
        .into_iter()
        .filter(|(name, _)| name.starts_with("student.fc1") || name.starts_with("teacher.fc2"))
        .collect();
    let text = fails(&eval(&room.path("halves.safetensors"), &halves), 1);
    assert!(text.contains("another model") && text.contains("`fc"), "{text}");
}

#[test]
fn a_config_beside_a_file_neither_breaks_nor_captures_a_command_that_says_all() {
    let room = Room::new();
    let (_, weights) = trained(&room, "run", "");
    let alone = scores(&eval(&room.path("alone.safetensors"), &weights));
    // a run of another network, loss and data limit
    let (neighbour, _) = trained(&room, "neighbour", "--loss mse --seed 9 --optimizer sgd");
    let words = eval(&neighbour.join("theirs.safetensors"), &weights);
    assert_eq!(scores(&words), alone);
    std::fs::write(neighbour.join("config.toml"), "seed = \"no number").expect("written");
    assert_eq!(scores(&words), alone);
    // without the flags the file says nothing, and the reason is given
    let text = fails(&format!("eval --checkpoint {}", neighbour.join("theirs.safetensors").display()), 2);
    assert!(text.contains("--dataset") && text.contains("config.toml"), "{text}");
}

#[test]
fn the_batches_and_archives_of_python_are_data() {
    let reference = top().join("crates/flat-data/tests/reference");
    let room = Room::new();
    let folder = room.path("data/cifar-10-batches-py");
    std::fs::create_dir_all(&folder).expect("folder");
    for (from, to) in [("python2", "data_batch_1"), ("protocol-4", "test_batch")] {
        std::fs::copy(reference.join(format!("cifar10-{from}.pickle")), folder.join(to)).expect("copy");
    }
    let data = room.path("data");
    let found = json(&format!("data verify cifar10 --data-dir {}", data.display()));
    assert_eq!((&found["format"], &found["train"], &found["test"]), (&"python".into(), &2.into(), &2.into()));
    // a run on them finds them again from its own configuration
    let out = room.path("run");
    let words = "train --dataset cifar10 --model mlp --hidden 4 --batch-size 2 --trace-probes 0 --device cpu";
    json(&format!("{words} --epochs 1 --data-dir {} --out {}", data.display(), out.display()));
    json(&format!("eval --checkpoint {}", out.display()));
    std::fs::remove_dir_all(&folder).expect("removed");
    std::fs::copy(reference.join("cifar10-pax.tar.gz"), data.join("cifar-10-python.tar.gz")).expect("copy");
    let found = json(&format!("data verify cifar10 --data-dir {}", data.display()));
    assert_eq!((&found["format"], &found["train"]), (&"archive".into(), &10.into()));
}

#[test]
fn data_that_is_not_there_is_answered_with_what_is() {
    let room = Room::new();
    std::fs::create_dir_all(room.path("pictures")).expect("folder");
    std::fs::write(room.path("train.csv"), "").expect("written");
    let root = room.path("");
    let words =
        format!("train --dataset cifar10 --data-dir {} --steps 1 --out {}", root.display(), room.path("run").display());
    let out = command(&words).output().expect("it starts");
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        !out.status.success() && text.contains("pictures/, train.csv") && text.contains("cifar-10-python.tar.gz"),
        "{text}"
    );
}

#[test]
fn groups_are_said_by_a_flag_and_remembered_by_the_file() {
    let room = Room::new();
    let out = room.path("run");
    let words = "train --model resnet20 --channels 8 --norm group --train-limit 64 --test-limit 32 --batch-size 32 --steps 2 \
                 --trace-probes 0 --device cpu";
    let trained = json(&format!("{words} --groups 2 --out {}", out.display()));
    let copy = room.path("copy.safetensors");
    std::fs::copy(out.join("model.safetensors"), &copy).expect("copied");
    let eval = |flags: &str| json(&format!("eval --checkpoint {} --dataset mnist --limit 32 {flags}", copy.display()));
    assert_eq!(eval("")["loss"], trained["test_loss"]);
    let named = "--model resnet20 --channels 8 --norm group";
    assert_eq!(eval(&format!("{named} --groups 2"))["loss"], trained["test_loss"]);
    assert!(eval(&format!("{named} --groups 8"))["loss"] != trained["test_loss"]);
    let text = fails(&format!("{words} --groups 3 --out {}", room.path("x").display()), 1);
    assert!(text.contains("3 groups do not divide"), "{text}");
    let text = fails(&format!("{} --groups 2", words.replace("--norm group ", "")), 2);
    assert!(text.contains("--groups") && text.contains("--norm group"), "{text}");
}
