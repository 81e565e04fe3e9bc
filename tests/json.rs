//! `docs/json.md` describes every key that a command prints with `--json`, and no other.

use crate::tool::{Room, json, top};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The shapes of the document by name: their keys with the type of each, and the shapes whose keys they have too.
#[derive(Debug, Default)]
struct Shape {
    keys: BTreeMap<String, String>,
    also: Vec<String>,
}

/// Reads `### \`shape\`` headings, rows `| \`key\` | type | meaning |` and lines "Also the keys of `a`, `b`.".
fn shapes() -> BTreeMap<String, Shape> {
    let text = std::fs::read_to_string(top().join("docs/json.md")).expect("the document");
    let quoted = |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(String::from).collect() };
    let mut out: BTreeMap<String, Shape> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            name = quoted(heading).into_iter().next().expect("a shape's name in quotes");
            out.entry(name.clone()).or_default();
        } else if let Some(row) = line.strip_prefix("| `") {
            let (key, rest) = row.split_once('`').expect("a key in quotes");
            let kind = rest.split('|').nth(1).expect("a type").trim();
            let before = out.get_mut(&name).expect("a shape").keys.insert(key.into(), kind.into());
            assert!(before.is_none(), "{name}: `{key}` twice");
        } else if line.starts_with("Also the keys of ") {
            out.get_mut(&name).expect("a shape").also.extend(quoted(line));
        }
    }
    out
}

struct Check {
    shapes: BTreeMap<String, Shape>,
    /// Shape and key of what was printed.
    seen: BTreeSet<(String, String)>,
    wrong: BTreeSet<String>,
}

impl Check {
    /// The shape that has the key, and the key's type.
    fn find(&self, shape: &str, key: &str) -> Option<(String, String)> {
        let of = self.shapes.get(shape).unwrap_or_else(|| panic!("the document has no shape `{shape}`"));
        let own = of.keys.get(key).map(|kind| (shape.to_string(), kind.clone()));
        own.or_else(|| of.also.iter().find_map(|other| self.find(other, key)))
    }

    fn object(&mut self, value: &Value, shape: &str, path: &str) {
        let Some(object) = value.as_object() else {
            self.wrong.insert(format!("{path}: `{shape}` expected, not {value}"));
            return;
        };
        for (key, value) in object {
            let path = format!("{path}.{key}");
            match self.find(shape, key) {
                Some((home, kind)) => {
                    self.seen.insert((home, key.clone()));
                    self.value(value, &kind, &path);
                }
                None => {
                    self.wrong.insert(format!("{path}: not described in `{shape}`"));
                }
            }
        }
    }

    fn value(&mut self, value: &Value, kind: &str, path: &str) {
        let nested = kind.split('`').nth(1).map(String::from);
        match (value, nested) {
            (Value::Null, _) => {
                if !kind.contains("or null") {
                    self.wrong.insert(format!("{path}: null, not {kind}"));
                }
            }
            (_, Some(shape)) if kind.starts_with("list of ") => {
                value.as_array().into_iter().flatten().for_each(|one| self.object(one, &shape, path));
            }
            (_, Some(shape)) if kind.starts_with("map of ") => {
                value.as_object().into_iter().flatten().for_each(|(_, one)| self.object(one, &shape, path));
            }
            (_, Some(shape)) => self.object(value, &shape, path),
            (_, None) => {
                let fits = match kind.split([' ', ',']).next().unwrap_or_default() {
                    "number" => value.is_number(),
                    "text" => value.is_string(),
                    "true" => value.is_boolean(),
                    "list" => value.is_array(),
                    "interval" => value.as_array().is_some_and(|ends| ends.len() == 2),
                    "anything" => true,
                    _ => false,
                };
                if !fits {
                    self.wrong.insert(format!("{path}: {value} is no {kind}"));
                }
            }
        }
    }
}

