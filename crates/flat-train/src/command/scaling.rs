//! `flat-train bench --over`.

use super::print;
use crate::args::BenchSettings;
use crate::bench::{
    Allowed, Axis, Burst, Environment, Part, Point, Row, ScalingReport, Variant, blocks, family, untimed,
};
use crate::exit::Outcome;
use crate::runtime::cores;
use anyhow::{Context, Result};
use candle_core::Device;
use flat_plot as plot;
use flat_run::store::write_with_folders;
use flat_run::{DeviceChoice, Ui, usage};
use std::path::Path;

/// Measures every point in processes of its own, in rounds, and prints how costs grow.
pub(super) fn run(args: &BenchSettings, device: &Device, ui: Ui, json: bool) -> Result<Outcome> {
    let mut report = ScalingReport {
        environment: Environment::here(std::slice::from_ref(device)),
        allowed: Vec::new(),
        notes: vec!["every burst is a process of its own, those of different points in turns".into()],
        points: Vec::new(),
        exponents: Vec::new(),
    };
    let place = |variant: &Variant| variant.place(&args.devices[0].to_string(), &args.precision.to_string());
    for (over, variant) in variants(args, report.environment.threads)? {
        report.points.push(Point {
            over,
            channels: variant.channels,
            blocks: blocks(variant.arch),
            threads: variant.threads,
            row: Row::of(place(&variant)),
            memory_interval_mib: None,
            variant,
            bursts: Vec::new(),
        });
    }
    if measure(args, &mut report, ui)?.is_none() {
        return Ok(Outcome::Interrupted);
    }
    report.conclude();
    if let Some(file) = &args.plot {
        draw(&report, file)?;
    }
    print(json, &report, || report.text())
}

/// Refuses what cannot be varied, before any time is spent.
pub(super) fn check(args: &BenchSettings) -> Result<()> {
    let unused = [(args.baseline.is_some(), "baseline"), (args.csv.is_some(), "csv"), (args.roofline, "roofline")];
    if let Some((_, name)) = unused.iter().find(|(given, _)| *given) {
        return Err(usage(format!("--{name} has no effect with --over: leave out one of them")));
    }
    let lists =
        [("devices", args.devices.len()), ("models", args.models.len()), ("batch-sizes", args.batch_sizes.len())];
    if let Some((name, n)) = lists.iter().find(|(_, n)| *n != 1) {
        return Err(usage(format!("--{name}: --over varies one cell of each optimizer, and {n} were given: give one")));
    }
    if let Some((name, why)) = args.optimizers.iter().find_map(|o| Some((o, untimed(o.0)?))) {
        return Err(usage(format!("--optimizers {name}: {why}; leave it out")));
    }
    variants(args, 1).map(drop)
}

/// Every point with the axes that it lies on; `threads` are those of a point whose threads are not varied.
fn variants(args: &BenchSettings, threads: usize) -> Result<Vec<(Vec<Axis>, Variant)>> {
    let mut out: Vec<(Vec<Axis>, Variant)> = Vec::new();
    for optimizer in &args.optimizers {
        let arch = args.models[0];
        let base = Variant { arch, optimizer: optimizer.0, batch_size: args.batch_sizes[0], channels: None, threads };
        for axis in args.over.iter().copied() {
            for variant in along(args, axis, &base.of(arch))? {
                match out.iter_mut().find(|(_, known)| *known == variant) {
                    Some((over, _)) if over.contains(&axis) => {}
                    Some((over, _)) => over.push(axis),
                    None => out.push((vec![axis], variant)),
                }
            }
        }
    }
    Ok(out)
}

/// The variants of a cell along an axis.
fn along(args: &BenchSettings, axis: Axis, base: &Variant) -> Result<Vec<Variant>> {
    let arch = base.arch;
    let with = |values: &[usize], set: fn(&mut Variant, usize)| {
        let one = |value: &usize| {
            let mut variant = base.clone();
            set(&mut variant, *value);
            variant
        };
        Ok(values.iter().map(one).collect())
    };
    match axis {
        Axis::Batch => with(&args.over_batch, |v, n| v.batch_size = n),
        Axis::Width if base.channels.is_none() => {
            Err(usage(format!("--over width: {arch} has no channels to vary: leave width out, or --models resnet20")))
        }
        Axis::Width => with(&args.over_width, |v, n| v.channels = Some(n)),
        Axis::Depth => {
            let given = if args.over_depth.is_empty() { family(arch) } else { &args.over_depth };
            match given.iter().find(|arch| blocks(**arch) == 0) {
                Some(flat) => Err(usage(format!("--over-depth {flat}: it has no blocks to count: leave it out"))),
                None if given.is_empty() => Err(usage(format!(
                    "--over depth: {arch} has no family of depths: name networks by --over-depth, or --models resnet20"
                ))),
                None => Ok(given.iter().map(|arch| base.of(*arch)).collect()),
            }
        }
        Axis::Threads if args.devices[0].0 != DeviceChoice::Cpu => Err(usage(format!(
            "--over threads: a GPU has its own: leave threads out for --devices {}",
            args.devices[0]
        ))),
        Axis::Threads if args.over_threads.is_empty() => with(&to_the_cores(cores()), |v, n| v.threads = n),
        Axis::Threads => with(&args.over_threads, |v, n| v.threads = n),
    }
}

