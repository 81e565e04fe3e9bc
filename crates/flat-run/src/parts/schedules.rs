//! The schedules of a run's learning rate and radius, and of the average of its weights, in steps.

use super::setup::total_steps;
use crate::settings::choice::{RadiusScheduleName, ScheduleName};
use crate::settings::config::RunConfig;
use crate::usage::usage;
use crate::value::every::Every;
use anyhow::Result;
use flat_optim::{RadiusSchedule, ScheduleConfig, ScheduleShape};

/// The schedules of a run's learning rate and radius.
///
/// # Errors
/// A warm-up as long as the run, a radius that grows beyond all numbers.
pub fn schedules(config: &RunConfig, steps_per_epoch: u64) -> Result<(ScheduleConfig, RadiusSchedule)> {
    let total = total_steps(config, steps_per_epoch);
    // a run of no steps still has a schedule
    let total_steps = total.max(1);
    let every = config.step_size.map_or(total.div_ceil(3), |every| every.in_steps(steps_per_epoch)).max(1);
    let step = ScheduleShape::Step { every, gamma: config.gamma };
    let shape = match config.schedule {
        ScheduleName::Constant => ScheduleShape::Constant,
        ScheduleName::Cosine => ScheduleShape::Cosine { total_steps, min: config.min_lr },
        ScheduleName::Step => step.clone(),
    };
    let lr = ScheduleConfig { warmup_steps: warmup("warmup", *config.warmup, steps_per_epoch, total)?, shape };
    let shape = match config.rho_schedule {
        RadiusScheduleName::Constant => ScheduleShape::Constant,
        RadiusScheduleName::Cosine => ScheduleShape::Cosine { total_steps, min: config.min_rho },
        RadiusScheduleName::Step => step,
        RadiusScheduleName::Rising => ScheduleShape::Rising { total_steps, factor: config.rho_end },
        RadiusScheduleName::Exponential => exponential(config, total)?,
        RadiusScheduleName::FollowLr => return Ok((lr, RadiusSchedule::FollowsLr { rho_min: config.min_rho })),
    };
    let warmup_steps = warmup("rho-warmup", *config.rho_warmup, steps_per_epoch, total)?;
    Ok((lr, ScheduleConfig { warmup_steps, shape }.into()))
}

fn warmup(flag: &str, every: Every, steps_per_epoch: u64, total: u64) -> Result<u64> {
    let steps = every.in_steps(steps_per_epoch);
    if steps > 0 && steps >= total {
        return Err(usage(format!("--{flag} {every}: it takes {steps} steps, the run has {total}")));
    }
    Ok(steps)
}

fn exponential(config: &RunConfig, total: u64) -> Result<ScheduleShape> {
    let (growth, ceiling) = (config.rho_growth, config.max_rho);
    let factor = (1.0 + growth).powf(total as f64);
    if ceiling.is_none() && factor > f64::from(f32::MAX) {
        return Err(usage(format!(
            "--rho-growth {growth}: in {total} steps the radius grows beyond all numbers: give --max-rho, or less growth"
        )));
    }
    Ok(ScheduleShape::Exponential { growth, ceiling })
}

/// The first step whose weights `--swa-start` averages, and the steps from one to the next; `None` without it.
///
/// # Errors
/// A start beyond the end of the run.
pub fn swa(config: &RunConfig, steps_per_epoch: u64) -> Result<Option<(u64, u64)>> {
    let Some(from) = config.swa_start else { return Ok(None) };
    let (start, total) = (from.in_steps(steps_per_epoch), total_steps(config, steps_per_epoch));
    if start > total {
        return Err(usage(format!(
            "--swa-start {from}: that is after {start} steps, the run has {total}: nothing would be averaged"
        )));
    }
    Ok(Some((start, config.swa_every.in_steps(steps_per_epoch))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::config::RunConfig;

    fn config(toml: &str) -> RunConfig {
        RunConfig::from_table(&format!("optimizer = 'sam'\nsteps = 100\n{toml}").parse().expect("TOML")).expect(toml)
    }

    /// The radius of a run of 100 steps from 0.2, at these steps.
    fn radii(toml: &str, at: &[u64]) -> Result<Vec<f64>> {
        let (lr, rho) = schedules(&config(toml), 10)?;
        let rho = rho.build(0.2, &lr, 0.1, Some(100))?;
        Ok(at.iter().map(|step| rho.at(*step)).collect())
    }

    #[test]
    fn radius_schedules_are_their_closed_forms() -> Result<()> {
        let cosine = |t: f64| 0.05 + 0.15 * (1.0 + (std::f64::consts::PI * t / 100.0).cos()) / 2.0;
        let rising = |t: f64| 0.2 * (1.0 + 3.0 * (1.0 - (std::f64::consts::PI * t / 100.0).cos()) / 2.0);
        for (toml, expected) in [
            ("rho-schedule = 'cosine'\nmin-rho = 0.05", [0.2, cosine(25.0), cosine(99.0)]),
            ("rho-schedule = 'follow-lr'\nmin-rho = 0.05", [0.2, cosine(25.0), cosine(99.0)]),
            ("rho-schedule = 'follow-lr'\nmin-rho = 0.05\nmin-lr = 0.02", [0.2, cosine(25.0), cosine(99.0)]),
            ("rho-schedule = 'follow-lr'\nmin-rho = 0.05\nschedule = 'constant'\nwarmup = '5ep'", [0.2, 0.2, 0.2]),
            (
                "rho-schedule = 'follow-lr'\nschedule = 'step'\nstep-size = 20\ngamma = 0.5",
                [0.2, 0.2 * 7.0 / 15.0, 0.0],
            ),
            ("rho-schedule = 'rising'\nrho-end = 4", [0.2, rising(25.0), rising(99.0)]),
            ("rho-schedule = 'exponential'\nrho-growth = 0.01", [0.2, 0.2 * 1.01f64.powi(25), 0.2 * 1.01f64.powi(99)]),
            ("rho-schedule = 'exponential'\nrho-growth = 0.01\nmax-rho = 0.25", [0.2, 0.25, 0.25]),
        ] {
            for (x, expected) in radii(toml, &[0, 25, 99])?.into_iter().zip(expected) {
                assert!((x - expected).abs() < 1e-14, "{toml}: {x} against {expected}"); // rounding
            }
        }
        Ok(())
    }

    #[test]
    fn what_would_grow_beyond_all_numbers_or_average_nothing_is_refused() {
        let text = |toml: &str| schedules(&config(toml), 10).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(text("rho-schedule = 'exponential'\nrho-growth = 9.0").starts_with("--rho-growth 9: "));
        assert_eq!(text("rho-schedule = 'exponential'\nrho-growth = 9.0\nmax-rho = 1"), "");
        let late = swa(&config("swa-start = '11ep'"), 10).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(late.starts_with("--swa-start 11ep: that is after 110 steps"), "{late}");
    }

    #[test]
    fn weights_are_averaged_once_an_epoch_from_the_start_on() -> Result<()> {
        assert_eq!(swa(&config("swa-start = '7ep'"), 10)?, Some((70, 10)));
        assert_eq!(swa(&config("swa-start = '75'\nswa-every = '5'"), 10)?, Some((75, 5)));
        assert_eq!(swa(&config(""), 10)?, None);
        Ok(())
    }
}
