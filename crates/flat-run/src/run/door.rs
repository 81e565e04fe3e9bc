//! The interface of a run for programs, from configuration to summary.

use super::finish::finish;
use super::observer::Observer;
use super::summary::Summary;
use super::trainer::{Ended, Trainer};
use crate::parts::group_score::largest_beta;
use crate::parts::{RunParts, schedules, setup};
use crate::ranks;
use crate::settings::config::RunConfig;
use crate::settings::own;
use crate::store::checkpoint;
use crate::store::file::write_whole;
use crate::store::run_dir::RunDir;
use crate::ui::Ui;
use crate::usage::{BadFlag, usage};
use crate::value::number::short;
use anyhow::Result;
use flat_core::setting::{Settings as _, Text, Values};
use flat_data::Images;
use std::path::{Path, PathBuf};
use twox_hash::XxHash64;

/// A training run, loaded and built; [`Self::train`] carries it out and leaves its files in a directory.
///
/// ```no_run
/// use flat_run::{Run, RunConfig, Silent};
/// # fn main() -> anyhow::Result<()> {
/// let config = RunConfig::from_table(&"optimizer = 'sam'\nrho = 0.1\nepochs = 1".parse()?)?;
/// let summary = Run::new(config)?.out("runs/sam").train(&mut Silent)?.finished();
/// println!("{:?}", summary.map(|s| s.test_accuracy));
/// # Ok(())
/// # }
/// ```
pub struct Run<'a> {
    config: RunConfig,
    parts: RunParts,
    place: Place,
    pause: Option<u64>,
    ui: Ui<'a>,
}

/// The settings that say how long a run is.
const LENGTHS: [&str; 3] = ["epochs", "steps", "evals"];

/// The setting that says where the data are, which a run that was moved is told anew.
const DATA_DIR: &str = "data-dir";

/// The setting that says in which formats the journal is written too, which decides nothing else.
const LOG: &str = "log";

/// Where a run is.
enum Place {
    /// In a directory to be made; `None` for one named after the run.
    New(Option<PathBuf>),
    /// In the directory where it began.
    Begun {
        dir: RunDir,
        /// Whether its length may have changed since.
        extend: bool,
        /// Whether its data are elsewhere now, or its log has other formats.
        retold: bool,
    },
}

/// The end of a run: finished with a summary, or stopped.
pub enum End {
    /// With all its steps.
    Finished(Box<Summary>),
    /// A signal, the observer or [`Run::pause_after`] stopped it; the run in this directory can be resumed.
    Stopped(PathBuf),
}

impl End {
    /// The summary of a run that was not stopped.
    pub fn finished(self) -> Option<Summary> {
        match self {
            Self::Finished(summary) => Some(*summary),
            Self::Stopped(_) => None,
        }
    }
}

impl<'a> Run<'a> {
    /// Loads the data and builds model and optimizer; writes nothing: a run that cannot start leaves nothing behind.
    ///
    /// # Errors
    /// Missing or damaged files, a missing device, options out of range.
    pub fn new(config: RunConfig) -> Result<Self> {
        let mut config = config.filled()?;
        config.check()?;
        // what cannot be written down cannot be resumed
        config.to_toml()?;
        let parts = RunParts::new(&config, true)?;
        // where the run computes is part of it: it must not change when it is resumed elsewhere. Where its data were found is
        // none: they have a sum, and a configuration travels
        config.device = Text(config.device.settled(&parts.device));
        Ok(Self { config, parts, place: Place::New(None), pause: None, ui: Ui::NONE })
    }

    /// The run in this directory, to go on after its last checkpoint. `changed` may hold `epochs`, `steps` or `evals`: the
    /// length of the whole run, where it is to be longer than it was; `data-dir`, where its data are now; and `log`, of which
    /// every file is made from the journal's beginning on.
    ///
    /// # Errors
    /// No run there, one that lost its checkpoints, another process at it, another setting; as [`Self::new`].
    pub fn resume(root: &Path, changed: &Values) -> Result<Self> {
        let retellable = [DATA_DIR, LOG];
        if let Some((name, _)) = changed.iter().find(|(name, _)| !LENGTHS.contains(name) && !retellable.contains(name))
        {
            return Err(usage(format!(
                "--resume continues the run as it was configured and takes no --{name}, only --epochs, --steps or --evals to make \
                 it longer, --data-dir where its data were moved and --log for other formats; for another run start from \
                 `--config {}/config.toml` with the flag",
                root.display()
            )));
        }
        let dir = ranks::agree(match ranks::here().is_first() {
            true => RunDir::open(root),
            false => Ok(RunDir::of_another(root)),
        })?;
        let begun = !checkpoint::list(&dir.checkpoints())?.is_empty();
        if !begun {
            refuse_lost(&dir)?;
        }
        let mut config = RunConfig::read(&dir.config())?;
        let extend = changed.iter().any(|(name, _)| LENGTHS.contains(&name));
        if extend {
            (config.epochs, config.steps, config.evals) = (None, None, None);
        }
        for (name, value) in changed.iter() {
            match (name, config.dataset.own()) {
                (DATA_DIR, Some(_)) => config.dataset = Images::Own(std::path::absolute(value.to_string())?),
                _ => config.set(name, value).map_err(BadFlag::from)?,
            }
        }
        config.check()?;
        config.to_toml()?;
        let retold = retellable.iter().any(|name| changed.get(name).is_some());
        let parts = RunParts::new(&config, !begun)?;
        if changed.get(DATA_DIR).is_some() && config.dataset.known().is_some() {
            config.data_dir = Some(std::path::absolute(&parts.data.dir)?);
        }
        Ok(Self { config, parts, place: Place::Begun { dir, extend, retold }, pause: None, ui: Ui::NONE })
    }

