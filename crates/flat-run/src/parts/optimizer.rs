//! The optimizer of a run: rules over a base, with schedules and masks.

use super::paid;
use super::schedules::{schedules, swa};
use super::setup::{Data, loss, steps_per_epoch, total_steps};
use super::subspace::HessianSubspace;
use crate::settings::choice::PerturbName;
use crate::settings::config::RunConfig;
use crate::settings::resolve::option;
use crate::settings::rule_schedule::Phase;
use crate::usage::usage;
use anyhow::Result;
use flat_core::Role;
use flat_core::setting::Values;
use flat_nn::Model;
use flat_optim::{GradientRule, Group, Groups, Need, Optimizer, Phases};

/// The rule of a run, or the rules of its schedule.
fn rule(config: &RunConfig, options: &Values, steps_per_epoch: u64) -> Result<Box<dyn GradientRule>> {
    let Some(schedule) = &config.rule_schedule else { return config.rule_of(config.optimizer, options) };
    let (steps, end) = (total_steps(config, steps_per_epoch), schedule.epochs());
    if let Some(end) = end.filter(|end| end.saturating_mul(steps_per_epoch) < steps) {
        let epochs = steps.div_ceil(steps_per_epoch.max(1));
        return Err(usage(format!(
            "--rule-schedule {schedule}: it ends with epoch {end}, the run has {epochs}: leave out the last end, or give --epochs {end}"
        )));
    }
    let phase = |phase: &Phase| Ok((phase.start.saturating_mul(steps_per_epoch), config.rule_of(phase.rule, options)?));
    let phases = schedule.phases().iter().map(phase).collect::<Result<Vec<_>>>()?;
    Ok(Phases::new(phases).resetting(config.reset_base).into())
}

/// Which parameters the rule perturbs.
fn perturbed(config: &RunConfig, model: &Model) -> Result<Groups> {
    let kept: fn(Role) -> bool = match config.perturb {
        PerturbName::All => return Ok(Groups::default()),
        PerturbName::Norm => Role::is_norm,
        PerturbName::Weights => |role| role == Role::Weight,
    };
    let entries = model.params().layout().entries();
    if !entries.iter().any(|e| kept(e.role)) {
        return Err(usage(format!("--perturb {}: {} has no such parameters", config.perturb, config.model)));
    }
    if entries.iter().all(|e| kept(e.role)) {
        return Ok(Groups::default());
    }
    Ok(Groups::default().with(Group::new("not perturbed", move |e| !kept(e.role)).perturb(false)))
}

/// The optimizer of a run.
///
/// # Errors
/// Options out of range.
pub fn optimizer(config: &RunConfig, model: &Model, data: &Data) -> Result<Optimizer> {
    of_agent(config, model, data, 0)
}

/// The optimizer of an agent of a network, whose draws are its own; those of the first are those of a run without a network.
pub(super) fn of_agent(config: &RunConfig, model: &Model, data: &Data, agent: usize) -> Result<Optimizer> {
    // any other seed has other streams; the golden ratio keeps them apart from those of runs with neighbouring seeds
    let seed = config.seed.wrapping_add((agent as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let epoch = steps_per_epoch(config, data);
    let (paced, cost) = (paid::by_evals(config)?, paid::first(config)?);
    if let Some(evals) = config.evals
        && (total_steps(config, epoch) == 0 || paced && (evals as f64) < cost)
    {
        return Err(usage(format!("--evals {evals}: a step costs {cost} gradient evaluations, give at least that")));
    }
    if let Some(epochs) = config.epochs.filter(|epochs| epochs.in_steps(epoch) == 0) {
        let what = format!("an epoch has {epoch} steps, and this is nearer to none");
        return Err(usage(format!(
            "--epochs {epochs}: {what}; give {} or more, or --steps",
            1.0 / epoch.max(1) as f64
        )));
    }
    let (lr, rho) = schedules(config, epoch)?;
    let options = config.all_values();
    let mut builder = Optimizer::builder(model.params())
        .rule(rule(config, &options, epoch)?)
        .groups(perturbed(config, model)?)
        .examples(data.train.split().len() as u64)
        .steps(total_steps(config, epoch))
        .paced_by_evals(paced)
        .base(config.base.build(&options).map_err(option)?)
        .lr_schedule(lr)
        .rho_schedule(rho)
        .seed(seed);
    if let Some(examples) = config.micro_batch {
        builder = builder.micro_batch(examples);
    }
    if let Some(norm) = config.clip {
        builder = builder.clip(norm);
    }
    if let Some(decay) = config.ema {
        builder = builder.ema(decay);
    }
    if let Some((start, every)) = swa(config, epoch)? {
        builder = builder.swa(start, every);
    }
    if config.rules().iter().any(|rule| rule.asks_for(Need::Subspace)) {
        builder = builder.subspace(Box::new(HessianSubspace::of_run(config, model, loss(config), data)?));
    }
    builder.build().map_err(option)
}
