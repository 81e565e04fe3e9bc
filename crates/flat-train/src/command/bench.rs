//! `flat-train bench`.

use super::{alone, print, scaling};
use crate::args::{Alone, BenchSettings};
use crate::bench::{Bandwidth, BenchReport, Cell, Environment, Meter, Peak, Place, Row, Timing, of_cell, untimed};
use crate::exit::Outcome;
use anyhow::{Context, Result, anyhow, bail};
use candle_core::Device;
use flat_core::setting::Text;
use flat_plot as plot;
use flat_run::store::{write_whole, write_with_folders};
use flat_run::{Opened, Ui, check_svg, signal, usage};
use std::collections::BTreeMap;

/// A cell that is there.
struct Timed {
    row: usize,
    device: Device,
    cell: Cell,
    steps: u64,
    ms: Vec<f64>,
    joules: f64,
}

/// Times every cell and prints the table.
pub(super) fn run(args: &BenchSettings, alone: Alone, ui: Ui, json: bool) -> Result<Outcome> {
    check(args)?;
    if args.ranks {
        return super::network::run(args, ui, json);
    }
    let numbered = args.devices.iter().map(|choice| Text(choice.0.numbered())).collect();
    let args = &BenchSettings { devices: numbered, ..args.clone() };
    let mut devices: BTreeMap<String, Result<Device, String>> = BTreeMap::new();
    for choice in &args.devices {
        // the flag has another name here
        let opened = Opened::new(choice.0).map_err(|e| anyhow!(e.to_string().replace("--device ", "--devices ")));
        match opened {
            Err(e) if args.devices.len() == 1 => return Err(e),
            Err(e) => drop(devices.insert(choice.to_string(), Err(format!("{e:#}")))),
            Ok(found) => drop(devices.insert(choice.to_string(), Ok(found.device))),
        }
    }
    let there: Vec<Device> = devices.values().filter_map(|d| d.as_ref().ok().cloned()).collect();
    for device in &there {
        args.precision.set(device).map_err(|e| usage(format!("--precision {}: {e}", args.precision)))?;
    }
    match (alone.part, &there[..]) {
        (Some(part), [device]) => return alone::run(args, part, alone.channels, device, json),
        (None, [device]) if !args.over.is_empty() => return scaling::run(args, device, ui, json),
        _ => {}
    }
    let mut report = BenchReport {
        environment: Environment::here(&there),
        peak_gflops: BTreeMap::new(),
        bandwidth_gb_s: BTreeMap::new(),
        notes: Vec::new(),
        rows: Vec::new(),
        comparison: None,
    };
    let baseline = args.baseline.as_deref().map(BenchReport::baseline).transpose()?;
    let Some(mut timed) = prepare(args, &devices, &mut report, ui)? else { return Ok(Outcome::Interrupted) };
    if !measure(args, &mut timed, &mut report, ui)? {
        return Ok(Outcome::Interrupted);
    }
    for Timed { row, cell, ms, joules, steps, .. } in timed {
        (report.rows[row].evals_per_step, report.rows[row].flops_per_step) =
            (cell.evals_per_step(), cell.flops_per_step());
        let bursts = ms.len() as f64;
        report.rows[row].step = Timing::of(ms, steps);
        report.rows[row].joules_per_step = (joules > 0.0).then(|| joules / (bursts * steps as f64));
        report.rows[row].bytes_per_step = cell.bytes_per_step();
    }
    report.conclude(baseline.as_ref());
    if let Some(file) = &args.csv {
        write_whole(&std::path::absolute(file)?, report.csv().as_bytes())?;
    }
    if let Some(file) = &args.plot {
        draw(&report, file)?;
    }
    print(json, &report, || report.text())
}

fn check(args: &BenchSettings) -> Result<()> {
    if let Some(file) = &args.csv {
        let whole = std::path::absolute(file)?;
        if whole.is_dir() || whole.parent().is_some_and(|folder| !folder.is_dir()) {
            return Err(usage(format!("--csv {}: name a file in a folder that is there", file.display())));
        }
    }
    // among others it is a row that says so
    if let [optimizer] = &args.optimizers[..]
        && let Some(why) = untimed(optimizer.0)
    {
        return Err(usage(format!("--optimizers {optimizer}: {why}; time another one")));
    }
    args.plot.as_ref().map_or(Ok(()), |file| check_svg("--plot", file))?;
    if args.over.is_empty() || args.ranks { Ok(()) } else { scaling::check(args) }
}

