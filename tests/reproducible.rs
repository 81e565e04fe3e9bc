//! One seed, one result.

use crate::tool::{Room, SMALL, bytes, json};

fn weights(flags: &str) -> Vec<u8> {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --epochs 2 {flags} --out {}", out.display()));
    bytes(&out.join("model.safetensors"))
}

#[test]
fn the_same_seed_gives_identical_weights_and_another_seed_others() {
    for optimizer in ["sgd", "sam", "rsp", "sap", "nso", "adamw"] {
        let flags = format!("--optimizer {optimizer}");
        let first = weights(&flags);
        assert!(first == weights(&flags), "{optimizer}: two runs of one seed differ");
        assert!(first != weights(&format!("{flags} --seed 1")), "{optimizer}: the seed changes nothing");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let lenet = "--model lenet --optimizer sam --train-limit 256 --epochs 1";
    let room = Room::new();
    let run = |threads| {
        let out = room.path(threads);
        json(&format!("train {lenet} --test-limit 64 --trace-probes 0 --threads {threads} --out {}", out.display()));
        bytes(&out.join("model.safetensors"))
    };
    assert!(run("1") == run("2"), "one thread and two threads differ");
}

#[test]
fn the_configuration_written_by_a_run_re_runs_it() {
    let room = Room::new();
    let (a, b) = (room.path("a"), room.path("b"));
    json(&format!(
        "{SMALL} --epochs 1 --optimizer rsp --rho 0.3 --eps0 2 --plain-lr 0.1 --micro-batch 32 --ema 0.9 --clip 1 \
         --schedule step --warmup 3 --augment crop,flip --label-smoothing 0.1 --out {}",
        a.display()
    ));
    json(&format!("train --config {}/config.toml --out {}", a.display(), b.display()));
    assert!(bytes(&a.join("model.safetensors")) == bytes(&b.join("model.safetensors")));
    assert!(bytes(&a.join("config.toml")) == bytes(&b.join("config.toml")));
}
