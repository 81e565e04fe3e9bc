//! Files and folders that somebody else made: read under limits, never waited for, never a way to write elsewhere.

use crate::tool::{Room, SMALL, bytes, command, fails, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs a command to its end, which has to come within so many seconds.
fn within(command: &mut Command, seconds: u64) -> Output {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    while child.try_wait().expect("a child").is_none() {
        if begun.elapsed() > Duration::from_secs(seconds) {
            child.kill().expect("killed");
            panic!("{command:?} did not end within {seconds} s");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().expect("output")
}

/// The tool with these words and so much address space, KiB; a command that ends as soon as it needs more.
fn in_space(words: &str, kib: u64) -> Command {
    let tool = command("").get_program().to_string_lossy().into_owned();
    let mut limited = Command::new("bash");
    limited.args(["-c", &format!("ulimit -v {kib}; exec {tool} {words}")]).stdin(Stdio::null());
    limited.current_dir(crate::tool::top()).env("FLAT_DATA_DIR", crate::tool::top().join("data"));
    limited
}

fn error_of(out: &Output) -> String {
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{text}");
    text
}

#[test]
fn a_device_a_pipe_or_a_folder_in_place_of_a_file_is_one_error_at_once() {
    let room = Room::new();
    let pipe = room.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let folder = room.path("folder");
    std::fs::create_dir(&folder).expect("a folder");
    for file in [Path::new("/dev/zero"), Path::new("/dev/stdin"), &pipe, &folder] {
        let (file, out) = (file.display(), room.path("out").display().to_string());
        for words in [
            format!("eval --checkpoint {file} --dataset mnist --model mlp"),
            format!("eval --checkpoint models/flat.safetensors --dataset mnist --data-dir {file}"),
            format!("train --config {file} --out {out}"),
            format!("train --init {file} --model mlp --out {out}"),
            format!("train --resume {file}"),
            format!("sweep --study {file} --out {out}"),
            format!("reproduce sam-vs-sgd --scale smoke --study {file} --out {out}"),
            format!("landscape --checkpoint models/flat.safetensors --dataset mnist --between {file} --out {out}"),
            format!("bench --baseline {file} --models mlp --optimizers sgd --steps 1 --rounds 1"),
            format!("report {file} --out {out}.html"),
        ] {
            // nobody writes to its standard input, and nobody closes it
            let mut held = Command::new("sleep").arg("60").stdout(Stdio::piped()).spawn().expect("sleep runs");
            let input = held.stdout.take().expect("a pipe");
            let result = within(in_space(&words, 8 << 20).stdin(input), 20);
            held.kill().and_then(|()| held.wait()).expect("ended");
            let text = error_of(&result);
            assert!(matches!(result.status.code(), Some(1 | 2)), "{words}: {text}");
            assert!(!room.path("out").exists(), "{words} left something");
        }
    }
    // where something is written, what is no file is not replaced by one
    let run = room.path("run");
    json(&format!("{SMALL} --steps 1 --out {}", run.display()));
    let page = room.path("pipe.html");
    std::fs::rename(&pipe, &page).expect("renamed");
    let text = fails(&format!("report {} --out {}", run.display(), page.display()), 1);
    assert!(text.contains("no regular file"), "{text}");
    assert!(!page.symlink_metadata().expect("there").is_file());
}

#[test]
fn a_journal_and_a_configuration_without_end_are_not_taken_into_memory() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --steps 2 --out {}", out.display()));
    for (name, part) in
        [("metrics.jsonl", "damaged in line"), ("config.toml", "config.toml"), ("summary.json", "summary.json")]
    {
        let file = out.join(name);
        let kept = bytes(&file);
        // 900 MB of zeros on one line, which take no room on the disk
        let long = std::fs::File::options().write(true).open(&file).expect("there");
        long.set_len(900 << 20).expect("longer");
        let words = format!("report {} --out {}", out.display(), room.path("page.html").display());
        let text = error_of(&within(&mut in_space(&words, 2 << 20), 20));
        assert!(text.contains(part), "{name}: {text}");
        assert!(text.len() < 2000, "{name}: an error of {} bytes", text.len());
        std::fs::write(&file, kept).expect("as it was");
    }
}

#[test]
fn a_network_too_large_for_the_memory_is_one_error_that_names_flag_and_sizes() {
    let room = Room::new();
    let out = room.path("out");
    let least = "--train-limit 64 --test-limit 64 --trace-probes 0 --steps 1";
    for (flags, named) in [
        ("--model mlp --hidden 65536,65536,65536", "--hidden 65536,65536,65536"),
        ("--model lenet --channels 4096", "--channels 4096"),
        ("--model resnet18 --channels 4096", "--channels 4096"),
        ("--model mlp --hidden 9000,9000 --optimizer looksam --base adamw --ema 0.9", "--hidden 9000,9000"),
    ] {
        let words = format!("train {flags} {least} --out {}", out.display());
        let result = within(&mut in_space(&words, 3 << 20), 30);
        let text = error_of(&result);
        assert!(result.status.code() == Some(2) && text.contains(named), "{text}");
        assert!(text.contains("GiB of memory") && text.contains("are free"), "{text}");
        assert!(!out.exists(), "{flags}");
    }
    // a file of a few bytes may say what it likes of its model
    let tensors =
        [("fc1.bias".to_string(), candle_core::Tensor::new(&[0f32], &candle_core::Device::Cpu).expect("one"))];
    for hidden in ["65536,65536,65536", "16777216,16777216", "18446744073709551615,18446744073709551615", "4294967296"]
    {
        let said = [
            ("arch", "mlp"),
            ("in_channels", "1"),
            ("height", "28"),
            ("width", "28"),
            ("classes", "10"),
            ("hidden", hidden),
            ("activation", "relu"),
            ("norm", "batch"),
        ];
        let said = said.map(|(key, value)| (key.to_string(), value.to_string())).into();
        let file = room.path("model.safetensors");
        flat_nn::TensorFile::new(tensors.clone().into(), said).write(&file).expect("written");
        let result =
            within(&mut in_space(&format!("eval --checkpoint {} --dataset mnist", file.display()), 6 << 20), 20);
        let text = error_of(&result);
        assert!(text.contains("hidden"), "{hidden}: {text}");
    }
}

#[cfg(unix)]
#[test]
fn links_in_a_run_directory_lead_no_write_out_of_it() {
    use std::os::unix::fs::symlink;
    let room = Room::new();
    let good = room.path("good");
    json(&format!("{SMALL} --steps 4 --checkpoint-every 2 --save-init --out {}", good.display()));
    // what is written whole takes the place of a link; what is written on is refused
    let replaced: &[&str] = &[
        "summary.json",
        "model.safetensors",
        "model.safetensors.partial",
        "init.safetensors",
        "checkpoints/best.safetensors",
        "checkpoints/best.safetensors.partial",
        "checkpoints/step-0000000006.safetensors",
        "checkpoints/.partial-1",
        "config.toml",
    ];
    // each leads to a file of the user's own, which reads as the run's, or to one that is not there
    for exists in [true, false] {
        for names in [replaced, &["metrics.jsonl"], &[".lock"]] {
            let (run, precious) = (room.path("run"), room.path("precious"));
            copy(&good, &run);
            std::fs::create_dir_all(precious.join("checkpoints")).expect("a folder");
            // a run whose configuration is gone is none
            let names: Vec<&str> = names.iter().copied().filter(|name| exists || *name != "config.toml").collect();
            let mut kept = Vec::new();
            for name in &names {
                let (link, target) = (run.join(name), precious.join(name));
                let whole = std::fs::read(&link).unwrap_or_else(|_| b"precious".to_vec());
                let _ = std::fs::remove_file(&link);
                if exists {
                    std::fs::write(&target, &whole).expect("written");
                }
                symlink(&target, &link).expect("linked");
                kept.push((target, whole));
            }
            let result = within(&mut command(&format!("train --resume {} --steps 8", run.display())), 60);
            let text = String::from_utf8_lossy(&result.stderr).into_owned();
            for (target, whole) in kept {
                match exists {
                    true => assert!(bytes(&target) == whole, "written through a link: {} {text}", target.display()),
                    false => assert!(!target.exists(), "made through a link: {} {text}", target.display()),
                }
            }
            match names[..] {
                [one] => assert!(error_of(&result).contains("link") && text.contains(one), "{one}: {text}"),
                _ => assert!(result.status.success(), "{text}"),
            }
            std::fs::remove_dir_all(&run).expect("removed");
            std::fs::remove_dir_all(&precious).expect("removed");
        }
    }
    // a folder of somebody else's checkpoints in the place of the run's: nothing is written, swept or pruned there
    let (run, elsewhere) = (room.path("run"), room.path("elsewhere"));
    copy(&good, &run);
    std::fs::rename(run.join("checkpoints"), &elsewhere).expect("moved");
    std::fs::write(elsewhere.join(".partial-x"), b"mine").expect("written");
    symlink(&elsewhere, run.join("checkpoints")).expect("linked");
    let list = |folder: &Path| -> Vec<_> {
        let mut all: Vec<_> =
            std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("entry").file_name()).collect();
        all.sort();
        all
    };
    let before = list(&elsewhere);
    let text = error_of(&within(&mut command(&format!("train --resume {} --steps 8", run.display())), 60));
    assert!(text.contains("checkpoints") && text.contains("link"), "{text}");
    assert_eq!(list(&elsewhere), before);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("copied")),
        }
    }
}
