//! The table.

use super::{Comparison, Environment, Memory, Place, Timing};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Trainable parameters.
    pub dim: usize,
    /// Gradient evaluations a step, in units of the batch.
    pub evals_per_step: f64,
    /// Floating point operations of a step's gradients: 2 a multiply-add of convolutions and fully connected layers, a
    /// gradient three forward passes.
    pub flops_per_step: f64,
    /// Peak memory of a process that does this alone.
    pub memory: Memory,
    /// Joules a step, where the machine counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joules_per_step: Option<f64>,
}

impl Row {
    /// Images a second.
    pub fn samples_per_s(&self) -> Option<f64> {
        Some(1e3 * self.place.batch_size as f64 / self.step.as_ref()?.median_ms)
    }

    /// Gradient evaluations a second.
    pub fn evals_per_s(&self) -> Option<f64> {
        Some(1e3 * self.evals_per_step / self.step.as_ref()?.median_ms)
    }

    /// GFLOP/s.
    pub fn gflops(&self) -> Option<f64> {
        Some(1e-6 * self.flops_per_step / self.step.as_ref()?.median_ms)
    }
}

/// Timings with what they depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// Machine and program.
    pub environment: Environment,
    /// GFLOP/s of a large product of matrices on each device, the best seen.
    pub peak_gflops: BTreeMap<String, f64>,
    /// What to know when reading the numbers.
    pub notes: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
    /// Beside an earlier table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Vec<Comparison>>,
}

const COLUMNS: [&str; 15] = [
    "device",
    "model",
    "optimizer",
    "batch",
    "precision",
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

impl BenchReport {
    fn cells(&self, row: &Row) -> Vec<String> {
        let p = &row.place;
        let digits = |x: f64| format!("{x:.*}", (2.0 - x.abs().max(1e-9).log10().floor()).clamp(0.0, 4.0) as usize);
        let or_dash = |x: Option<f64>| x.map_or("-".to_string(), digits);
        let pair = |x: Option<[f64; 2]>| x.map_or("-".to_string(), |[a, b]| format!("{}-{}", digits(a), digits(b)));
        let step = row.step.as_ref();
        let share =
            row.gflops().zip(self.peak_gflops.get(&p.device)).map(|(g, peak)| format!("{:.0} %", 100.0 * g / peak));
        let mut cells =
            vec![p.device.clone(), p.model.clone(), p.optimizer.clone(), p.batch_size.to_string(), p.precision.clone()];
        if let Some(why) = &row.absent {
            cells.push(format!("absent: {why}"));
            cells.resize(COLUMNS.len(), String::new());
            return cells;
        }
        cells.extend([
            or_dash(step.map(|t| t.median_ms)),
            pair(step.map(|t| t.interval_ms)),
            pair(step.map(|t| t.quartiles_ms)),
            or_dash(row.samples_per_s()),
            or_dash(row.evals_per_s()),
            or_dash(row.gflops()),
            share.unwrap_or_else(|| "-".into()),
            row.memory.host_mib.map_or("-".into(), |m| format!("{m:.0}")),
            row.memory.device_mib.map_or("-".into(), |m| format!("{m:.0}")),
            or_dash(row.joules_per_step),
        ]);
        cells
    }

    /// The table for a person.
    pub fn text(&self) -> String {
        let mut lines = vec![COLUMNS.map(String::from).to_vec()];
        lines.extend(self.rows.iter().map(|row| self.cells(row)));
        // a reason is as long as it needs to be, and makes no column wide
        let width = |i: usize| {
            let shown = lines.iter().filter(|l| !l[i].starts_with("absent: "));
            shown.map(|l| l[i].chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
        let mut out: Vec<String> = lines
            .iter()
            .map(|line| {
                let cells = line.iter().zip(&widths).enumerate().map(|(i, (cell, w))| match i < 5 {
                    true => format!("{cell:<w$}"),
                    false => format!("{cell:>w$}"),
                });
                cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
            })
            .collect();
        for (device, peak) in &self.peak_gflops {
            out.push(format!("{device}: a large product of matrices reaches {peak:.0} GFLOP/s"));
        }
        out.extend(self.notes.iter().cloned());
        out.push(self.environment.line());
        for c in self.comparison.iter().flatten() {
            out.push(c.line());
        }
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
                row.samples_per_s(),
                row.evals_per_s(),
                row.gflops(),
                row.gflops().zip(self.peak_gflops.get(&p.device)).map(|(g, peak)| g / peak),
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
