//! Times what training and measuring are made of: optimizer steps, gradients, Hessian-vector products.
//!
//! ```sh
//! cargo run --release -p flat-minima --example step_time -- --model resnet18 --batch 32 --rule sam
//! cargo run --release -p flat-minima --example step_time -- --model lenet --what hvp --steps 20
//! ```
//!
//! Prints one line of JSON: milliseconds of every step, minor page faults a step, the process's peak memory so far. With
//! `--serve` it stays and answers each line `WHAT STEPS` on its input with such a line, WHAT being `step`, `sam`,
//! `gradient`, `hvp`, `forward` or `gemm` (one product of square matrices of side 2048 a step): `benches/peer` alternates
//! with PyTorch that way. On a busy machine compare the processor time (of all threads), not the wall clock.
#![allow(clippy::disallowed_macros)] // what it prints is for whoever runs it

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use flat::core::{ParamVec, Params, Purpose, Streams};
use flat::nn::{Arch, Loss, Mode, Model, ModelConfig, Precision, networks, ops};
use flat::optim::{GradientRule, Objective, Optimizer, Plain, Query, Sam, Sample, Sgd};
use flat_train::bench::host_peak_mib;
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::time::Instant;

/// As in the command line tool.
#[global_allocator]
static ALLOCATOR: flat_train::heap::Heap = flat_train::heap::Heap::new();

const LOSS: Loss = Loss::CrossEntropy { label_smoothing: 0.0 };
/// Side of the matrices of `gemm`.
const SIDE: usize = 2048;

const USAGE: &str = "step_time [--model mlp|lenet|resnet20|resnet18|wrn-16-4] [--batch N] [--rule sgd|sam] \
                     [--what step|gradient|hvp|forward|gemm] [--precision f32|bf16] [--warm-up N] [--steps N] [--serve]";

/// The flags.
struct Args {
    arch: Arch,
    batch: usize,
    what: String,
    precision: Precision,
    warm_up: usize,
    steps: usize,
    serve: bool,
}

impl Args {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut args = Self {
            arch: networks::LENET,
            batch: 128,
            what: "step".into(),
            precision: Precision::F32,
            warm_up: 2,
            steps: 10,
            serve: false,
        };
        while let Some(flag) = words.next() {
            if flag == "--serve" {
                args.serve = true;
                continue;
            }
            let value = words.next().with_context(|| format!("{flag} needs a value: {USAGE}"))?;
            let number = || value.parse::<usize>().with_context(|| format!("{flag} {value}: not a number"));
            match flag.as_str() {
                "--model" => args.arch = value.parse()?,
                "--batch" => args.batch = number()?,
                "--warm-up" => args.warm_up = number()?,
                "--steps" => args.steps = number()?,
                "--what" => args.what = value,
                "--precision" => args.precision = value.parse()?,
                "--rule" => match value.as_str() {
                    "sgd" => args.what = "step".into(),
                    "sam" => args.what = "sam".into(),
                    _ => bail!("--rule {value}: sgd or sam"),
                },
                _ => bail!("{flag}: no such flag: {USAGE}"),
            }
        }
        ensure!(args.batch > 0, "--batch 0: give at least 1");
        Ok(args)
    }
}

/// The loss of the batch.
struct Batch<'a> {
    model: &'a Model,
    x: &'a Tensor,
    labels: &'a Tensor,
}

impl Batch<'_> {
    fn mode(query: Query) -> Mode {
        if query.update_stats { Mode::Train } else { Mode::BatchStats }
    }
}

impl Objective for Batch<'_> {
    fn rows(&self) -> usize {
        self.labels.elem_count()
    }
    fn loss(&mut self, query: Query) -> flat::optim::Result<Tensor> {
        let loss = || LOSS.mean(&self.model.logits(self.x, Self::mode(query))?, self.labels);
        loss().map_err(flat::optim::Error::objective)
    }
    fn loss_and_grad(&mut self, _: &Params, query: Query) -> flat::optim::Result<Sample> {
        let found = self.model.loss_and_gradient(LOSS, self.x, self.labels, Self::mode(query));
        let (loss, grad) = found.map_err(flat::optim::Error::objective)?;
        Sample::new(loss, grad)
    }
}

/// A model with a batch of noise, and an optimizer for each rule that was asked for.
struct Bench {
    model: Model,
    x: Tensor,
    labels: Tensor,
    direction: Option<ParamVec>,
    matrices: Option<(Tensor, Tensor)>,
    optimizers: BTreeMap<&'static str, Optimizer>,
}

impl Bench {
    fn new(arch: Arch, batch: usize) -> Result<Self> {
        let (channels, side) = if arch.in_channels == 1 { (1, 28) } else { (3, 32) };
        let config = ModelConfig {
            arch,
            in_channels: channels,
            height: side,
            width: side,
            classes: 10,
            hidden: if arch == networks::MLP { vec![256] } else { vec![] },
            ..ModelConfig::default()
        };
        let streams = Streams::new(0);
        let model = Model::new(&config, DType::F32, &Device::Cpu, &streams)?;
        let pixels = streams.at(Purpose::Test, 0).normals(batch * channels * side * side);
        let x = Tensor::from_vec(pixels, (batch, channels, side, side), &Device::Cpu)?.to_dtype(DType::F32)?;
        let labels = Tensor::from_vec((0..batch as u32).map(|i| i % 10).collect::<Vec<_>>(), batch, &Device::Cpu)?;
        Ok(Self { model, x, labels, direction: None, matrices: None, optimizers: BTreeMap::new() })
    }

