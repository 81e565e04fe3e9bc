//! The rows of a benchmark, as text, CSV and JSON.

use super::{Comparison, Environment, Memory, Place, Roof, Timing, compare};
use anyhow::Result;
use flat_run::usage;
use flat_run::value::table::{Table, item};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The rates of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Images a second.
    pub samples_per_s: f64,
    /// Gradient evaluations a second.
    pub evals_per_s: f64,
    /// GFLOP/s.
    pub gflops: f64,
    /// The same as a fraction of the device's matrix product; above 1 where an algorithm needs fewer operations.
    pub peak_fraction: Option<f64>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which cell.
    #[serde(flatten)]
    pub place: Place,
    /// Why there is no timing: the device is absent, or the memory was too small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<String>,
    /// Milliseconds a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Timing>,
    /// What that amounts to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
    /// Trainable parameters.
    pub dim: usize,
    /// Gradient evaluations a step, in units of the batch, as the optimizer announces them.
    pub evals_per_step: f64,
    /// Floating point operations of a step's gradients: 2 a multiply-add of convolutions and fully connected layers, a
    /// gradient three forward passes. Of the work done: with BatchNorm, one example's gradient takes its whole batch.
    pub flops_per_step: f64,
    /// Bytes that they read and write; part of the roof in what is printed.
    #[serde(skip)]
    pub bytes_per_step: f64,
    /// The roof over it, with `--roofline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roof: Option<Roof>,
    /// Peak memory of a process that does this alone.
    pub memory: Memory,
    /// Joules a step, where the machine counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joules_per_step: Option<f64>,
}

impl Row {
    /// A cell of which nothing is known yet.
    pub fn of(place: Place) -> Self {
        Self {
            place,
            absent: None,
            step: None,
            rates: None,
            dim: 0,
            evals_per_step: 0.0,
            flops_per_step: 0.0,
            bytes_per_step: 0.0,
            roof: None,
            memory: Memory::default(),
            joules_per_step: None,
        }
    }

    /// Fills in the rates and the roof, once the time of a step is known; `peak` is the device's in GFLOP/s, `bandwidth` in
    /// GB/s.
    pub fn rate(&mut self, peak: Option<f64>, bandwidth: Option<f64>) {
        self.rates = self.step.as_ref().map(|step| {
            let a_second = 1e3 / step.median_ms;
            let gflops = 1e-9 * self.flops_per_step * a_second;
            Rates {
                samples_per_s: self.place.batch_size as f64 * a_second,
                evals_per_s: self.evals_per_step * a_second,
                gflops,
                peak_fraction: peak.map(|peak| gflops / peak),
            }
        });
        if let (Some(rates), Some(peak), Some(bandwidth)) = (&self.rates, peak, bandwidth) {
            let work = [self.flops_per_step, self.bytes_per_step];
            self.roof = Some(Roof::over(work, rates.gflops, [peak, bandwidth]));
        }
    }
}

/// The timings of a benchmark with their environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// Machine and program.
    pub environment: Environment,
    /// GFLOP/s of a large product of matrices on each device, the best seen.
    pub peak_gflops: BTreeMap<String, f64>,
    /// GB/s of a copy on each device, its reads and its writes, the best seen; with `--roofline`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bandwidth_gb_s: BTreeMap<String, f64>,
    /// What to know when reading the numbers.
    pub notes: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
    /// Beside an earlier table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Vec<Comparison>>,
}

const COLUMNS: [&str; 11] = [
    "cell",
    "step ms",
    "interval",
    "quartiles",
    "images/s",
    "evals/s",
    "GFLOP/s",
    "of peak",
    "host MiB",
    "GPU MiB",
    "J/step",
];

/// Device, model, optimizer, batch size and precision.
fn cell(Place { device, model, optimizer, batch_size, precision }: &Place) -> String {
    format!("{device} {model} {optimizer} {batch_size} {precision}")
}

/// A number with three digits.
pub(super) fn digits(x: f64) -> String {
    format!("{x:.*}", (2.0 - x.abs().max(1e-9).log10().floor()).clamp(0.0, 4.0) as usize)
}

/// That intervals cover less than they should, where they do.
pub(super) fn doubt<'a>(times: impl Iterator<Item = &'a Timing>) -> Option<String> {
    let coverage = times.map(|t| t.coverage).fold(1.0, f64::min);
    let percent = 100.0 * coverage;
    (coverage < 0.95)
        .then(|| format!("intervals cover the median with {percent:.0} % only; --rounds 6 or more for 95 %"))
}

impl BenchReport {
    /// Reads what `bench --json` printed.
    ///
    /// # Errors
    /// A file that is missing or something else: a usage error that names `--baseline`.
    pub fn baseline(file: &Path) -> Result<Self> {
        let read = || {
            Ok::<_, anyhow::Error>(serde_json::from_slice::<Self>(&flat_core::file::read(
                file,
                flat_core::file::TEXT,
            )?)?)
        };
        let report = read().map_err(|e| {
            usage(format!("--baseline {}: not what `flat-train bench --json` prints: {e:#}", file.display()))
        })?;
        let sound = |t: &Timing| t.median_ms > 0.0 && t.interval_ms[0] > 0.0 && t.interval_ms[1] >= t.interval_ms[0];
        match report.rows.iter().filter_map(|r| r.step.as_ref()).all(sound) {
            true => Ok(report),
            false => Err(usage(format!("--baseline {}: times in it are not above 0", file.display()))),
        }
    }

