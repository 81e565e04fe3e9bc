//! Exchanges between ranks: what they take here, and the efficiency of a step that they predict.

use super::{Cell, Environment, Place};
use anyhow::{Context, Result};
use candle_core::{DType, Device};
use flat_comm::cost::{Network, StepWork};
use flat_comm::{Error, Incoming, Outgoing, Ranks, SumOrder, Tree};
use flat_core::{Layout, ParamVec, Space};
use flat_metrics::quantile;
use flat_run::value::table::{Table, item};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// Ranks that are predicted for.
const PREDICTED: [usize; 7] = [2, 4, 8, 16, 64, 256, 1000];
/// Short messages at once, whose time beyond that of one is the processor's.
const MANY: usize = 65;
/// Standard deviations between the quartiles of a normal distribution.
const QUARTILES_APART: f64 = 1.349;
/// Seconds that the times of one kind of exchange may take in all.
const SECONDS: f64 = 0.5;

/// What a step of a cell takes on one rank, with exchanges, and on other numbers of ranks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankedCell {
    /// Which cell; the batch is that of one rank.
    #[serde(flatten)]
    pub place: Place,
    /// Trainable parameters.
    pub dim: usize,
    /// Milliseconds of a step without exchanges, while the other ranks take one as well.
    pub step_ms: f64,
    /// Standard deviation of a step's time, relative to it, from the quartiles.
    pub spread: f64,
    /// Gradients that a step sums over ranks.
    pub exchanges: f64,
    /// Milliseconds of a sum in the tree's order.
    pub sum_ms: f64,
    /// The same by the engine's own sum, where it has one.
    pub engine_sum_ms: Option<f64>,
    /// Gigabytes a second that go out of a rank in such a sum.
    pub gb_s: f64,
    /// Time of a step without exchanges over that of one with them, as measured here.
    pub efficiency: f64,
    /// What the cost model says.
    pub predicted: Vec<Prediction>,
}

/// The cost model on a number of ranks; every rank has the same batch as here.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prediction {
    /// How many ranks.
    pub ranks: usize,
    /// Milliseconds of a sum.
    pub sum_ms: f64,
    /// Efficiency against one rank.
    pub efficiency: f64,
}

/// A measured network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RanksReport {
    /// Machine and program of the first rank.
    pub environment: Environment,
    /// What carries the bytes.
    pub engine: String,
    /// How many ranks there are.
    pub ranks: usize,
    /// Microseconds until a short message is there.
    pub latency_us: f64,
    /// Microseconds of the processor for a message.
    pub message_us: f64,
    /// The cells.
    pub cells: Vec<RankedCell>,
}

/// The time of what all ranks do together: on each rank the median, of these the longest.
fn together(ranks: &Ranks, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let timed = |work: &mut dyn FnMut() -> Result<()>| {
        ranks.any(false)?;
        let begun = Instant::now();
        work()?;
        anyhow::Ok(begun.elapsed().as_secs_f64())
    };
    let longest = |own: f64| anyhow::Ok(ranks.gather(ranks.size(), 1, &[own])?.into_iter().fold(0.0, f64::max));
    timed(&mut work)?;
    let one = longest(timed(&mut work)?)?;
    let times = ((SECONDS / one.max(1e-9)) as usize).clamp(5, 1000);
    let mut taken = (0..times).map(|_| timed(&mut work)).collect::<Result<Vec<f64>>>()?;
    taken.sort_by(f64::total_cmp);
    longest(quantile(&taken, 0.5))
}

/// Latency, and the processor's time for a message, from one and many short messages to the next rank.
fn short_messages(ranks: &Ranks) -> Result<Network> {
    let (next, before) = ((ranks.rank() + 1) % ranks.size(), (ranks.rank() + ranks.size() - 1) % ranks.size());
    let of = |count: usize| {
        let mut rooms = [[0u8; 8]; MANY];
        together(ranks, || {
            let out: Vec<_> = (0..count).map(|_| Outgoing { to: next, bytes: &[7; 8] }).collect();
            let mut into: Vec<_> =
                rooms.iter_mut().take(count).map(|room| Incoming { from: before, bytes: &mut room[..] }).collect();
            Ok(ranks.engine().exchange(&out, &mut into)?)
        })
    };
    let (one, many) = (of(1)?, of(MANY)?);
    let message_s = ((many - one) / (MANY - 1) as f64).max(0.0);
    Ok(Network { latency_s: (one - message_s).max(0.0), message_s, byte_s: 0.0 })
}

/// A vector that is summed again and again. Its zeros take as long as other numbers and never overflow.
struct Summed {
    space: Space,
    own: Vec<ParamVec>,
}

impl Summed {
    fn new(dim: usize) -> Result<Self> {
        let layout = Arc::new(Layout::new([("x".into(), dim.into())])?);
        let space = Space { layout, dtype: DType::F32, device: Device::Cpu };
        Ok(Self { own: vec![ParamVec::zeros(&space)?], space })
    }

    fn sum(&mut self, ranks: &Ranks) -> flat_comm::Result<()> {
        let (own, space) = (std::mem::take(&mut self.own), &self.space);
        self.own = vec![ranks.sum(Tree::over(ranks.size()), own, || ParamVec::zeros(space))?];
        Ok(())
    }
}