/// Powers of two below the number of cores, and that.
fn to_the_cores(cores: usize) -> Vec<usize> {
    let powers = std::iter::successors(Some(1), |n| Some(2 * n));
    powers.take_while(|n| *n < cores).chain([cores]).collect()
}

/// The bursts of all points in turns, with the rates of every number of threads in each round; `None` where a signal asked
/// to stop.
fn measure(args: &BenchSettings, report: &mut ScalingReport, ui: Ui) -> Result<Option<()>> {
    let rounds = u64::from(args.rounds);
    let mut bar = ui.bar("timing", 0, rounds * report.points.len() as u64, "bursts");
    let mut threads: Vec<usize> = report.points.iter().map(|point| point.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    let mut done = 0;
    for _ in 0..rounds {
        for n in &threads {
            bar.update(done, || format!("rates of {n} threads"));
            let device = [("devices", args.devices[0].to_string()), ("precision", args.precision.to_string())];
            let flags = [&device[..], &[("threads", n.to_string())]].concat();
            let Some(rates) = Part::Rates.ask::<Allowed>(&flags)? else { return Ok(None) };
            match report.allowed.iter_mut().find(|best| best.threads == *n) {
                Some(best) => {
                    best.peak_gflops = best.peak_gflops.max(rates.peak_gflops);
                    best.bandwidth_gb_s = best.bandwidth_gb_s.max(rates.bandwidth_gb_s);
                }
                None => report.allowed.push(Allowed { threads: *n, ..rates }),
            }
        }
        for point in &mut report.points {
            let Variant { arch, optimizer, batch_size, channels, threads } = &point.variant;
            let wide = channels.map_or(String::new(), |n| format!(" of {n} channels"));
            let name = format!("{arch}{wide} {optimizer} {batch_size}, {threads} threads");
            bar.update(done, || name.clone());
            let mut flags = point.row.place.flags();
            flags.push(("threads", threads.to_string()));
            flags.extend(channels.map(|n| ("alone-channels", n.to_string())));
            // all bursts of a point have the steps of its first
            flags.extend(match (args.steps, point.bursts.first()) {
                (Some(steps), _) => vec![("steps", steps.to_string())],
                (None, Some(first)) => vec![("steps", first.steps.to_string())],
                (None, None) => vec![("seconds", args.seconds.to_string()), ("rounds", args.rounds.to_string())],
            });
            let Some(burst) = Part::Burst.ask::<Burst>(&flags).context(name)? else { return Ok(None) };
            point.bursts.push(burst);
            done += 1;
        }
    }
    Ok(Some(()))
}

/// A row of charts for each axis: time with the roof's bound, and peak memory.
fn draw(report: &ScalingReport, file: &Path) -> Result<()> {
    let curves = report.curves();
    let mut charts = Vec::new();
    for axis in Axis::ALL.iter().copied() {
        let of_axis: Vec<&[&Point]> = curves.iter().filter(|(a, _)| *a == axis).map(|(_, all)| &all[..]).collect();
        let series = |name, dashed, points: &[&Point], y: &dyn Fn(&Point) -> Option<plot::Ranged>| {
            let point = |point: &&Point| {
                let (y, band) = y(point)?;
                Some(plot::Point { x: axis.value(&point.variant) as f64, y, band })
            };
            plot::Series { name, points: points.iter().filter_map(point).collect(), dashed }
        };
        let (mut time, mut memory) = (Vec::new(), Vec::new());
        for points in of_axis {
            let Some(name) = points.first().map(|point| point.variant.optimizer) else { continue };
            let step = |point: &Point| point.row.step.as_ref().map(|t| (t.median_ms, Some(t.interval_ms)));
            time.push(series(name, false, points, &step));
            time.push(series("its roof", true, points, &|point| Some((point.bound_ms()?, None))));
            memory.push(series(name, false, points, &|point| Some((point.mib()?, point.memory_interval_mib))));
        }
        let on = |label| plot::Axis { label, logarithmic: true };
        for (label, series) in [("ms a step", time), ("peak MiB", memory)] {
            if series.iter().any(|one| !one.points.is_empty()) {
                charts.push(plot::Panel { x: on(axis.label()), y: on(label), series });
            }
        }
    }
    let caption = format!("{}; bars: intervals of the median", report.environment.line());
    let svg = plot::panels("How the cost of a step scales", &caption, &charts)?;
    write_with_folders(file, svg.as_bytes())
}
