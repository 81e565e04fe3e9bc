//! Running the tool as a user would.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// What the environment names, otherwise what the build knew: tests may be carried to another machine.
fn place(variable: &str, built: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| built.into(), Into::into)
}

/// The project's top level (`FLAT_TOP`).
pub fn top() -> &'static Path {
    static TOP: OnceLock<PathBuf> = OnceLock::new();
    TOP.get_or_init(|| place("FLAT_TOP", concat!(env!("CARGO_MANIFEST_DIR"), "/../..")))
}

/// The tool (`FLAT_TRAIN_BIN`).
pub fn tool() -> PathBuf {
    place("FLAT_TRAIN_BIN", env!("CARGO_BIN_EXE_flat-train"))
}

/// `flat-train` with these words, reading the data of the repository alone.
pub fn command(words: &str) -> Command {
    let mut command = Command::new(tool());
    command.args(words.split_whitespace()).current_dir(top()).stdin(Stdio::null());
    command.env("FLAT_DATA_DIR", top().join("data")).env_remove("HF_ENDPOINT").env_remove("FLAT_LOG");
    command
}

/// Runs it to the end.
pub fn run(words: &str) -> Output {
    command(words).output().expect("flat-train starts")
}

/// Runs it, expects success and parses the JSON on stdout.
pub fn json(words: &str) -> Value {
    let out = run(&format!("{words} --json --quiet"));
    assert!(out.status.success(), "flat-train {words}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("one JSON object on stdout")
}

/// Runs it, expects this exit status and returns what it printed on stderr.
pub fn fails(words: &str, status: i32) -> String {
    let out = run(words);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(status), "flat-train {words}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// A folder of its own for a test's runs.
pub struct Room(tempfile::TempDir);

impl Room {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// The lines of a run's journal.
pub fn journal(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics.jsonl");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

/// The losses of the steps in a run's journal.
pub fn step_losses(run: &Path) -> Vec<f64> {
    journal(run).iter().filter(|r| r["kind"] == "step").map(|r| r["loss"].as_f64().expect("a loss")).collect()
}

/// Step of the newest checkpoint.
pub fn last_checkpoint(out: &Path) -> Option<u64> {
    let files =
        std::fs::read_dir(out.join("checkpoints")).ok()?.filter_map(|file| file.ok()?.file_name().into_string().ok());
    files.filter_map(|name| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()).max()
}

/// A file's bytes.
pub fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A small and quick run: an MLP on 512 images.
pub const SMALL: &str =
    "train --model mlp --hidden 16 --train-limit 512 --test-limit 256 --batch-size 64 --trace-probes 0";
