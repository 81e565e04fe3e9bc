//! The parts of `flat-train bench` that a process does alone for another one.

use super::print;
use crate::args::BenchSettings;
use crate::bench::{Allowed, Bandwidth, Burst, Cell, Memory, Part, Peak};
use crate::exit::Outcome;
use anyhow::Result;
use candle_core::Device;
use flat_run::{signal, usage};

/// Products and copies of which the best counts.
const TRIES: usize = 4;

/// Does the part and prints it; nothing but the status where a signal asked to stop.
pub(super) fn run(
    args: &BenchSettings,
    part: Part,
    channels: Option<usize>,
    device: &Device,
    json: bool,
) -> Result<Outcome> {
    if part == Part::Rates {
        return rates(device, json);
    }
    let ([arch], [optimizer], [batch_size]) = (&args.models[..], &args.optimizers[..], &args.batch_sizes[..]) else {
        return Err(usage("--alone is for one cell: give one of --models, --optimizers, --batch-sizes"));
    };
    let mut cell = Cell::new(*arch, channels, optimizer.0, *batch_size, device)?;
    if part == Part::Memory {
        cell.burst(2)?;
        let memory = Memory::here(device);
        return print(json, &memory, || format!("{memory:?}"));
    }
    let steps = cell.steps_of_burst(args.steps, args.seconds / f64::from(args.rounds))?;
    cell.count_anew();
    let seconds = cell.burst(steps)?;
    if signal::stop_requested() {
        return Ok(Outcome::Interrupted);
    }
    let burst = Burst {
        ms: 1e3 * seconds,
        steps,
        dim: cell.dim(),
        evals_per_step: cell.evals_per_step(),
        flops_per_step: cell.flops_per_step(),
        bytes_per_step: cell.bytes_per_step(),
        memory: Memory::here(device),
    };
    print(json, &burst, || format!("{burst:?}"))
}

/// The best of a few, as the first copy is the first to touch its pages.
fn rates(device: &Device, json: bool) -> Result<Outcome> {
    let (peak, mut copy) = (Peak::new(device)?, Bandwidth::new(device)?);
    let mut allowed = Allowed { threads: rayon::current_num_threads(), peak_gflops: 0.0, bandwidth_gb_s: 0.0 };
    for _ in 0..TRIES {
        allowed.peak_gflops = allowed.peak_gflops.max(peak.measure()?);
        allowed.bandwidth_gb_s = allowed.bandwidth_gb_s.max(copy.measure()?);
    }
    print(json, &allowed, || format!("{allowed:?}"))
}
