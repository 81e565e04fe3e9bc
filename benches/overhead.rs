//! What each rule adds to a step beyond its gradients, as a share of them: ResNet-20 at batch 128.
//!
//! `cargo bench -p flat-minima --bench overhead`. The rules run on an objective that hands out one kept gradient, so that a step
//! is the rule's own passes, its draws and the base alone: the objective's own time, which is that of a copy of the gradient, is
//! taken off. The plain step is taken off too; what is left stands beside the time of the gradients that the rule asks for, measured
//! in the same process. Numbers are the least of several rounds in turns: other programs only ever add to them.
#![allow(clippy::disallowed_macros)] // it prints for whoever runs it

use flat::core::setting::Values;
use flat::nn::{Loss, Mode, Model, networks};
use flat::optim::{Batch, Need, Objective, Optimizer, Params, Query, Result, Rows, RuleKind, Sample};
use std::time::Instant;

mod classifier;

/// The allocator of the tool.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 128;
const ROUNDS: usize = 15;

/// Hands out the same gradient at every point.
struct Kept {
    gradient: Vec<candle_core::Tensor>,
    /// Milliseconds that handing it out took.
    ms: f64,
}

impl Objective for Kept {
    fn rows(&self) -> usize {
        BATCH
    }
    fn loss(&mut self, _: Query) -> Result<candle_core::Tensor> {
        Ok(candle_core::Tensor::new(1f32, &candle_core::Device::Cpu)?)
    }
    fn loss_and_grad(&mut self, params: &Params, _: Query) -> Result<Sample> {
        let begun = Instant::now();
        let sample = Sample::new(1.0, params.collect(&self.gradient)?);
        self.ms += 1e3 * begun.elapsed().as_secs_f64();
        sample
    }
    fn offers(&self, _: Need) -> bool {
        true
    }
    fn losses_and_grad(&mut self, params: &Params, query: Query) -> Result<(Sample, candle_core::Tensor)> {
        Ok((self.loss_and_grad(params, query)?, self.losses(query)?))
    }
    fn losses(&mut self, query: Query) -> Result<candle_core::Tensor> {
        let rows = query.rows.range(BATCH)?.len();
        Ok(candle_core::Tensor::zeros(rows, candle_core::DType::F32, &candle_core::Device::Cpu)?)
    }
    fn chosen_loss_and_grad(&mut self, params: &Params, _: &[u32], update_stats: bool) -> Result<Sample> {
        self.loss_and_grad(params, Query { rows: Rows::All, update_stats })
    }
    fn switch(&mut self, _: Batch) -> Result<usize> {
        Ok(BATCH)
    }
}

/// A rule at work, and the least milliseconds of its steps.
struct Timed {
    rule: RuleKind,
    optimizer: Optimizer,
    evals: f64,
    ms: f64,
}

fn timed(model: &Model, rule: RuleKind) -> anyhow::Result<Timed> {
    let built = rule.build(&Values::default())?;
    let evals = built.mean_evals(BATCH);
    let optimizer = Optimizer::builder(model.params()).rule(built).examples(50_000).steps(1000).build()?;
    Ok(Timed { rule, optimizer, evals, ms: f64::INFINITY })
}

/// Milliseconds that `f` takes.
fn ms(f: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let begun = Instant::now();
    f()?;
    Ok(1e3 * begun.elapsed().as_secs_f64())
}

fn main() -> anyhow::Result<()> {
    let (x, labels) = classifier::batch(BATCH)?;
    let model = classifier::model(networks::RESNET20)?;
    let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
    let mut gradient = f64::INFINITY;
    let rules = RuleKind::all().filter(|rule| !rule.asks_for(Need::Subspace));
    let mut rules = rules.map(|rule| timed(&model, rule)).collect::<anyhow::Result<Vec<_>>>()?;
    let zeros = model.params().vars().iter().map(|var| var.zeros_like()).collect::<candle_core::Result<Vec<_>>>()?;
    let gradients = zeros.iter().map(|zero| zero + 1e-3).collect::<candle_core::Result<Vec<_>>>()?;
    let mut kept = Kept { gradient: gradients, ms: 0.0 };
    for _ in 0..ROUNDS {
        gradient = gradient.min(ms(|| {
            let pass = model.pullback(&x, Mode::Train)?;
            let value = loss.mean(pass.logits(), &labels)?;
            pass.gradient(&value)?;
            Ok(())
        })?);
        for rule in &mut rules {
            // steps of one length, as many as the cycle of looksam has
            let steps = if rule.rule == "looksam" { 10 } else { 3 };
            kept.ms = 0.0;
            let took = ms(|| {
                for _ in 0..steps {
                    rule.optimizer.step(&mut kept)?;
                }
                Ok(())
            })?;
            rule.ms = rule.ms.min((took - kept.ms) / f64::from(steps));
        }
    }
    let plain = rules.iter().find(|rule| rule.rule == "plain").map_or(0.0, |rule| rule.ms);
    println!(
        "ResNet-20, {} parameters, batch {BATCH}: a gradient takes {gradient:.1} ms, a plain step beside it {plain:.2} ms",
        model.params().layout().len()
    );
    println!("{:<12} {:>9} {:>9} {:>9}", "rule", "gradients", "adds ms", "of them");
    for rule in &rules {
        let adds = rule.ms - plain;
        println!(
            "{:<12} {:>9.2} {adds:>9.2} {:>8.2}%",
            rule.rule.name(),
            rule.evals,
            100.0 * adds / (rule.evals * gradient)
        );
    }
    Ok(())
}
