//! Whether a run fits into memory, asked before anything large is made.

use super::setup;
use crate::settings::config::RunConfig;
use crate::usage::usage;
use anyhow::Result;
use flat_core::{ParamVec, memory};
use flat_optim::{Optimizer, StateVisitor, Stateful as _};

/// Vectors as long as all weights that every step has: the weights, the gradients of the layers, the gradient as a vector.
const OF_EVERY_STEP: u64 = 3;
/// Runs that take less are begun without a look at the free memory.
const SMALL: u64 = 256 << 20;

/// Refuses a run whose weights and vectors alone take more memory than is free. `optimizer` is its optimizer, where that has been
/// built: its vectors are there then, but no page of them was touched.
///
/// # Errors
/// A usage error that names the flag, what is needed and what is free.
pub(super) fn check(config: &RunConfig, optimizer: Option<&mut Optimizer>) -> Result<()> {
    let numbers = setup::model_config_of(config).numbers()?;
    let mut kept = Kept(0);
    if let Some(optimizer) = optimizer {
        optimizer.visit(&mut kept)?;
        // the weights that a rule comes back to
        kept.0 += if config.optimizer_name() == config.base.name { 0 } else { numbers };
    }
    let all = numbers.saturating_mul(OF_EVERY_STEP.into()).saturating_add(kept.0);
    let needed = all.saturating_mul(config.dtype.dtype().size_in_bytes() as u128);
    let needed = u64::try_from(needed).unwrap_or(u64::MAX);
    // what the weights take by now is no longer free
    let made = if kept.0 > 0 { u64::try_from(numbers).unwrap_or(u64::MAX) } else { 0 };
    let made = made.saturating_mul(config.dtype.dtype().size_in_bytes() as u64);
    match memory::available().map(|free| free.saturating_add(made)) {
        Some(free) if needed > SMALL && needed > free => Err(usage(format!(
            "{}: {numbers} weights with their gradients and the vectors of {} take {} of memory at least, {} are free: make the \
             network smaller",
            flag(config),
            config.optimizer_name(),
            memory::in_words(needed),
            memory::in_words(free)
        ))),
        _ => Ok(()),
    }
}

/// The flag that makes the network as large as it is, with its value.
fn flag(config: &RunConfig) -> String {
    match config.channels {
        Some(channels) if config.model.takes("channels") => format!("--channels {channels}"),
        _ if config.model.takes("hidden") => {
            let hidden: Vec<String> = config.hidden.iter().map(usize::to_string).collect();
            format!("--hidden {}", hidden.join(","))
        }
        _ => format!("--model {}", config.model),
    }
}

/// Numbers in the vectors of a state.
struct Kept(u128);

impl StateVisitor for Kept {
    fn vector(&mut self, _: &str, value: &mut ParamVec) -> flat_optim::Result<()> {
        self.0 += value.layout().len() as u128;
        Ok(())
    }

    fn count(&mut self, _: &str, _: &mut u64) -> flat_optim::Result<()> {
        Ok(())
    }

    fn number(&mut self, _: &str, _: &mut f64) -> flat_optim::Result<()> {
        Ok(())
    }
}
