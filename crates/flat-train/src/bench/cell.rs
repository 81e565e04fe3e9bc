//! One cell of a benchmark: a training step of one model by one optimizer.

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use flat_core::setting::{Value, Values};
use flat_core::{Purpose, Streams};
use flat_data::{Batch, DatasetKind};
use flat_nn::{Arch, Loss, Model, ModelConfig};
use flat_optim::{Need, Optimizer, PendingStep, parse_optimizer};
use flat_run::parts::{BatchLoss, Kept, Tally, model_config};
use flat_run::signal;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Steps of the run that rules are told of.
const STEPS: u64 = 1000;
/// The longest cycle of steps that is looked for.
const MOST_CYCLE: u64 = 100;
const LOSS: Loss = Loss::CrossEntropy { label_smoothing: 0.0 };

/// The place of a cell in the table: device, model, optimizer, batch size, precision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Device.
    pub device: String,
    /// Model.
    pub model: String,
    /// Optimizer.
    pub optimizer: String,
    /// Images a step.
    pub batch_size: usize,
    /// Arithmetic of the products.
    pub precision: String,
}

impl Place {
    /// The flags of `bench` that name this cell alone.
    pub(crate) fn flags(&self) -> Vec<(&'static str, String)> {
        vec![
            ("devices", self.device.clone()),
            ("models", self.model.clone()),
            ("optimizers", self.optimizer.clone()),
            ("batch-sizes", self.batch_size.to_string()),
            ("precision", self.precision.clone()),
        ]
    }
}

/// A model, an optimizer and a batch of noise, ready to step.
pub struct Cell {
    model: Model,
    optimizer: Optimizer,
    batch: Batch,
    device: Device,
    tally: Tally,
    /// Gradient evaluations of the last bursts, in units of the batch, and the steps that took them.
    evals: f64,
    steps: u64,
    /// Steps after which those of the rule are alike again.
    cycle: u64,
}

/// Why no cell times this optimizer, in words; `None` where one does.
pub fn untimed(optimizer: &str) -> Option<&'static str> {
    let subspace = parse_optimizer(optimizer).is_ok_and(|(rule, _)| rule.asks_for(Need::Subspace));
    subspace.then_some("its time is that of Hessian products over a training set, which a bench does not have")
}

impl Cell {
    /// Builds it; the images are noise, because the time of a step does not depend on them. `channels` are those of the
    /// first convolution in place of the network's own.
    ///
    /// # Errors
    /// An unknown optimizer; a width that the network cannot take; candle's.
    pub fn new(
        arch: Arch,
        channels: Option<usize>,
        optimizer: &str,
        batch_size: usize,
        device: &Device,
    ) -> Result<Self> {
        let data = if arch.in_channels == 1 { DatasetKind::Mnist } else { DatasetKind::Cifar10 };
        let config = ModelConfig { channels, ..model_config(arch, data) };
        let streams = Streams::new(0);
        let model = Model::new(&config, DType::F32, device, &streams)?;
        let (rule, base) = parse_optimizer(optimizer)?;
        // a small rate, so that thousands of steps on noise stay finite
        let options = Values::of([("lr", Value::Number(1e-4))]);
        let rule = rule.build(&options)?;
        let cycle = match rule.mean_evals(batch_size) {
            mean if mean == rule.evals_per_step(batch_size) => 1,
            mean => {
                let whole = |x: f64| (x - x.round()).abs() < 1e-9;
                (1..=MOST_CYCLE).find(|steps| whole(mean * *steps as f64)).unwrap_or(1)
            }
        };
        let optimizer = Optimizer::builder(model.params())
            .rule(rule)
            .base(base.unwrap_or_default().build(&options)?)
            .examples(data.examples[0] as u64)
            .steps(STEPS)
            .build()?;
        let shape = (batch_size, config.in_channels, config.height, config.width);
        let pixels = streams.at(Purpose::Test, 0).normals(shape.0 * shape.1 * shape.2 * shape.3);
        let images = Tensor::from_vec(pixels, shape, &Device::Cpu)?.to_dtype(DType::F32)?.to_device(device)?;
        let labels = (0..batch_size).map(|i| (i % config.classes) as u32).collect::<Vec<_>>();
        let labels = Tensor::from_vec(labels, batch_size, device)?;
        let batch = Batch { images, labels, indices: (0..batch_size).collect() };
        Ok(Self {
            model,
            optimizer,
            batch,
            device: device.clone(),
            tally: Tally::default(),
            evals: 0.0,
            steps: 0,
            cycle,
        })
    }

    /// Steps so many times and waits for the device; seconds a step. Ends early where a signal asked to stop.
    ///
    /// # Errors
    /// A step that was skipped, whose time would mean nothing; candle's.
    pub fn burst(&mut self, steps: u64) -> Result<f64> {
        self.device.synchronize()?;
        let started = Instant::now();
        let mut taken = Vec::with_capacity(steps as usize);
        for _ in 0..steps {
            if signal::stop_requested() {
                break;
            }
            // as a run does: a step that is skipped leaves BatchNorm's statistics alone
            let kept = Kept::of(&self.model)?;
            let mut loss = BatchLoss::new(&self.model, LOSS, &self.batch, &mut self.tally).repeating();
            let pending = self.optimizer.launch(&mut loss)?;
            if let Some(flag) = pending.taken() {
                kept.put_back_unless(flag)?;
            }
            taken.push(pending);
            self.tally.unread();
        }
        self.steps += taken.len() as u64;
        self.evals += taken.iter().map(PendingStep::evals).sum::<f64>();
        let reports = self.optimizer.read(taken)?;
        self.device.synchronize()?;
        let seconds = started.elapsed().as_secs_f64() / steps.max(1) as f64;
        match reports.iter().find_map(|r| r.skipped.as_ref()) {
            Some(why) => bail!("a step was skipped: {why}"),
            None => Ok(seconds),
        }
    }

    /// Warms it up, and says how many steps a burst has. They are given, or as many as take so many seconds, at least one.
    ///
    /// # Errors
    /// As [`Self::burst`].
    pub fn steps_of_burst(&mut self, given: Option<u64>, seconds: f64) -> Result<u64> {
        self.burst(2)?;
        if let Some(steps) = given {
            return Ok(steps);
        }
        let step = self.burst(2)?.min(self.burst(2)?);
        Ok(self.whole_cycles((seconds / step).round().max(1.0) as u64))
    }

    /// The least number of steps, `steps` or more, over which the rule costs what it costs on average.
    fn whole_cycles(&self, steps: u64) -> u64 {
        steps.next_multiple_of(self.cycle)
    }

    /// Counts evaluations and steps from here on.
    pub fn count_anew(&mut self) {
        (self.evals, self.steps) = (0.0, 0);
    }

    /// Gradient evaluations a step, in units of the batch, over the steps that were counted.
    pub fn evals_per_step(&self) -> f64 {
        self.evals / self.steps.max(1) as f64
    }

    /// Floating point operations of a step's gradients: two for each multiply-add, a gradient three forward passes.
    pub fn flops_per_step(&self) -> f64 {
        6.0 * self.model.multiply_adds() as f64 * self.batch.len() as f64 * self.evals_per_step()
    }

    /// Bytes that a step's gradients read and write, in f32.
    pub fn bytes_per_step(&self) -> f64 {
        let traffic = self.model.traffic();
        let numbers = traffic.per_example as f64 * self.batch.len() as f64 + traffic.per_batch as f64;
        size_of::<f32>() as f64 * numbers * self.evals_per_step()
    }

    /// Trainable parameters.
    pub fn dim(&self) -> usize {
        self.model.params().space().layout.len()
    }
}