    fn once(&mut self, what: &str) -> Result<()> {
        match what {
            "step" => self.step("step", Plain.into()),
            "sam" => self.step("sam", Sam::default().into()),
            "gradient" => Ok(self.model.loss_and_gradient(LOSS, &self.x, &self.labels, Mode::BatchStats).map(drop)?),
            "hvp" => {
                if self.direction.is_none() {
                    let stream = Streams::new(0).at(Purpose::Probe, 0);
                    self.direction = Some(ParamVec::sphere(self.model.params().space(), &stream)?);
                }
                let (x, labels) = (&self.x, &self.labels);
                let v = self.direction.as_ref().context("just drawn")?;
                Ok(self.model.hessian_product(LOSS, x, labels, v, Mode::BatchStats).map(drop)?)
            }
            "hvp4" => self.products(4),
            "hvp8" => self.products(8),
            "forward" => Ok(self.model.logits_no_grad(&self.x, Mode::Eval).map(drop)?),
            "gemm" => {
                if self.matrices.is_none() {
                    let draw = |i| {
                        let x = Streams::new(0).at(Purpose::Test, i).normals(SIDE * SIDE);
                        Tensor::from_vec(x, (SIDE, SIDE), &Device::Cpu)?.to_dtype(DType::F32)
                    };
                    self.matrices = Some((draw(1)?, draw(2)?));
                }
                let (a, b) = self.matrices.as_ref().context("just made")?;
                ops::linear(a, b, None)?;
                Ok(())
            }
            _ => bail!("{what}: step, sam, gradient, hvp, hvp4, hvp8, forward or gemm"),
        }
    }

    /// Hessian products with several directions at once.
    fn products(&self, directions: usize) -> Result<()> {
        let space = self.model.params().space();
        let v = |k| ParamVec::rademacher(space, &Streams::new(0).at(Purpose::Probe, k));
        let all = (0..directions as u64).map(v).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(self
            .model
            .hessian_products(LOSS, &self.x, &self.labels, &all.iter().collect::<Vec<_>>(), Mode::BatchStats)
            .map(drop)?)
    }

    fn step(&mut self, name: &'static str, rule: Box<dyn GradientRule>) -> Result<()> {
        if !self.optimizers.contains_key(name) {
            let optimizer = Optimizer::new(self.model.params(), rule, Sgd::new(1e-3).momentum(0.9))?;
            self.optimizers.insert(name, optimizer);
        }
        let optimizer = self.optimizers.get_mut(name).context("just built")?;
        let mut objective = Batch { model: &self.model, x: &self.x, labels: &self.labels };
        let report = optimizer.step(&mut objective)?;
        ensure!(report.skipped.is_none(), "the step was skipped: {:?}", report.skipped);
        Ok(())
    }

    /// `steps` steps as a line of JSON.
    fn burst(&mut self, what: &str, steps: usize) -> Result<String> {
        let (faults, processor) = (minor_faults(), processor_ms());
        let mut times = Vec::with_capacity(steps);
        for _ in 0..steps {
            let start = Instant::now();
            self.once(what)?;
            times.push(format!("{:.4}", start.elapsed().as_secs_f64() * 1e3));
        }
        let each = steps.max(1) as f64;
        Ok(format!(
            "{{\"what\": \"{what}\", \"ms\": [{}], \"processor_ms\": {:.2}, \"minor_faults\": {:.0}, \"peak_mib\": {:.1}}}",
            times.join(", "),
            (processor_ms() - processor) / each,
            (minor_faults() - faults) / each,
            host_peak_mib().unwrap_or(0.0)
        ))
    }
}

fn main() -> Result<()> {
    // SAFETY: no thread was started yet.
    unsafe { flat_train::runtime::prepare() };
    let args = Args::parse(std::env::args().skip(1))?;
    args.precision.set(&Device::Cpu)?;
    let mut bench = Bench::new(args.arch, args.batch)?;
    if !args.serve {
        bench.burst(&args.what, args.warm_up)?;
        println!("{}", bench.burst(&args.what, args.steps)?);
        return Ok(());
    }
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (what, steps) = line.split_once(' ').with_context(|| format!("`{line}`: give WHAT STEPS"))?;
        println!("{}", bench.burst(what, steps.trim().parse()?)?);
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Fields of /proc/self/stat after the command in brackets, the first being field 3 of proc(5); empty elsewhere than on
/// Linux.
fn stat(fields: &[usize]) -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let words: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.iter().filter_map(|f| words.get(f - 3)?.parse::<f64>().ok()).sum()
}

/// Page faults so far that needed no disk.
fn minor_faults() -> f64 {
    stat(&[10])
}

/// User and system time so far, which the kernel counts in ticks of 10 ms.
fn processor_ms() -> f64 {
    stat(&[14, 15]) * 10.0
}
