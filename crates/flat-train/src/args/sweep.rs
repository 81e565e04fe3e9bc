//! Flags of `sweep`: what varies, and those of `train`.

use super::brief::{MORE, of_sweep};
use super::given::{typed, with};
use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use flat_core::setting::{Kind, Setting, Value, Values};
use flat_run::settings::{Flag, flags};
use flat_run::usage;
use flat_sweep::{Axis, Budget, Halving, Sampler, Select, Study, seeds};
use std::path::PathBuf;

/// Flags of `sweep`.
#[derive(Debug, Clone, Args)]
#[command(mut_args(of_sweep), after_help = MORE, after_long_help = "")]
pub struct SweepArgs {
    /// A setting of train and the values to try, as in rho=0.02,0.05; several flags make a grid. Values of a list have semicolons
    /// between them, as in hidden=256,128;64. A choice or number of train with commas, as in --optimizer sgd,sam, means the same.
    #[arg(long, value_name = "NAME=A,B", help_heading = "Sweep")]
    pub grid: Vec<String>,
    /// A setting to draw at random: lr=0.01..1 uniform, lr=log:0.01..1 log-uniform, batch-size=16..256 whole numbers, or a list.
    #[arg(long, value_name = "NAME=A..B", help_heading = "Sweep")]
    pub sample: Vec<String>,
    /// Draws of the settings of --sample, for every cell of the grid the same ones.
    #[arg(long, value_name = "N", help_heading = "Sweep")]
    pub random: Option<usize>,
    /// Seed of the draws [default: 0].
    #[arg(long, value_name = "N", help_heading = "Sweep")]
    pub random_seed: Option<u64>,
    /// Seeds of every cell, as in 0..5 (0 to 4) or 1,7 [default: 0].
    #[arg(long, value_name = "LIST", help_heading = "Sweep")]
    pub seeds: Option<String>,
    /// All of this in a TOML file, with tables grid, sample and train; flags override it.
    #[arg(long, value_name = "FILE", help_heading = "Sweep")]
    pub study: Option<PathBuf>,
    /// What every run may spend [default: evals]: evals=N gradient evaluations, evals for plain sgd's at --epochs or
    /// --steps, or steps for equal steps.
    #[arg(long, value_name = "BUDGET", help_heading = "Sweep")]
    pub budget: Option<Budget>,
    /// Rank cells by accuracy, worst-group (accuracy of the worst group of data with a spurious attribute) or loss, on validation
    /// images [default: accuracy].
    #[arg(long, value_name = "BY", help_heading = "Sweep")]
    pub select: Option<Select>,
    /// Successive halving, as in eta=3: at each rung one cell in eta goes on with eta times the budget. All cells
    /// begin, and schedules are those of the whole budget.
    #[arg(long, value_name = "eta=N", help_heading = "Sweep")]
    pub halving: Option<Halving>,
    /// Look at the test set for every cell, not for the best alone.
    #[arg(long, help_heading = "Sweep")]
    pub test_all: bool,
    /// Runs at a time, which share the cores [default: a core each; on a GPU 1].
    #[arg(long, value_name = "J", help_heading = "Sweep", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Write the leaderboard as CSV too.
    #[arg(long, value_name = "FILE", help_heading = "Sweep")]
    pub csv: Option<PathBuf>,
    /// Folder of the sweep; the same command goes on where it stopped, and runs only what is new where it says more.
    #[arg(long, value_name = "DIR", help_heading = "Sweep")]
    pub out: PathBuf,
    /// TOML file with settings of every run; flags override it.
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub config: Option<PathBuf>,
    /// The settings of train that were given.
    #[command(flatten)]
    pub given: SweptSettings,
}

/// Settings of every run as typed; one with several values varies.
#[derive(Debug, Clone, Default)]
pub struct SweptSettings(pub Values);

/// The flags of `train`, with any text for a choice: several are a grid, which checks them.
fn free() -> Vec<Flag> {
    let without_names = |flag: Flag| Flag { setting: Setting { names: Vec::new(), ..flag.setting }, ..flag };
    flags().into_iter().map(without_names).collect()
}

impl FromArgMatches for SweptSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(typed(&free(), matches)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for SweptSettings {
    fn augment_args(command: Command) -> Command {
        with(command, &free())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl SweepArgs {
    /// The study that the flags make, over that of `--study`.
    ///
    /// # Errors
    /// An unreadable file; a usage error that names the flag.
    pub fn study(&self) -> Result<Study> {
        let mut study = self.study.as_deref().map(Study::read).transpose()?.unwrap_or_default();
        for Flag { setting, .. } in flags() {
            let Some(text) = self.given.0.get(setting.name).map(Value::to_string) else { continue };
            let one_of_names = setting.kind == Kind::Text && !setting.names.is_empty();
            let several = text.contains(',') && (one_of_names || matches!(setting.kind, Kind::Number | Kind::Count));
            match several {
                true if setting.name == "seed" => return Err(usage("--seed takes one seed; several are --seeds")),
                true => study.vary(Axis::parse(&format!("{}={text}", setting.name))?),
                false => study.train.insert(setting.name, Value::Text(text)),
            }
        }
        twice("grid", &self.grid)?;
        twice("sample", &self.sample)?;
        self.grid.iter().try_for_each(|text| Axis::parse(text).map(|axis| study.vary(axis)))?;
        self.sample.iter().try_for_each(|text| Sampler::parse(text).map(|sampler| study.draw(sampler)))?;
        study.random = self.random.or(study.random);
        study.random_seed = self.random_seed.unwrap_or(study.random_seed);
        if let Some(text) = &self.seeds {
            study.seeds = seeds(text)?;
        }
        study.budget = self.budget.unwrap_or(study.budget);
        study.select = self.select.unwrap_or(study.select);
        study.halving = self.halving.or(study.halving);
        study.test_all |= self.test_all;
        study.config = self.config.clone().or(study.config);
        Ok(study)
    }
}

/// Refuses a setting that two flags vary.
fn twice(flag: &str, texts: &[String]) -> Result<()> {
    let name = |text: &String| text.split('=').next().unwrap_or_default().trim().to_string();
    for (i, text) in texts.iter().enumerate() {
        if texts[..i].iter().any(|before| name(before) == name(text)) {
            return Err(usage(format!("--{flag} {} is given twice: write all its values into one", name(text))));
        }
    }
    Ok(())
}
