//! `flat-train bench --ranks`.

use super::print;
use crate::args::BenchSettings;
use crate::bench::{Cell, Place, RanksReport, measure_ranks, untimed};
use crate::exit::Outcome;
use anyhow::Result;
use candle_core::Device;
use flat_comm::{Ranks, Threads};
use flat_run::{DeviceChoice, Ui, ranks, signal, usage};

/// Measures exchanges and prints what they predict.
pub(super) fn run(args: &BenchSettings, ui: Ui, json: bool) -> Result<Outcome> {
    ranks::agree(check(args))?;
    let mut bar = ui.bar("timing", 0, 1, "networks");
    bar.update(0, || "exchanges".into());
    let report = match args.rank_threads {
        None => measured(args, &ranks::here())?,
        Some(size) => {
            let threads = (rayon::current_num_threads() / size).max(1);
            let of_threads = Threads::run(size, |engine| {
                // a rank has a pool of its own, in which it works: the process' only worker may be the thread that waits for all
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build()?;
                pool.install(|| measured(args, &Ranks::new(engine)))
            });
            of_threads.into_iter().next().ok_or_else(|| usage("--rank-threads: none ran"))??
        }
    };
    match report {
        None => Ok(Outcome::Interrupted),
        Some(report) => print(json, &report, || report.text()),
    }
}

fn check(args: &BenchSettings) -> Result<()> {
    let unused = [
        (args.baseline.is_some(), "baseline"),
        (args.csv.is_some(), "csv"),
        (args.plot.is_some(), "plot"),
        (args.roofline, "roofline"),
        (!args.over.is_empty(), "over"),
    ];
    if let Some((_, name)) = unused.iter().find(|(given, _)| *given) {
        return Err(usage(format!("--{name} has no effect with --ranks: leave out one of them")));
    }
    if args.devices.iter().any(|device| device.0 != DeviceChoice::Cpu) {
        return Err(usage("--ranks times exchanges between main memories: leave out --devices"));
    }
    if let Some((name, why)) = args.optimizers.iter().find_map(|o| Some((o, untimed(o.0)?))) {
        return Err(usage(format!("--optimizers {name}: {why}; leave it out")));
    }
    match (ranks::here().is_alone(), args.rank_threads) {
        (true, None) => Err(usage(
            "--ranks: this process is alone; start it by mpirun -n 2 flat-train bench --ranks, or give --rank-threads 2",
        )),
        (false, Some(_)) => Err(usage("--rank-threads: several processes were started; leave it out")),
        _ => Ok(()),
    }
}

/// `None` where a signal asked to stop.
fn measured(args: &BenchSettings, ranks: &Ranks) -> Result<Option<RanksReport>> {
    args.precision.set(&Device::Cpu).map_err(|e| usage(format!("--precision {}: {e}", args.precision)))?;
    let mut cells = Vec::new();
    for arch in &args.models {
        for batch_size in &args.batch_sizes {
            for optimizer in &args.optimizers {
                let place = Place {
                    device: "cpu".into(),
                    model: arch.to_string(),
                    optimizer: optimizer.to_string(),
                    batch_size: *batch_size,
                    precision: args.precision.to_string(),
                };
                cells.push((place, *arch, optimizer.0));
            }
        }
    }
    let cells = cells.into_iter().map(|(place, arch, optimizer)| {
        let batch_size = place.batch_size;
        Ok((place, Cell::new(arch, None, optimizer, batch_size, &Device::Cpu)?))
    });
    let report = measure_ranks(ranks, cells, args.seconds, args.steps)?;
    // a burst that a signal cut short has no time
    Ok((!ranks.any(signal::stop_requested())?).then_some(report))
}