#[test]
fn the_document_describes_every_key_that_is_printed_and_no_other() {
    let room = Room::new();
    let path = |name: &str| room.path(name).display().to_string();
    let run = format!(
        "train --model mlp --hidden 8 --train-limit 256 --test-limit 64 --batch-size 64 --epochs 2 --trace-probes 2 \
         --trace-examples 64 --device cpu --optimizer rsp --eps0 1e-9 --log-steps --flatness \
         trace,lambda_max,score,dimension,gradnorm --flatness-examples 64 --flatness-probes 2 --out {}",
        path("run")
    );
    let conv = format!(
        "train --model resnet20 --channels 4 --train-limit 64 --test-limit 64 --batch-size 32 --steps 2 --trace-probes 2 \
         --trace-examples 32 --device cpu --precision bf16 --out {}",
        path("conv")
    );
    let small = "--checkpoint models/sharp.safetensors --dataset mnist --limit 64";
    let (bench, page) = (path("bench.json"), path("page.html"));
    let cell = "bench --models mlp --batch-sizes 4 --optimizers sgd,sam --steps 2 --rounds 3 --devices cpu --threads 1";
    let mut check = Check { shapes: shapes(), seen: BTreeSet::new(), wrong: BTreeSet::new() };
    let mut print = |shape: &str, words: &str| {
        let value = json(words);
        check.object(&value, shape, shape);
        value
    };
    print("train", &run);
    print("train", &conv);
    let held =
        "train --model mlp --hidden 8 --train-limit 256 --validation 32 --no-test --batch-size 64 --trace-probes 0";
    print("train", &format!("{held} --epochs 2 --pause-after 2 --out {}", path("held")));
    print("train", &format!("train --resume {}", path("held")));
    let sweep = "sweep --model mlp --hidden 8 --train-limit 256 --test-limit 64 --device cpu --grid lr=0.05,0.1";
    print(
        "sweep",
        &format!("{sweep} --epochs 1 --seeds 0..2 --trace-probes 2 --trace-examples 64 --out {}", path("sweep")),
    );
    print("train", &format!("train --resume {} --epochs 3", path("run")));
    print("eval", &format!("eval {small}"));
    print("inspect", "inspect models/sharp.safetensors");
    print("inspect", &format!("inspect {}", path("run")));
    print("export", &format!("export --checkpoint {} --out {}", path("run"), path("exported.pt")));
    print("metrics trace", &format!("metrics trace --checkpoint {} --probes 2 --limit 32", path("conv")));
    print("metrics trace", &format!("metrics trace {small} --estimator perturbed-gradient --probes 4"));
    print("metrics layers", &format!("metrics layers {small} --probes 4 --max-matvecs 4"));
    print("metrics eig", &format!("metrics eig {small} --top 2 --bottom 1 --max-matvecs 20"));
    print("metrics density", &format!("metrics density {small} --probes 2 --steps 6"));
    print("metrics sharpness", &format!("metrics sharpness {small} --pairs 2 --steps 2 --starts 2"));
    print("metrics sharpness", &format!("metrics sharpness {small} --geometry adaptive-l2 --measures worst --steps 2"));
    print("metrics dimension", &format!("metrics dimension {small}"));
    print("metrics gradnorm", &format!("metrics gradnorm {small}"));
    print("metrics certify", &format!("metrics certify {small} --dtype f64 --max-gradients 20 --max-matvecs 10"));
    // so wide bounds that the flow arrives at once
    let wide = format!("--checkpoint {} --limit 16 --dtype f64 --eps 1e6 --grad-tol 10 --max-matvecs 20", path("run"));
    print("metrics certify", &format!("metrics certify {wide} --probes 4"));
    print(
        "metrics all",
        &format!("metrics all {small} --trace-probes 2 --probes 2 --steps 4 --certify --max-gradients 9"),
    );
    print("landscape", &format!("landscape {small} --axes 1 --points 3 --out {}", path("slice")));
    let eigen = format!("--directions eigen --points 2 --out {}", path("eigen"));
    print("landscape", &format!("landscape {small} {eigen}"));
    let first = print("bench", cell);
    std::fs::write(&bench, first.to_string()).expect("a file");
    print("bench", &format!("{cell} --roofline --baseline {bench}"));
    print("bench --over", &format!("{cell} --over batch,threads --over-batch 2,4 --over-threads 1"));
    print("bench --ranks", "bench --ranks --rank-threads 2 --models mlp --batch-sizes 4 --optimizers sgd --steps 5");
    print("reproduce", &format!("reproduce theory --scale smoke --out {}", path("theory")));
    print("bench", &format!("{} --devices cpu,cuda:9", cell.replace(" --devices cpu", "")));
    let runs = format!("{} {}", path("run"), path("conv"));
    print("report", &format!("report {runs} {} {} --out {page}", path("theory"), path("sweep")));
    print("data verify", "data verify mnist");
    print("data show", "data show data/mnist");
    print("data color", &format!("data color --out {}", path("colors")));
    print(
        "train",
        &format!(
            "train --dataset colored-mnist --data-dir {} --model mlp --hidden 8 --train-limit 64 --test-limit 64 --steps 2 \
             --trace-probes 0 --device cpu --out {}",
            path("colors"),
            path("groups")
        ),
    );
    print("eval", &format!("eval --checkpoint {} --limit 64", path("groups")));
    print(
        "train",
        &format!(
            "train --optimizer dom-sgd --subspace-k 2 --project-above 0.01 --model mlp --hidden 4 --train-limit 32 --test-limit 8 \
             --steps 2 --trace-probes 0 --device cpu --out {}",
            path("dom")
        ),
    );
    print(
        "train",
        &format!(
            "train --recipe mnist-99 --channels 2 --train-limit 64 --test-limit 8 --steps 1 --warmup 0 --device cpu --out {}",
            path("recipe")
        ),
    );
    print("train --dry-run", "train --dry-run --optimizer sam --validation 10 --train-limit 64 --device cpu");
    let network = "--strategy diffusion --agents 2 --model mlp --hidden 4 --train-limit 32 --test-limit 8 --device cpu";
    print("train --dry-run", &format!("train --dry-run {network}"));
    print("train", &format!("train {network} --epochs 1 --trace-probes 0 --out {}", path("network")));
    print("optimizers", "optimizers");
    print("devices", "devices");
    print("models", "models");
    print("datasets", "datasets");
    print("recipes", "recipes");
    let failed =
        crate::tool::run(&format!("{sweep} --init absent.safetensors --out {} --json --quiet", path("failed")));
    check.object(&serde_json::from_slice(&failed.stdout).expect("a board"), "sweep", "sweep");
    // steps and measures that fail: this rate leaves weights whose loss overflows
    crate::tool::run(&format!(
        "{} --steps 3 --lr 1e30 --momentum 0 --schedule constant --flatness trace --flatness-every 1 --flatness-examples 64 \
         --trace-probes 0 --log-steps --eval-every 0 --quiet --out {}",
        "train --model mlp --hidden 8 --train-limit 256 --test-limit 64 --device cpu",
        path("broken")
    ));
    let lines = ["run", "held", "broken", "dom", "network"].map(|name| crate::tool::journal(&room.path(name)));
    for line in lines.into_iter().flatten() {
        let shape = format!("{} line", line["kind"].as_str().expect("a kind"));
        check.object(&line, &shape, &shape);
    }
    assert!(check.wrong.is_empty(), "{}", check.wrong.iter().cloned().collect::<Vec<_>>().join("\n"));
    let unseen: Vec<_> = (check.shapes.iter())
        .flat_map(|(shape, of)| of.keys.keys().map(move |key| (shape.clone(), key.clone())))
        .filter(|pair| !check.seen.contains(pair))
        // a network, a machine that counts its energy, several processes
        .filter(|(shape, key)| shape != "data fetch" && key != "joules_per_step" && key != "exchange_s")
        .collect();
    assert!(unseen.is_empty(), "described and never printed: {unseen:?}");
}
