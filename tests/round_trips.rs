//! A training step on a GPU waits for nothing: no number is read from the device between two log intervals.
//!
//! What the compiler cannot see, this test reads in the source: in the files that a step passes through, a line that can
//! bring a number to the host has to say why it may, and the reasons are counted here.

use crate::tool::top;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The files that a step passes through on a device that is not the CPU.
const STEP: [&str; 23] = [
    "crates/flat-run/src/run/trainer.rs",
    "crates/flat-run/src/run/trainer/looks.rs",
    "crates/flat-run/src/run/trainer/steps.rs",
    "crates/flat-run/src/parts/objective.rs",
    "crates/flat-data/src/loader.rs",
    "crates/flat-data/src/pass.rs",
    "crates/flat-data/src/resident.rs",
    "crates/flat-nn/src/loss.rs",
    "crates/flat-optim/src/base.rs",
    "crates/flat-optim/src/base/adamw.rs",
    "crates/flat-optim/src/base/sgd.rs",
    "crates/flat-optim/src/ema.rs",
    "crates/flat-optim/src/objective.rs",
    "crates/flat-optim/src/optimizer.rs",
    "crates/flat-optim/src/oracle.rs",
    "crates/flat-optim/src/pending.rs",
    "crates/flat-optim/src/rule.rs",
    "crates/flat-optim/src/rule/nso.rs",
    "crates/flat-optim/src/rule/plain.rs",
    "crates/flat-optim/src/rule/rsp.rs",
    "crates/flat-optim/src/rule/sam.rs",
    "crates/flat-optim/src/rule/sap.rs",
    "crates/flat-optim/src/scalar.rs",
];

/// What brings a number to the host: candle's reads, `ParamVec`'s reductions and [`flat_optim::Scalar::value`].
const READS: [&str; 12] = [
    ".to_scalar",
    ".to_vec0",
    ".to_vec1",
    ".to_vec2",
    ".to_vec3",
    ".to_f64()",
    ".value()",
    ".norm()",
    ".dot(",
    ".dot_per_entry(",
    ".reject_in_place(",
    ".synchronize(",
];

/// The same for `flat-nn`, `flat-core` and `flat-kernels`, where `to_f64` and `value` are conversions of one number.
const LAYERS: [&str; 10] = [
    ".to_scalar",
    ".to_vec0",
    ".to_vec1",
    ".to_vec2",
    ".to_vec3",
    ".norm()",
    ".dot_per_entry(",
    ".reject_in_place(",
    ".synchronize(",
    ".to_host()",
];

const MARK: &str = "// host read: ";

/// Every reason that is given in these files, and how often. A further read of the same kind changes the count.
const REASONS: [(&str, usize); 7] = [
    ("on the CPU", 4),
    ("the one place", 1),
    ("log interval", 2),
    ("outside of steps", 1),
    ("labels that are there already", 1),
    ("a finite gate", 1),
    ("a zero gradient changes what sap does", 1),
];

/// Reads in the crates below (`flat-nn`, `flat-core` and `flat-kernels`) that a step does not come to on another device than the CPU, as
/// they are written there.
const ELSEWHERE: [(&str, &str, &str); 8] = [
    ("flat-nn/src/scope.rs", "moments.to_host()", "after the way of other devices has returned"),
    ("flat-nn/src/scope.rs", "let old: Vec<f64> = buffer.", "likewise"),
    ("flat-nn/src/scope.rs", "let seen: i64 = tracked.", "likewise"),
    ("flat-nn/src/ops/moments.rs", "let row = |i| stats.get(i)?", "moments for whoever asks for them on the host"),
    ("flat-nn/src/value.rs", "let host = |t: &Tensor|", "running statistics as constants: evaluation, not training"),
    ("flat-nn/src/model.rs", "let zeros: f64 = t.", "weights that are loaded have to be finite"),
    (
        "flat-nn/src/tape/pullback.rs",
        "let number = value.",
        "`loss_and_gradient` returns a number; the trainer does not call it",
    ),
    ("flat-kernels/src/cuda/parameters.rs", "let mut found = out.to_host()?;", "sums a parameter, for reports"),
];