    /// Sets the rates and the comparison, and notes what else there is to know about them.
    pub fn conclude(&mut self, baseline: Option<&Self>) {
        for row in &mut self.rows {
            let of = |rates: &BTreeMap<String, f64>| rates.get(&row.place.device).copied();
            let (peak, bandwidth) = (of(&self.peak_gflops), of(&self.bandwidth_gb_s));
            row.rate(peak, bandwidth);
        }
        self.notes.extend(doubt(self.rows.iter().filter_map(|r| r.step.as_ref())));
        let Some(then) = baseline else { return };
        self.notes.extend(self.environment.differences(&then.environment).iter().map(|d| format!("baseline: {d}")));
        let (found, timed) = (compare(self, then), |r: &&Row| r.step.is_some());
        let alone = then.rows.iter().filter(timed).count().saturating_sub(found.len());
        if alone > 0 {
            self.notes.push(format!("baseline: {alone} cells of it were not timed now"));
        }
        let new = self.rows.iter().filter(timed).count().saturating_sub(found.len());
        if new > 0 {
            self.notes.push(format!("baseline: it lacks {new} of the cells"));
        }
        self.comparison = Some(found);
    }

    fn cells(row: &Row) -> Vec<String> {
        let or_dash = |x: Option<f64>| x.map_or("-".to_string(), digits);
        let pair = |x: Option<[f64; 2]>| x.map_or("-".to_string(), |[a, b]| format!("{}-{}", digits(a), digits(b)));
        let step = row.step.as_ref();
        let rates = row.rates.as_ref();
        let share = rates.and_then(|r| r.peak_fraction).map(|share| format!("{:.0} %", 100.0 * share));
        if row.absent.is_some() {
            return vec![cell(&row.place), "absent".into()];
        }
        vec![
            cell(&row.place),
            or_dash(step.map(|t| t.median_ms)),
            pair(step.map(|t| t.interval_ms)),
            pair(step.map(|t| t.quartiles_ms)),
            or_dash(rates.map(|r| r.samples_per_s)),
            or_dash(rates.map(|r| r.evals_per_s)),
            or_dash(rates.map(|r| r.gflops)),
            share.unwrap_or_else(|| "-".into()),
            row.memory.host_mib.map_or("-".into(), |m| format!("{m:.0}")),
            row.memory.device_mib.map_or("-".into(), |m| format!("{m:.0}")),
            or_dash(row.joules_per_step),
        ]
    }

    /// The table for a person.
    pub fn text(&self) -> String {
        let mut table = Table::new(1, COLUMNS);
        self.rows.iter().for_each(|row| table.row(Self::cells(row)));
        let mut out = vec![table.text()];
        let absent = |row: &Row| Some(item(&format!("{}: absent: {}", cell(&row.place), row.absent.as_ref()?)));
        out.extend(self.rows.iter().filter_map(absent));
        let roofs =
            || self.rows.iter().filter_map(|row| Some((cell(&row.place), row.flops_per_step, row.roof.as_ref()?)));
        if roofs().next().is_some() {
            out.push(Roof::table(roofs()));
        }
        for (device, bandwidth) in &self.bandwidth_gb_s {
            out.push(format!("{device}: a copy reads and writes {bandwidth:.0} GB/s"));
        }
        for (device, peak) in &self.peak_gflops {
            out.push(format!("{device}: a large product of matrices reaches {peak:.0} GFLOP/s"));
        }
        out.extend(self.notes.iter().map(|note| item(note)));
        out.push(item(&self.environment.line()));
        out.extend(self.comparison.iter().flatten().map(|compared| item(&compared.line())));
        out.join("\n")
    }

    /// The table as CSV; what is unknown is empty.
    pub fn csv(&self) -> String {
        let mut out = String::from(
            "device,model,optimizer,batch_size,precision,step_ms,interval_low_ms,interval_high_ms,quartile_1_ms,quartile_3_ms,\
             samples_per_s,evals_per_s,gflops,peak_fraction,host_peak_mib,device_peak_mib,joules_per_step,absent\n",
        );
        for row in &self.rows {
            let (p, step) = (&row.place, row.step.as_ref());
            let numbers = [
                step.map(|t| t.median_ms),
                step.map(|t| t.interval_ms[0]),
                step.map(|t| t.interval_ms[1]),
                step.map(|t| t.quartiles_ms[0]),
                step.map(|t| t.quartiles_ms[1]),
                row.rates.map(|r| r.samples_per_s),
                row.rates.map(|r| r.evals_per_s),
                row.rates.map(|r| r.gflops),
                row.rates.and_then(|r| r.peak_fraction),
                row.memory.host_mib,
                row.memory.device_mib,
                row.joules_per_step,
            ];
            let numbers = numbers.map(|x| x.map_or(String::new(), |x| x.to_string())).join(",");
            let absent = row.absent.as_ref().map_or(String::new(), |a| format!("\"{}\"", a.replace('"', "\"\"")));
            let Place { device, model, optimizer, batch_size, precision } = p;
            out.push_str(&format!("{device},{model},{optimizer},{batch_size},{precision},{numbers},{absent}\n"));
        }
        out
    }
}
