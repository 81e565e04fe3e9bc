//! Weights and data that other programs wrote, through the command line.

use crate::tool::{Room, command, fails, json, run, top};
use candle_core::{DType, Device, Tensor, safetensors};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

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
    let text = fails(&format!("{words} --groups 3 --out {}", room.path("x").display()), 2);
    assert!(text.contains("--model resnet20: 3 groups do not divide"), "{text}");
    let text = fails(&format!("{} --groups 2", words.replace("--norm group ", "")), 2);
    assert!(text.contains("--groups") && text.contains("--norm group"), "{text}");
}

/// The Python that has PyTorch and torchvision (`FLAT_PYTHON`, else `python3`); `None` where there is none.
fn python() -> Option<String> {
    let python = std::env::var("FLAT_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&python).args(["-c", "import torch, torchvision"]).output();
    found.is_ok_and(|out| out.status.success()).then_some(python)
}

#[test]
fn weights_from_elsewhere_are_measured_without_a_flag_that_names_their_network() {
    let room = Room::new();
    let (out, weights) = trained(&room, "run", "");
    let own = scores(&format!("eval --checkpoint {} --limit 64", out.display()));
    let sequence: Tensors =
        weights.iter().map(|(k, v)| (k.replace("fc1", "1").replace("fc2", "3"), v.clone())).collect();
    let path = |name: &str| room.path(name).display().to_string();
    for (name, tensors) in [
        ("ddp.safetensors", prefixed(&weights, "state_dict.module.")),
        ("compiled.safetensors", prefixed(&weights, "_orig_mod.")),
        ("sequence.safetensors", sequence),
    ] {
        safetensors::save(&tensors, path(name)).expect("a file");
        assert_eq!(scores(&format!("eval --checkpoint {} --dataset mnist --limit 64", path(name))), own, "{name}");
    }
    // an average beside the weights is said, and taken where it is asked for
    let doubled = |t: &Tensor| (t * 2.0).expect("a tensor");
    let mut both = prefixed(&weights, "model.");
    both.extend(weights.iter().map(|(k, v)| (format!("model_ema.{k}"), doubled(v))));
    safetensors::save(&both, path("ema.safetensors")).expect("a file");
    let words = format!("eval --checkpoint {} --dataset mnist --limit 64", path("ema.safetensors"));
    assert_eq!(scores(&words), own);
    let said = String::from_utf8_lossy(&run(&words).stderr).into_owned();
    assert!(said.contains("--prefix model_ema."), "{said}");
    assert!(scores(&format!("{words} --prefix model_ema."))[0] != own[0]);
    let text = fails(&format!("{words} --prefix teacher."), 2);
    assert!(text.contains("--prefix teacher.") && text.contains("`model.`"), "{text}");
    // what no network has is listed
    let strange: Tensors =
        [("gate.weight".to_string(), weights["fc1.weight"].clone())].into_iter().chain(weights).collect();
    safetensors::save(&strange, path("strange.safetensors")).expect("a file");
    let text = fails(&format!("eval --checkpoint {} --dataset mnist", path("strange.safetensors")), 2);
    assert!(text.contains("gate.weight [8, 784]") && text.contains("flat-train models"), "{text}");
    // an activation that the file contradicts
    let text = fails(&format!("eval --checkpoint {} --dataset mnist --activation tanh", out.display()), 2);
    assert!(text.contains("--activation tanh") && text.contains("relu"), "{text}");
}

#[test]
fn exported_weights_are_read_again_and_inspect_says_what_they_are() {
    let room = Room::new();
    let out = room.path("run");
    let words = "train --model resnet20 --channels 4 --train-limit 64 --test-limit 32 --batch-size 32 --steps 2 \
                 --trace-probes 0 --device cpu";
    let trained = json(&format!("{words} --out {}", out.display()));
    for name in ["w.pt", "w.pth", "w.safetensors"] {
        let file = room.path(name);
        let told = json(&format!("export --checkpoint {} --out {}", out.display(), file.display()));
        assert_eq!((&told["model"], told["tensors"].as_u64()), (&"resnet20".into(), Some(128)), "{told}");
        let again = json(&format!("eval --checkpoint {} --dataset mnist --limit 32", file.display()));
        assert_eq!(again["loss"], trained["test_loss"], "{name}");
        let contents = json(&format!("inspect {}", file.display()));
        let network = &contents["network"];
        assert_eq!(contents["found_by"], "names and shapes");
        for (key, value) in [("arch", "resnet20"), ("channels", "4"), ("classes", "10"), ("in_channels", "1")] {
            assert_eq!(network[key], value, "{network}");
        }
        assert!(contents["any_size"].as_bool().expect("a bool"));
    }
    let own = json(&format!("inspect {}", out.display()));
    assert_eq!((&own["found_by"], &own["run"]["dataset"]), (&"file".into(), &"mnist".into()));
    assert!(own["assumed"].as_array().is_some_and(Vec::is_empty), "{own}");
    let text = fails(&format!("export --checkpoint {} --out {}", out.display(), room.path("w.onnx").display()), 2);
    assert!(text.contains("--out") && text.contains(".safetensors"), "{text}");
}

#[test]
fn pytorch_loads_exported_weights_strictly() {
    let Some(python) = python() else {
        println!("skipped: no torch and torchvision in python3; FLAT_PYTHON names one that has them");
        return;
    };
    let room = Room::new();
    let out = room.path("run");
    let words = "train --model resnet18 --stem imagenet --train-limit 32 --test-limit 32 --batch-size 16 --steps 2 --lr 0.01 \
                 --trace-probes 0 --device cpu";
    let loss = json(&format!("{words} --out {}", out.display()))["test_loss"].as_f64().expect("a loss");
    let file = room.path("w.pt");
    json(&format!("export --checkpoint {} --out {}", out.display(), file.display()));
    let script = format!(
        "import sys, torch, torchvision\n\
         sys.path.insert(0, {:?})\n\
         from foreign import mnist\n\
         net = torchvision.models.resnet18(num_classes=10)\n\
         net.conv1 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)\n\
         net.load_state_dict(torch.load({:?}, weights_only=True), strict=True)\n\
         assert int(net.bn1.num_batches_tracked) == 2, net.bn1.num_batches_tracked\n\
         x, y = mnist(32)\n\
         print(torch.nn.functional.cross_entropy(net.eval()(x), y).item())\n",
        top().join("tests/reference"),
        file
    );
    let mut torch = Command::new(python);
    let found = torch.args(["-c", &script]).env("FLAT_DATA_DIR", top().join("data")).output().expect("python runs");
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let theirs: f64 = String::from_utf8_lossy(&found.stdout).trim().parse().expect("a loss");
    // 18 layers of f32, summed in another order
    assert!((theirs - loss).abs() < 1e-4 * loss.max(1.0), "{theirs} {loss}");
}

#[test]
fn an_archive_that_is_damaged_or_holds_more_than_tensors_is_one_error() {
    let room = Room::new();
    let reference = top().join("crates/flat-nn/tests/reference");
    let good = std::fs::read(reference.join("training.pth.tar")).expect("fixture");
    let path = |name: &str| room.path(name);
    std::fs::write(path("cut.pth"), &good[..good.len() / 2]).expect("room");
    std::fs::write(path("legacy.pt"), b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.").expect("room");
    std::fs::write(path("bare.pt"), b"\x80\x04N.").expect("room");
    std::fs::write(path("x.index.json"), r#"{"weight_map": {"fc1.weight": "../../etc/passwd"}}"#).expect("room");
    std::fs::copy(reference.join("whole.pt"), path("whole.pt")).expect("copied");
    for (name, says) in [
        ("cut.pth", "cut short"),
        ("legacy.pt", "damaged"),
        ("bare.pt", "state_dict()"),
        ("x.index.json", "no file beside it"),
        ("whole.pt", "torch.nn.modules.linear.Linear"),
    ] {
        for command in ["inspect", "eval --dataset mnist --checkpoint", "export --out w.pt --checkpoint"] {
            let text = fails(&format!("{command} {}", path(name).display()), 1);
            assert!(text.contains(says) && text.contains(name), "{command} {name}: {text}");
        }
    }
    // an undamaged one of a network for other images
    let text = fails(&format!("eval --dataset mnist --checkpoint {}", reference.join("training.pth.tar").display()), 2);
    assert!(text.contains("2 classes") && text.contains("--dataset mnist"), "{text}");
}

/// `FLAT_FOREIGN` names a folder that `tests/reference/foreign.py` wrote, with what it printed in `measured.jsonl`.
#[test]
fn pytorchs_own_numbers_come_out_of_its_checkpoints() {
    let Some(folder) = std::env::var_os("FLAT_FOREIGN").map(std::path::PathBuf::from) else {
        println!("skipped: FLAT_FOREIGN names no folder; tests/reference/foreign.py makes one");
        return;
    };
    let measured = std::fs::read_to_string(folder.join("measured.jsonl")).expect("what torch measured");
    let data = std::env::var("FLAT_DATA_DIR").unwrap_or_else(|_| top().join("data").display().to_string());
    for line in measured.lines() {
        let theirs: Value = serde_json::from_str(line).expect("a JSON object a line");
        let text = |key: &str| theirs[key].as_str().expect("text").to_string();
        let number = |of: &Value, key: &str| of[key].as_f64().unwrap_or(f64::NAN);
        let file = folder.join(text("file"));
        let on = format!(
            "--checkpoint {} --dataset {} --data-dir {data} --split test --limit {} {}",
            file.display(),
            text("dataset"),
            theirs["limit"],
            text("flags")
        );
        let ours = json(&format!("eval {on}"));
        let (loss, expected) = (number(&ours, "loss"), number(&theirs, "loss"));
        assert!((loss - expected).abs() < 1e-4 * expected.max(1.0), "{}: {loss}, torch {expected}", text("file"));
        assert_eq!(number(&ours, "accuracy"), number(&theirs, "accuracy"), "{}", text("file"));
        if theirs["trace"].is_number() {
            let ours = json(&format!("metrics trace {on} --probes 8"));
            let (trace, error) = (number(&ours["trace"], "value"), number(&ours, "probe_std_error"));
            let joint = error.hypot(number(&theirs, "trace_std_error"));
            // five joint errors of six and eight draws, over all files
            let away = (trace - number(&theirs, "trace")).abs();
            println!("{}: trace {trace} +- {error}, torch {}", text("file"), theirs["trace"]);
            assert!(away < 5.0 * joint, "{}: {away} away, joint error {joint}", text("file"));
        }
    }
}