/// Files whose functions return host numbers by contract: that they are called from a step is what `STEP` is searched for.
const BY_CONTRACT: [&str; 2] = ["flat-core/src/vector.rs", "flat-nn/src/checkpoint.rs"];

/// Every source file under a folder.
fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn layers_and_vectors_read_from_the_device_only_where_it_is_known_to_be_no_step() {
    let crates = top().join("crates");
    let mut files = Vec::new();
    ["flat-nn/src", "flat-core/src", "flat-kernels/src"]
        .iter()
        .for_each(|folder| sources(&crates.join(folder), &mut files));
    assert!(files.len() > 30, "{} files", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let name = path.strip_prefix(&crates).expect("below crates").display().to_string();
        let text = std::fs::read_to_string(&path).expect("a source file");
        if BY_CONTRACT.contains(&name.as_str()) {
            continue;
        }
        for (number, line, mark) in code(&text) {
            let read = LAYERS.iter().any(|read| line.contains(read)) && mark.is_none();
            if read && !ELSEWHERE.iter().any(|(file, text, _)| name == *file && line.contains(text)) {
                wrong.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "a step may come to these reads:\n{}", wrong.join("\n"));
}

/// The code of a file without comments and without its tests, line by line, with the mark of each line.
fn code(text: &str) -> impl Iterator<Item = (usize, &str, Option<&str>)> {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().enumerate().map(|(i, line)| {
        let (code, mark) = match line.split_once(MARK) {
            Some((code, why)) => (code, Some(why.trim())),
            None => (line, None),
        };
        (i + 1, code.split("//").next().unwrap_or_default(), mark)
    })
}

fn reads(line: &str) -> bool {
    READS.iter().any(|read| line.contains(read))
}

#[test]
fn no_line_of_a_step_reads_from_the_device_without_saying_why() {
    let mut found = BTreeMap::<String, usize>::new();
    let mut wrong = Vec::new();
    for file in STEP {
        let text = std::fs::read_to_string(top().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        for (number, line, mark) in code(&text) {
            match (reads(line), mark) {
                (true, None) => wrong.push(format!("{file}:{number}: reads without a reason: {}", line.trim())),
                (false, Some(why)) => wrong.push(format!("{file}:{number}: a reason ({why}) but no read")),
                (true, Some(why)) => *found.entry(why.to_string()).or_default() += 1,
                (false, None) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let expected = REASONS.iter().map(|(why, n)| (why.to_string(), *n)).collect::<BTreeMap<_, _>>();
    assert_eq!(found, expected, "the reads of a step are counted here, so that a new one is a decision");
}

#[test]
fn every_source_file_of_rules_and_bases_is_looked_at() {
    for folder in ["crates/flat-optim/src/rule", "crates/flat-optim/src/base"] {
        for entry in std::fs::read_dir(top().join(folder)).expect(folder) {
            let name = format!("{folder}/{}", entry.expect("an entry").file_name().to_string_lossy());
            assert!(STEP.contains(&name.as_str()) || name.ends_with("rule/config.rs"), "{name} is not in STEP");
        }
    }
}

#[test]
fn the_search_finds_reads_and_passes_over_comments_and_tests() {
    let text = "let x = t.to_scalar::<f64>()?;\n// t.to_vec1() in words\nlet n = g.norm()?; // host read: because\nok();\n\
                #[cfg(test)]\nmod tests { fn f() { t.to_vec2() } }\n";
    let found: Vec<_> = code(text).filter(|(_, line, _)| reads(line)).map(|(i, _, mark)| (i, mark)).collect();
    assert_eq!(found, [(1, None), (3, Some("because"))]);
}