    /// Sets the directory of a new run, which must not hold a run yet; `runs/DATASET-MODEL-OPTIMIZER-sSEED` by
    /// default.
    #[must_use]
    pub fn out(mut self, root: impl Into<PathBuf>) -> Self {
        if let Place::New(out) = &mut self.place {
            *out = Some(root.into());
        }
        self
    }

    /// Stops after so many steps of the run, with an evaluation and a checkpoint. Schedules are those of the whole
    /// run, and [`Self::resume`] goes on.
    #[must_use]
    pub fn pause_after(mut self, steps: Option<u64>) -> Self {
        self.pause = steps;
        self
    }

    /// Shows messages and progress on this screen.
    #[must_use]
    pub fn shown_on(mut self, ui: Ui<'a>) -> Self {
        self.ui = ui;
        self
    }

    /// The configuration, with all that is filled in.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// What it computes with.
    pub(super) fn parts(&self) -> &RunParts {
        &self.parts
    }

    /// Trains to the end, or until a signal or `observer` asks to stop; leaves weights, checkpoints, `metrics.jsonl` and
    /// `summary.json` in the run's directory.
    ///
    /// # Errors
    /// A directory that holds a run already or cannot be written, too many non-finite steps in a row, candle's errors. The
    /// last good checkpoint stays.
    pub fn train(self, observer: &mut dyn Observer) -> Result<End> {
        let Self { config, parts, place, pause, ui } = self;
        let ui = if ranks::here().is_first() { ui } else { Ui::NONE };
        same_everywhere(&config)?;
        let (dir, begun) = match place {
            Place::New(out) => (shared(out.as_deref(), &config)?, None),
            Place::Begun { dir, extend, retold } => (dir, Some((extend, retold))),
        };
        introduce(&config, &parts, &dir, ui);
        own::in_words(&config)?.into_iter().for_each(|line| ui.say(line));
        let mut trainer = match begun {
            Some((extend, retold)) => resumed((extend, retold), &config, parts, &dir, ui)?,
            None => Trainer::new(&config, parts, &dir, ui)?,
        };
        if let (None, Some(sigma), "rsp") = (config.option("rho"), config.number("sigma"), config.optimizer.name) {
            let dim = trainer.model().params().layout().len();
            ui.say(format!("rho {} = sigma {sigma} sqrt({dim})", short(sigma * (dim as f64).sqrt())));
        }
        trainer.observe(observer);
        trainer.pause_after(pause);
        let summary = match trainer.run()? {
            Ended::Complete => finish(&mut trainer, &config, &dir, ui)?,
            Ended::Interrupted => None,
        };
        Ok(match summary {
            Some(summary) => End::Finished(Box::new(summary)),
            None => {
                let root = dir.root().display();
                ui.say(format!("stopped; continue with `flat-train train --resume {root}`"));
                End::Stopped(dir.root().to_path_buf())
            }
        })
    }
}

/// Says what is about to be trained, and where.
fn introduce(config: &RunConfig, parts: &RunParts, dir: &RunDir, ui: Ui<'_>) {
    warn_of_negative_weights(config, parts, ui);
    ui.say(format!("device: {}", parts.device_note));
    parts.init_note.iter().for_each(|note| ui.say(format!("--init: {note}")));
    parts.agents.iter().for_each(|agents| ui.say(agents.words(&config.graph)));
    let optimizer = match config.optimizer_name() == config.base.name {
        true => config.optimizer_name(),
        false => match &config.rule_schedule {
            Some(schedule) => format!("{schedule} over {}", config.base),
            None => format!("{} over {}", config.optimizer, config.base),
        },
    };
    let (model, dataset, seed) = (config.model, &config.dataset, config.seed);
    ui.say(format!("{model} on {dataset} with {optimizer}, seed {seed}: {}", dir.root().display()));
}

