//! How the cost of a step scales: times and peak memory along axes, with exponents and the roof.

use super::table::{digits, doubt};
use super::{Axis, Environment, Memory, Row, Timing, Variant, around_median};
use flat_metrics::quantile;
use flat_run::value::table::{Table, item};
use serde::{Deserialize, Serialize};

/// What a process found of one burst.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Burst {
    /// Milliseconds a step.
    pub ms: f64,
    /// Steps.
    pub steps: u64,
    /// Trainable parameters.
    pub dim: usize,
    /// Gradient evaluations a step.
    pub evals_per_step: f64,
    /// Floating point operations of a step's gradients.
    pub flops_per_step: f64,
    /// Bytes that they read and write.
    pub bytes_per_step: f64,
    /// Peak memory of the process.
    pub memory: Memory,
}

/// The rates that a number of threads allows, the best seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Allowed {
    /// Threads.
    pub threads: usize,
    /// GFLOP/s of a large product of matrices.
    pub peak_gflops: f64,
    /// GB/s of a copy, its reads and its writes.
    pub bandwidth_gb_s: f64,
}

/// A cell at one place of the axes.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// The axes that it lies on.
    pub over: Vec<Axis>,
    /// Channels of the first convolution; `None` for a network that takes none.
    pub channels: Option<usize>,
    /// Blocks of all stages.
    pub blocks: usize,
    /// Threads of the kernels.
    pub threads: usize,
    /// Time, rates, roof, and the medians of peak memory over the bursts.
    #[serde(flatten)]
    pub row: Row,
    /// Confidence interval of the median of peak memory: the GPU's, or the host's on a CPU.
    pub memory_interval_mib: Option<[f64; 2]>,
    /// What it is a variant of.
    #[serde(skip)]
    pub variant: Variant,
    /// Its bursts, a round each.
    #[serde(skip)]
    pub bursts: Vec<Burst>,
}

/// How a cost grows along an axis: the exponent of its power law, by least squares in logarithms.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exponent {
    /// Along which.
    pub axis: Axis,
    /// Of which optimizer.
    pub optimizer: &'static str,
    /// Of `time` or `memory`.
    pub of: &'static str,
    /// Median over the rounds.
    pub exponent: f64,
    /// Confidence interval of the median.
    pub interval: [f64; 2],
}

/// Times and memory along the axes, with their environment.
#[derive(Debug, Clone, Serialize)]
pub struct ScalingReport {
    /// Machine and program.
    pub environment: Environment,
    /// The rates of the machine, by the number of threads.
    pub allowed: Vec<Allowed>,
    /// What to know when reading the numbers.
    pub notes: Vec<String>,
    /// The points, of every optimizer along every axis.
    pub points: Vec<Point>,
    /// How time and memory grow.
    pub exponents: Vec<Exponent>,
}

/// Peak memory that counts: of the GPU, else of the host.
fn mib(memory: &Memory) -> Option<f64> {
    memory.device_mib.or(memory.host_mib)
}

/// Exponent of a power law through pairs of numbers above 0; `None` where all are at one place.
fn exponent(pairs: &[(f64, f64)]) -> Option<f64> {
    let n = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(|pair| of(pair).ln()).sum::<f64>() / n;
    let (x, y) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let along = |to: fn(&(f64, f64)) -> f64, from: f64| {
        pairs.iter().map(|pair| (pair.0.ln() - x) * (to(pair).ln() - from)).sum::<f64>()
    };
    let square = along(|pair| pair.0, x);
    (square > 0.0).then(|| along(|pair| pair.1, y) / square)
}

impl Point {
    /// Time, work and memory, from the bursts.
    fn sum_up(&mut self, allowed: &[Allowed]) {
        let Some(first) = self.bursts.first() else { return };
        self.row.dim = first.dim;
        let row = &mut self.row;
        (row.evals_per_step, row.flops_per_step) = (first.evals_per_step, first.flops_per_step);
        row.bytes_per_step = first.bytes_per_step;
        row.step = Timing::of(self.bursts.iter().map(|burst| burst.ms).collect(), first.steps);
        let ordered = |of: fn(&Memory) -> Option<f64>| {
            let mut all: Vec<f64> = self.bursts.iter().filter_map(|burst| of(&burst.memory)).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let median = |all: Vec<f64>| (!all.is_empty()).then(|| quantile(&all, 0.5));
        row.memory =
            Memory { host_mib: median(ordered(|m| m.host_mib)), device_mib: median(ordered(|m| m.device_mib)) };
        self.memory_interval_mib = around_median(&ordered(mib)).map(|(ends, _)| ends);
        let rates = allowed.iter().find(|rates| rates.threads == self.threads);
        row.rate(rates.map(|r| r.peak_gflops), rates.map(|r| r.bandwidth_gb_s));
    }

    /// Milliseconds that a step takes at least, by its roof.
    pub fn bound_ms(&self) -> Option<f64> {
        self.row.roof.as_ref().map(|roof| 1e-6 * self.row.flops_per_step / roof.gflops)
    }

    /// Median of the peak memory that counts.
    pub fn mib(&self) -> Option<f64> {
        mib(&self.row.memory)
    }

    fn cells(&self, name: String) -> Vec<String> {
        let or_dash = |x: Option<f64>| x.map_or("-".to_string(), digits);
        let (step, rates) = (self.row.step.as_ref(), self.row.rates.as_ref());
        let interval = step.map(|t| t.interval_ms.map(digits).join("-"));
        let share = self.row.roof.as_ref().map(|roof| format!("{:.0} %", 100.0 * roof.fraction));
        vec![
            name,
            or_dash(step.map(|t| t.median_ms)),
            interval.unwrap_or_else(|| "-".into()),
            or_dash(self.bound_ms()),
            share.unwrap_or_else(|| "-".into()),
            or_dash(rates.map(|r| r.samples_per_s)),
            or_dash(rates.map(|r| r.gflops)),
            self.mib().map_or("-".into(), |m| format!("{m:.0}")),
        ]
    }
}

impl ScalingReport {
    /// Sums up the bursts of all points and finds how costs grow.
    pub fn conclude(&mut self) {
        for point in &mut self.points {
            point.sum_up(&self.allowed);
        }
        self.notes.extend(doubt(self.points.iter().filter_map(|point| point.row.step.as_ref())));
        self.exponents = self.curves().into_iter().flat_map(|(axis, points)| exponents(axis, &points)).collect();
    }