/// Builds and warms every cell and measures its memory; a row for each. `None` where a signal asked to stop.
fn prepare(
    args: &BenchSettings,
    devices: &BTreeMap<String, Result<Device, String>>,
    report: &mut BenchReport,
    ui: Ui,
) -> Result<Option<Vec<Timed>>> {
    let cells = args.devices.len() * args.models.len() * args.optimizers.len() * args.batch_sizes.len();
    let mut bar = ui.bar("preparing", 0, cells as u64, "cells");
    let mut timed = Vec::new();
    for choice in &args.devices {
        for (arch, batch_size) in args.models.iter().flat_map(|m| args.batch_sizes.iter().map(move |b| (*m, *b))) {
            for optimizer in &args.optimizers {
                if signal::stop_requested() {
                    return Ok(None);
                }
                let place = Place {
                    device: choice.to_string(),
                    model: arch.to_string(),
                    optimizer: optimizer.to_string(),
                    batch_size,
                    precision: args.precision.to_string(),
                };
                bar.update(report.rows.len() as u64, || format!("{arch} {optimizer} {batch_size}"));
                let mut row = Row::of(place);
                if let Some(why) = untimed(optimizer.0) {
                    row.absent = Some(format!("{optimizer} is not timed: {why}"));
                    report.rows.push(row);
                    continue;
                }
                match devices.get(&choice.to_string()) {
                    Some(Ok(device)) => {
                        let Some(memory) = of_cell(&row.place).context("measuring memory")? else { return Ok(None) };
                        row.memory = memory;
                        let mut cell = Cell::new(arch, None, optimizer.0, batch_size, device)?;
                        row.dim = cell.dim();
                        let steps = cell.steps_of_burst(args.steps, args.seconds / f64::from(args.rounds))?;
                        cell.count_anew();
                        let (row, device) = (report.rows.len(), device.clone());
                        timed.push(Timed { row, device, cell, steps, ms: Vec::new(), joules: 0.0 });
                    }
                    Some(Err(why)) => row.absent = Some(why.clone()),
                    None => bail!("--devices {choice}: not opened"),
                }
                report.rows.push(row);
            }
        }
    }
    Ok(Some(timed))
}

/// The bursts, those of different cells in turns, with a product of matrices on each device in every round. False where
/// a signal asked to stop.
fn measure(args: &BenchSettings, timed: &mut [Timed], report: &mut BenchReport, ui: Ui) -> Result<bool> {
    let mut peaks = BTreeMap::new();
    let mut copies = BTreeMap::new();
    let mut meters = BTreeMap::new();
    for t in timed.iter() {
        let name = report.rows[t.row].place.device.clone();
        if !peaks.contains_key(&name) {
            peaks.insert(name.clone(), Peak::new(&t.device)?);
            if args.roofline {
                copies.insert(name.clone(), Bandwidth::new(&t.device)?);
            }
            match Meter::of(&t.device) {
                Ok(meter) => drop(meters.insert(name, meter)),
                Err(why) => report.notes.push(format!("{name}: energy is not available: {why}")),
            }
        }
    }
    let rounds = u64::from(args.rounds);
    let mut bar = ui.bar("timing", 0, rounds * timed.len() as u64, "bursts");
    let mut done = 0;
    for _ in 0..rounds {
        for (name, peak) in &peaks {
            let best = report.peak_gflops.entry(name.clone()).or_insert(0.0);
            *best = best.max(peak.measure()?);
        }
        for (name, copy) in &mut copies {
            let best = report.bandwidth_gb_s.entry(name.clone()).or_insert(0.0);
            *best = best.max(copy.measure()?);
        }
        for t in timed.iter_mut() {
            if signal::stop_requested() {
                return Ok(false);
            }
            let place = &report.rows[t.row].place;
            bar.update(done, || format!("{} {} {} {}", place.device, place.model, place.optimizer, place.batch_size));
            let meter = meters.get(&place.device);
            let before = meter.map(Meter::read);
            let seconds = t.cell.burst(t.steps)?;
            if let (Some(meter), Some(before)) = (meter, before) {
                t.joules += meter.joules(&before, &meter.read(), seconds * t.steps as f64);
            }
            t.ms.push(1e3 * seconds);
            done += 1;
        }
    }
    // a burst that a signal cut short has no time
    Ok(!signal::stop_requested())
}

fn draw(report: &BenchReport, file: &std::path::Path) -> Result<()> {
    let mut models: Vec<&str> = report.rows.iter().map(|r| r.place.model.as_str()).collect();
    models.dedup();
    let several = models.len() > 1;
    let bar = |row: &Row| {
        let (p, t) = (&row.place, row.step.as_ref()?);
        let group = models.iter().position(|m| *m == p.model).unwrap_or_default();
        let name = format!("{} {} {} b{}", p.device, p.model, p.optimizer, p.batch_size);
        let per_image = |ms: f64| 1e3 * ms / p.batch_size as f64;
        // images as the common measure of models and batch sizes
        Some(plot::Bar { name, group, value: per_image(t.median_ms), interval: t.interval_ms.map(per_image) })
    };
    let bars: Vec<plot::Bar> = report.rows.iter().filter_map(bar).collect();
    let caption = format!("{}; black: interval of the median", report.environment.line());
    let title = if several { "Training step, by model" } else { "Training step" };
    let svg = plot::bars(title, &caption, "microseconds an image", &bars)?;
    write_with_folders(file, svg.as_bytes())
}