/// Times a cell with and without exchanges on all ranks at once, for so many seconds.
fn ranked_cell(
    ranks: &Ranks,
    short: Network,
    place: Place,
    mut cell: Cell,
    seconds: f64,
    steps: Option<u64>,
) -> Result<RankedCell> {
    let (size, dim) = (ranks.size(), cell.dim());
    let bytes = (size_of::<f32>() * dim) as f64;
    let mut vector = Summed::new(dim)?;
    let sum_s = together(ranks, || Ok(vector.sum(ranks)?))?;
    let fast = ranks.clone().adding(SumOrder::Engine);
    let engine_sum_s = match vector.sum(&fast) {
        Err(Error::NoSum { .. }) => None,
        other => {
            other?;
            Some(together(ranks, || Ok(vector.sum(&fast)?))?)
        }
    };
    if engine_sum_s.is_none() {
        vector = Summed::new(dim)?;
    }
    cell.burst(1)?;
    cell.count_anew();
    let first = cell.burst(1)?;
    let first = ranks.gather(size, 1, &[first])?.into_iter().fold(0.0, f64::max);
    let times = steps.unwrap_or((seconds / (2.0 * (first + sum_s)).max(1e-9)) as u64).clamp(5, 10_000);
    let exchanges = cell.evals_per_step().ceil();
    let (mut alone, mut with) = (Vec::new(), Vec::new());
    for _ in 0..times {
        ranks.any(false)?;
        alone.push(cell.burst(1)?);
        ranks.any(false)?;
        let begun = Instant::now();
        cell.burst(1)?;
        (0..exchanges as u64).try_for_each(|_| vector.sum(ranks))?;
        with.push(begun.elapsed().as_secs_f64());
    }
    alone.sort_by(f64::total_cmp);
    with.sort_by(f64::total_cmp);
    let own = [quantile(&alone, 0.5), quantile(&alone, 0.75) - quantile(&alone, 0.25), quantile(&with, 0.5)];
    let all = ranks.gather(size, own.len(), &own)?;
    let mean = |i: usize| all.iter().skip(i).step_by(own.len()).sum::<f64>() / size as f64;
    let (step_s, apart, with_s) = (mean(0), mean(1), mean(2));
    let work = StepWork { step_s, exchanges, bytes, spread: apart / QUARTILES_APART / step_s };
    let network = short.with_sum(size, bytes, sum_s);
    let predict = |ranks: usize| Prediction {
        ranks,
        sum_ms: 1e3 * network.sum_s(ranks, bytes),
        efficiency: network.efficiency(ranks, &work),
    };
    let mut predicted: Vec<usize> = PREDICTED.into_iter().chain([size]).collect();
    predicted.sort_unstable();
    predicted.dedup();
    Ok(RankedCell {
        place,
        dim,
        step_ms: 1e3 * step_s,
        spread: work.spread,
        exchanges,
        sum_ms: 1e3 * sum_s,
        engine_sum_ms: engine_sum_s.map(|s| 1e3 * s),
        gb_s: 1e-9 * 2.0 * (size - 1) as f64 / size as f64 * bytes / sum_s,
        efficiency: step_s / with_s,
        predicted: predicted.into_iter().map(predict).collect(),
    })
}

impl RanksReport {
    /// The table for a person.
    pub fn text(&self) -> String {
        let here = format!("here ({})", self.ranks);
        let mut sums = Table::new(1, ["cell", "step ms", "spread", "sum ms", "engine's ms", "GB/s", "efficiency"]);
        let percent = |x: f64| format!("{:.1} %", 100.0 * x);
        let name = |cell: &RankedCell| {
            let Place { model, optimizer, batch_size, .. } = &cell.place;
            format!("{model} {optimizer} {batch_size}")
        };
        for cell in &self.cells {
            sums.row([
                name(cell),
                format!("{:.3}", cell.step_ms),
                percent(cell.spread),
                format!("{:.3}", cell.sum_ms),
                cell.engine_sum_ms.map_or("-".into(), |ms| format!("{ms:.3}")),
                format!("{:.2}", cell.gb_s),
                percent(cell.efficiency),
            ]);
        }
        let numbers: Vec<usize> =
            self.cells.first().map(|cell| cell.predicted.iter().map(|p| p.ranks).collect()).unwrap_or_default();
        let heads = std::iter::once("predicted".to_string())
            .chain(numbers.iter().map(|n| if *n == self.ranks { here.clone() } else { format!("{n} ranks") }));
        let mut predicted = Table::new(1, heads);
        for cell in &self.cells {
            predicted.row(std::iter::once(name(cell)).chain(cell.predicted.iter().map(|p| percent(p.efficiency))));
        }
        let messages = format!(
            "a short message takes {:.1} us, and {:.2} us of the processor for each more",
            self.latency_us + self.message_us,
            self.message_us
        );
        [
            sums.text(),
            predicted.text(),
            item(&format!("{} ranks of {}; {messages}", self.ranks, self.engine)),
            item("the batch is that of one rank: efficiency is its time without exchanges over that with them"),
            item("predicted for a network like the one between these ranks; ranks that share a port share its bytes"),
            item(&self.environment.line()),
        ]
        .join("\n")
    }
}

/// Measures all cells on these ranks; the same on each, but for the environment.
///
/// # Errors
/// A cell's; the engine's.
pub fn measure_ranks(
    ranks: &Ranks,
    cells: impl IntoIterator<Item = Result<(Place, Cell)>>,
    seconds: f64,
    steps: Option<u64>,
) -> Result<RanksReport> {
    let short = short_messages(ranks)?;
    let cells = cells
        .into_iter()
        .map(|cell| {
            let (place, cell) = cell?;
            let context = format!("{} {}", place.model, place.optimizer);
            ranked_cell(ranks, short, place, cell, seconds, steps).context(context)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RanksReport {
        environment: Environment::here(&[]),
        engine: ranks.engine().name(),
        ranks: ranks.size(),
        latency_us: 1e6 * short.latency_s,
        message_us: 1e6 * short.message_s,
        cells,
    })
}