    /// The points along each axis, optimizer by optimizer, in the order of the axis.
    pub fn curves(&self) -> Vec<(Axis, Vec<&Point>)> {
        let mut out: Vec<(Axis, Vec<&Point>)> = Vec::new();
        for axis in Axis::ALL.iter().copied() {
            for point in self.points.iter().filter(|point| point.over.contains(&axis)) {
                match out.iter_mut().find(|(a, all)| *a == axis && all[0].variant.optimizer == point.variant.optimizer)
                {
                    Some((_, curve)) => curve.push(point),
                    None => out.push((axis, vec![point])),
                }
            }
        }
        for (axis, curve) in &mut out {
            curve.sort_by_key(|point| axis.value(&point.variant));
        }
        out
    }

    /// The tables for a person, one an axis.
    pub fn text(&self) -> String {
        let (curves, mut out) = (self.curves(), Vec::new());
        for axis in Axis::ALL.iter().copied().filter(|axis| curves.iter().any(|(a, _)| a == axis)) {
            let heads = ["step ms", "interval", "roof ms", "of roof", "images/s", "GFLOP/s", "MiB"];
            let mut table = Table::new(1, std::iter::once(axis.name()).chain(heads));
            for point in curves.iter().filter(|(a, _)| *a == axis).flat_map(|(_, points)| points) {
                table.row(point.cells(format!("{} {}", axis.word(&point.variant), point.variant.optimizer)));
            }
            out.push(table.text());
            let of_axis = self.exponents.iter().filter(|e| e.axis == axis);
            out.extend(of_axis.map(|e| item(&e.line())));
            out.push(String::new());
        }
        for Allowed { threads, peak_gflops, bandwidth_gb_s } in &self.allowed {
            out.push(item(&format!(
                "threads {threads}: a product of matrices reaches {peak_gflops:.0} GFLOP/s, a copy {bandwidth_gb_s:.0} GB/s"
            )));
        }
        out.extend(self.notes.iter().map(|note| item(note)));
        out.push(item(&self.environment.line()));
        out.join("\n")
    }
}

/// The exponents of time and memory of a curve, each from its rounds.
fn exponents(axis: Axis, curve: &[&Point]) -> Vec<Exponent> {
    let rounds = curve.iter().map(|point| point.bursts.len()).min().unwrap_or(0);
    let of = |name: &'static str, cost: fn(&Burst) -> Option<f64>| {
        let round = |i: usize| {
            let pair = |point: &&Point| Some((axis.value(&point.variant) as f64, cost(&point.bursts[i])?));
            exponent(&curve.iter().map(pair).collect::<Option<Vec<_>>>()?)
        };
        let mut all = (0..rounds).map(round).collect::<Option<Vec<f64>>>()?;
        all.sort_by(f64::total_cmp);
        let (interval, _) = around_median(&all)?;
        let optimizer = curve.first()?.variant.optimizer;
        Some(Exponent { axis, optimizer, of: name, exponent: quantile(&all, 0.5), interval })
    };
    let costs = [of("time", |burst| Some(burst.ms)), of("memory", |burst| mib(&burst.memory))];
    costs.into_iter().flatten().collect()
}

impl Exponent {
    /// One line.
    fn line(&self) -> String {
        let doubled = |x: f64| format!("{:.2}", x.exp2());
        let [low, high] = self.interval.map(doubled);
        let Self { axis, optimizer, of, exponent, .. } = self;
        format!("{optimizer}: {} times the {of} at twice the {axis} ({low}-{high})", doubled(*exponent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_of_a_power_law_is_found_and_one_place_has_none() {
        let law = |p: f64| [1.0f64, 2.0, 8.0].map(|x| (x, 3.0 * x.powf(p)));
        for p in [-0.5, 0.0, 1.0, 2.5] {
            assert!(exponent(&law(p)).is_some_and(|found| (found - p).abs() < 1e-12), "{p}");
        }
        assert_eq!(exponent(&[(2.0, 1.0), (2.0, 5.0)]), None);
        assert_eq!(exponent(&[]), None);
    }
}
