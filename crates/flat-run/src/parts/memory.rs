//! Whether a run fits into memory, asked before anything large is made.

use super::optimizer::optimizer;
use super::setup::{self, Data};
use crate::settings::config::RunConfig;
use crate::usage::usage;
use anyhow::Result;
use candle_core::Device;
use flat_core::{ParamVec, Streams, memory};
use flat_nn::{Model, ModelConfig};
use flat_optim::{StateVisitor, Stateful as _};

/// Vectors as long as all weights that every step has: the weights, the gradients of the layers, the gradient as a vector.
const OF_EVERY_STEP: u64 = 3;
/// Runs that take less are begun without a look at the free memory.
const SMALL: u64 = 256 << 20;

/// Refuses a run whose weights and vectors alone take more memory than is free. Nothing large is made to find that out.
///
/// # Errors
/// A usage error that names the flag, what is needed and what is free.
pub(super) fn check(config: &RunConfig, data: &Data) -> Result<()> {
    let numbers = setup::model_config_of(config).numbers().map_err(|e| setup::unusable(config, e))?;
    // a configuration that cannot be built is refused where it is built
    let kept = kept(config, data).unwrap_or(0);
    let bytes = u128::from(OF_EVERY_STEP + kept) * config.dtype.dtype().size_in_bytes() as u128;
    let needed = u64::try_from(numbers.saturating_mul(bytes)).unwrap_or(u64::MAX);
    match memory::available() {
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

/// Vectors as long as all weights that the optimizer keeps, and one more where a rule leaves the weights and comes back; counted
/// on the narrowest network of the kind.
fn kept(config: &RunConfig, data: &Data) -> Result<u64> {
    let usual = setup::model_config_of(config);
    let narrow = ModelConfig {
        hidden: vec![1; usual.hidden.len()],
        channels: usual.arch.takes("channels").then(|| usual.groups.unwrap_or(4)),
        ..usual
    };
    let model = Model::new(&narrow, config.dtype.dtype(), &Device::Cpu, &Streams::new(0))?;
    let mut kept = Kept(0);
    optimizer(config, &model, data)?.visit(&mut kept)?;
    let copies = u64::from(config.optimizer_name() != config.base.name);
    Ok(kept.0.div_ceil(model.params().layout().len() as u64) + copies)
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
struct Kept(u64);

impl StateVisitor for Kept {
    fn vector(&mut self, _: &str, value: &mut ParamVec) -> flat_optim::Result<()> {
        self.0 += value.layout().len() as u64;
        Ok(())
    }

    fn count(&mut self, _: &str, _: &mut u64) -> flat_optim::Result<()> {
        Ok(())
    }

    fn number(&mut self, _: &str, _: &mut f64) -> flat_optim::Result<()> {
        Ok(())
    }
}
