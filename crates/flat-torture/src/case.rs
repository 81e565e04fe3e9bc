//! What is started, killed and begun again: runs, a study, a sweep.

use crate::room::Room;
use anyhow::Result;
use std::path::Path;

/// Flags of every run.
const RUN: &str = "train --batch-size 32 --steps 12 --checkpoint-every 1 --keep-checkpoints 3 \
                   --eval-every 4 --log-steps --trace-probes 0 --device cpu";

/// The network of a run that names none.
const NETWORK: &str = "--model mlp --hidden 8";

/// What a case is to the tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A run: begun with `--out`, gone on with `--resume`.
    Run,
    /// `reproduce` with a study's file of ours, the same words each time.
    Study,
    /// `sweep`, the same words each time.
    Sweep,
}

/// A case of the campaigns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    words: &'static str,
    colored: bool,
}

const fn run(name: &'static str, words: &'static str) -> Case {
    Case { name, kind: Kind::Run, words, colored: false }
}

/// The cases: rules times bases times models, with everything of a run that has state of its own.
pub(crate) const CASES: &[Case] = &[
    run("sgd", "--optimizer sgd"),
    run("sam-ema", "--optimizer sam --ema 0.9 --augment crop,flip"),
    run("rsp-adamw", "--optimizer rsp --base adamw"),
    run("sap-schedules", "--optimizer sap --schedule step --step-size 5 --rho-schedule cosine"),
    run("nso-nesterov", "--optimizer nso --nesterov --clip 1"),
    run("sam-schedule-free", "--optimizer sam --base schedule-free --lr 0.5"),
    run("wsam-swa", "--optimizer wsam --base schedule-free-adamw --warmup 3 --swa-start 4 --swa-every 2"),
    run("asam-norm", "--optimizer asam --weight-decay 1e-4 --schedule constant"),
    run("gsam", "--optimizer gsam --label-smoothing 0.1"),
    run("looksam", "--optimizer looksam --looksam-k 3"),
    run("vasso-m", "--optimizer vasso --momentum 0"),
    run("fsam-validation", "--optimizer fsam --validation 32"),
    run("sam-m-sharpness", "--optimizer sam --m 8"),
    run("sam-micro-batch", "--optimizer sam --micro-batch 8"),
    run("sam-every", "--optimizer sam --rule-every 3"),
    run("rule-schedule", "--rule-schedule plain:0-1,sam:1-2 --reset-base"),
    run("dom-sgd", "--optimizer dom-sgd --subspace-every 5 --subspace-k 3 --loss mse --train-limit 64"),
    run("bulk-sgd-adamw", "--optimizer bulk-sgd --base adamw --subspace-every 5 --subspace-k 3 --train-limit 64"),
    Case { name: "gerne", kind: Kind::Run, words: "--optimizer gerne --dataset colored-mnist", colored: true },
    run("entropy-sgd", "--optimizer entropy-sgd --entropy-l 3 --steps 6"),
    run("esam", "--optimizer esam"),
    run("aesam", "--optimizer aesam"),
    run("bsam", "--optimizer bsam"),
    run("lpf", "--optimizer lpf"),
    run("full-batch", "--optimizer gnp --full-batch"),
    run(
        "f64-flatness",
        "--optimizer sam --dtype f64 --flatness trace --flatness-every 4 --flatness-examples 32 --flatness-probes 2",
    ),
    run(
        "batch-norm",
        "--model resnet20 --channels 2 --train-limit 32 --test-limit 16 --batch-size 16 --steps 5 --ema 0.9",
    ),
    Case { name: "study", kind: Kind::Study, words: "reproduce late-sam --scale smoke --device cpu", colored: false },
    Case {
        name: "sweep",
        kind: Kind::Sweep,
        words: "sweep --model mlp --hidden 8 --batch-size 32 --steps 4 --validation 32 --optimizer sgd,sam --seeds 0..1 \
                --trace-probes 0 --checkpoint-every 1 --device cpu --jobs 1",
        colored: false,
    },
];

/// The study of the case `study`.
const STUDY: &str = r#"
[flags]
optimizer = "sgd"
momentum = 0.9
schedule = "constant"
batch-size = 32
checkpoint-every = "1"

[scales.smoke]
seeds = 1
epochs = 2
late = [0, 1]
rhos = [0.1]
images = [96, 32, 32]
flags = { dataset = "mnist", model = "mlp", hidden = [8], lr = 0.02 }
"#;

impl Case {
    /// The words that begin it in a folder, or go on with what is there.
    ///
    /// # Errors
    /// A full disk.
    pub fn words(&self, room: &Room, out: &Path) -> Result<Vec<String>> {
        if self.kind == Kind::Run && out.join("config.toml").exists() {
            return Ok(vec!["train".into(), "--resume".into(), out.display().to_string()]);
        }
        let begun = if self.kind == Kind::Run { RUN } else { "" };
        let network = if self.kind == Kind::Run && !self.words.contains("--model") { NETWORK } else { "" };
        let mut words: Vec<String> = [begun, network].join(" ").split_whitespace().map(String::from).collect();
        for word in self.words.split_whitespace() {
            // a flag of its own replaces the one of every run
            if let Some(at) = words.iter().position(|w| w == word).filter(|_| word.starts_with("--")) {
                words.drain(at..at + 2);
            }
            words.push(word.into());
        }
        if self.kind == Kind::Study {
            let file = room.path("study.toml");
            if !file.exists() {
                std::fs::write(&file, STUDY)?;
            }
            words.extend(["--study".into(), file.display().to_string()]);
        }
        let data = room.path(if self.colored { "colors" } else { "data" });
        words.extend(["--data-dir".into(), data.display().to_string()]);
        words.extend(["--out".into(), out.display().to_string()]);
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_cases_are_at_least_eighteen_and_have_names_of_their_own() {
        let names: BTreeSet<&str> = CASES.iter().map(|case| case.name).collect();
        assert!(names.len() == CASES.len() && names.len() >= 18, "{names:?}");
    }
}
