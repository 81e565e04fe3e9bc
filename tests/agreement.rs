//! Every rule, base and network on a device beside the CPU, in f64: the same draws, so that losses differ by rounding alone.

use crate::device::devices;
use crate::tool::{Room, step_losses, top};
use candle_core::Device;
use flat_data::{Coloring, make_colored};
use flat_nn::NetworkSpec;
use flat_nn::networks::NETWORKS;
use flat_optim::{BASES, LESS_BIASED, Need, RuleKind};
use flat_run::{Run, RunConfig, Silent};
use std::path::Path;

/// Sums in another order, grown over a few steps: as the bundle for a GPU machine bounds it.
const TOLERANCE: f64 = 1e-9;

/// Blocks of a network that is compared.
const MOST_BLOCKS: usize = 16;

/// Losses of the steps of a small run of f64.
fn losses(settings: &str, device: &str, out: &Path) -> Vec<f64> {
    let toml = format!(
        "{settings}\ndtype = 'f64'\nlr = 0.01\nschedule = 'constant'\nseed = 1\ntest-limit = 4\ntrace-probes = 0\n\
         log-steps = true\ndevice = '{device}'\n"
    );
    let config = RunConfig::from_table(&toml.parse().expect("TOML")).expect("settings");
    let run = Run::new(config).unwrap_or_else(|e| panic!("{toml}: {e}"));
    run.out(out).train(&mut Silent).unwrap_or_else(|e| panic!("{toml}: {e}"));
    step_losses(out)
}

/// Compares runs on a device with the same on the CPU; those are named, and their settings are all but the device.
fn compare(runs: impl IntoIterator<Item = (String, String)>) {
    if !devices().iter().any(Device::is_cuda) {
        println!("skipped: no device beside the CPU");
        return;
    }
    let room = Room::new();
    for (name, settings) in runs {
        let on = |device: &str| losses(&settings, device, &room.path(&format!("{name}-{device}")));
        let (here, there) = (on("cpu"), on("cuda"));
        assert!(!here.is_empty() && here.len() == there.len(), "{name}: {here:?} on the CPU, {there:?} beside it");
        let apart = here.iter().zip(&there).map(|(a, b)| (a - b).abs() / a.abs()).fold(0.0, f64::max);
        assert!(apart <= TOLERANCE, "{name}: {apart} apart: {here:?} on the CPU, {there:?} beside it");
    }
}

/// A network of a few hundred weights on four batches.
fn small(data: &Path) -> String {
    let data = data.display();
    format!("model = 'mlp'\nhidden = [8]\ntrain-limit = 32\nbatch-size = 8\nsteps = 4\ndata-dir = '{data}'")
}

#[test]
fn every_rule_steps_on_a_device_as_on_the_cpu() {
    let (plain, colored) = (top().join("data"), Room::new());
    let grouped = |rule: RuleKind| rule.asks_for(Need::Source(LESS_BIASED));
    let rules: Vec<RuleKind> = RuleKind::all().collect();
    if devices().len() > 1 && rules.iter().copied().any(grouped) {
        let mnist = plain.join("mnist");
        make_colored(Coloring { correlation: 0.9, seed: 0 }, Some(&mnist), Some(&colored.path("set")))
            .expect("coloured digits");
    }
    compare(rules.iter().map(|rule| {
        let (set, at) = match grouped(*rule) {
            true => ("\ndataset = 'colored-mnist'", colored.path("set")),
            false => ("", plain.clone()),
        };
        // one eigenvector, found once: hundreds of products otherwise
        let few = if rule.asks_for(Need::Subspace) { "\nsubspace-k = 1\nsubspace-every = 4" } else { "" };
        (rule.name().to_string(), format!("optimizer = '{}'\n{}{set}{few}", rule.name(), small(&at)))
    }));
}

#[test]
fn every_base_steps_on_a_device_as_on_the_cpu() {
    let small = small(&top().join("data"));
    compare(
        BASES
            .iter()
            .map(|base| (format!("sam-{}", base.name), format!("optimizer = 'sam'\nbase = '{}'\n{small}", base.name))),
    );
}

/// Images of noise as IDX files, of a side that every network takes: VGG halves its images five times.
fn noise(dir: &Path) {
    const SIDE: u32 = 32;
    std::fs::create_dir_all(dir).expect("a folder");
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
    for (part, n) in [("train", 20), ("t10k", 10)] {
        let pixels = (0..n * SIDE * SIDE).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
        let images = words(&[0x803, n, SIDE, SIDE]).into_iter().chain(pixels).collect::<Vec<u8>>();
        let labels = words(&[0x801, n]).into_iter().chain((0..n).map(|i| (i % 10) as u8)).collect::<Vec<u8>>();
        std::fs::write(dir.join(format!("{part}-images-idx3-ubyte")), images).expect("written");
        std::fs::write(dir.join(format!("{part}-labels-idx1-ubyte")), labels).expect("written");
    }
}

#[test]
fn every_network_learns_on_a_device_as_on_the_cpu() {
    let room = Room::new();
    let data = room.path("noise");
    noise(&data);
    // the deepest networks repeat the blocks of the others
    let deep = |network: &NetworkSpec| network.stages.iter().map(|(_, blocks)| blocks).sum::<usize>() > MOST_BLOCKS;
    compare(NETWORKS.iter().filter(|network| !deep(network)).flat_map(|network| {
        let norms: &[&str] = if network.takes("norm") { &["batch", "group"] } else { &[""] };
        let data = data.display();
        norms.iter().map(move |norm| {
            let mut settings = format!(
                "optimizer = 'sam'\nmodel = '{}'\ntrain-limit = 4\nbatch-size = 2\nsteps = 2\ndataset = '{data}'",
                network.name
            );
            // one patch a quarter of the image
            let narrow = [("channels", "2".to_string()), ("norm", format!("'{norm}'")), ("patch", "16".to_string())];
            for (option, value) in narrow {
                if network.takes(option) {
                    settings.push_str(&format!("\n{option} = {value}"));
                }
            }
            (format!("{}-{norm}", network.name), settings)
        })
    }));
}
