//! What is printed for a person fits eighty columns, whatever it is of.

use crate::tool::{Room, SMALL, json, run, top};

/// Lines that a terminal of eighty columns would break, but for single words that are longer.
fn too_long(text: &str) -> Vec<&str> {
    let broken =
        |line: &&str| line.chars().count() > 80 && line.split_whitespace().all(|word| word.chars().count() < 77);
    text.lines().filter(broken).collect()
}

#[test]
fn results_fit_eighty_columns() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!(
        "train --model lenet --channels 4 --train-limit 512 --test-limit 256 --optimizer rsp --epochs 1 --trace-probes 4 \
         --trace-examples 64 --out {}",
        out.display()
    ));
    let checkpoint = format!("--checkpoint {}", out.display());
    let sweep = room.path("sweep");
    let swept = format!(
        "{} --grid lr=0.05,0.1 --grid rho=0.001,0.05 --seeds 0..2 --optimizer sam --validation 128 --steps 4 --flatness \
         trace,lambda_max --trace-probes 2 --out {}",
        SMALL.replacen("train", "sweep", 1).replace(" --trace-probes 0", ""),
        sweep.display()
    );
    let commands = [
        format!("train --resume {}", out.display()),
        format!("{SMALL} --dry-run"),
        format!("eval {checkpoint}"),
        format!("metrics trace {checkpoint} --probes 4 --limit 64"),
        format!("metrics trace {checkpoint} --probes 1 --limit 64 --estimator perturbed-loss"),
        format!("metrics layers {checkpoint} --probes 4 --limit 64"),
        format!("metrics eig {checkpoint} --limit 64"),
        format!("metrics density {checkpoint} --limit 64 --probes 2"),
        format!("metrics sharpness {checkpoint} --limit 64 --m 32"),
        format!("metrics gradnorm {checkpoint} --limit 64"),
        format!("metrics all {checkpoint} --limit 64"),
        swept,
        "bench --devices cpu --models lenet,resnet20 --optimizers sgd,entropy-sgd --batch-sizes 8 --rounds 2 --roofline".into(),
        "bench --models resnet20 --optimizers sam --batch-sizes 4 --steps 1 --rounds 1 --over depth --over-depth resnet110".into(),
        "devices".into(),
        "optimizers".into(),
        "models".into(),
        "datasets".into(),
        "recipes".into(),
        format!("data verify mnist --data-dir {}", top().join("data").display()),
    ];
    for words in commands {
        let done = run(&format!("{words} --quiet"));
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success() && !text.is_empty(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(too_long(&text), Vec::<&str>::new(), "{words}\n{text}");
    }
}