/// Warns of a beta of gerne that pushes a group away rather than ignoring it.
fn warn_of_negative_weights(config: &RunConfig, parts: &RunParts, ui: Ui<'_>) {
    let (Some(beta), Some(c)) = (config.number("gerne-beta"), config.number("gerne-c")) else { return };
    let Some((most, group)) = parts.data.train.split().groups().and_then(|groups| largest_beta(groups, c)) else {
        return;
    };
    if beta > most {
        ui.warn(format!(
            "--gerne-beta {beta}: above {} the examples of {group} have a negative weight in expectation",
            short(most)
        ));
    }
}

/// Makes sure that all ranks are of one version and have one configuration.
fn same_everywhere(config: &RunConfig) -> Result<()> {
    let ranks = ranks::here();
    let sum = |text: &str| XxHash64::oneshot(0, text.as_bytes());
    ranks.agree("the version", sum(env!("CARGO_PKG_VERSION")))?;
    // where the data are may differ from machine to machine
    let mut told = config.clone();
    (told.data_dir, told.init) = (None, None);
    Ok(ranks.agree("the configuration", sum(&told.to_toml()?))?)
}

/// The directory of a new run: the first rank makes it, and the others hear which it is.
fn shared(out: Option<&Path>, config: &RunConfig) -> Result<RunDir> {
    let ranks = ranks::here();
    let own = ranks::agree(ranks.is_first().then(|| start(out, config)).transpose())?;
    let told =
        ranks.tell(own.as_ref().map(|dir| dir.root().as_os_str().as_encoded_bytes().to_vec()).unwrap_or_default())?;
    Ok(own.unwrap_or_else(|| RunDir::of_another(Path::new(&*String::from_utf8_lossy(&told)))))
}

fn start(out: Option<&Path>, config: &RunConfig) -> Result<RunDir> {
    let dir = match out {
        Some(out) => RunDir::create(out)?,
        None => {
            let name =
                format!("{}-{}-{}-s{}", config.dataset.word(), config.model, config.optimizer_name(), config.seed);
            RunDir::create_numbered(&Path::new("runs").join(name))?
        }
    };
    write_whole(&dir.config(), config.to_toml()?.as_bytes())?;
    Ok(dir)
}

/// Refuses a run that has written something and has no checkpoint: to start over would take its journal away.
fn refuse_lost(dir: &RunDir) -> Result<()> {
    let left = [dir.summary(), dir.model(), dir.metrics()];
    let Some(file) = left.iter().find(|file| file.metadata().is_ok_and(|file| file.len() > 0)) else { return Ok(()) };
    let root = dir.root().display();
    Err(usage(format!(
        "--resume {root}: its checkpoints are gone, and {} is there: put `checkpoints/` back, or train it again with \
         `train --config {root}/config.toml --out NEW`",
        file.file_name().unwrap_or_default().display()
    )))
}

/// The trainer of a run that goes on. Where flags make it longer, says what becomes of the schedule; writes down what they
/// changed once the checkpoint was found to be of these data.
fn resumed<'a>(
    (extend, retold): (bool, bool),
    config: &'a RunConfig,
    parts: RunParts,
    dir: &'a RunDir,
    ui: Ui<'a>,
) -> Result<Trainer<'a>> {
    let per_epoch = setup::steps_per_epoch(config, &parts.data);
    let trainer = Trainer::resume(config, parts, dir, extend, ui)?;
    if !extend {
        if retold {
            rewrite(dir, config)?;
        }
        return Ok(trainer);
    }
    let before = RunConfig::read(&dir.config())?;
    let (step, from, to) =
        (trainer.progress().step, setup::total_steps(&before, per_epoch), setup::total_steps(config, per_epoch));
    if from != to {
        let rate = |config: &RunConfig| -> Result<f64> {
            Ok(schedules::schedules(config, per_epoch)?.0.build(config.number("lr").unwrap_or_default())?.at(step))
        };
        ui.say(format!(
            "{from} steps become {to}: from step {step} on the {} schedule is that of a run of {to} steps, and the learning \
             rate goes on at {} where it would have been {}",
            config.schedule,
            short(rate(config)?),
            short(rate(&before)?)
        ));
        if dir.is_own() && dir.summary().exists() {
            std::fs::rename(dir.summary(), dir.shorter_summary(from))?;
        }
    }
    if from != to || retold {
        rewrite(dir, config)?;
    }
    Ok(trainer)
}

/// Writes down what flags changed.
fn rewrite(dir: &RunDir, config: &RunConfig) -> Result<()> {
    if dir.is_own() { write_whole(&dir.config(), config.to_toml()?.as_bytes()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
