//! Flags of `train`: those of the settings, and where the run is.

use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use flat_core::setting::{Kind, Value, Values};
use flat_optim::BASES;
use flat_run::settings::flags::{Flag, flags};
use std::path::PathBuf;

/// Flags of `train`; a TOML file given by `--config` holds the same names.
#[derive(Debug, Clone, Args)]
pub struct TrainArgs {
    /// TOML file with any of these flags (the names without the dashes); flags override it.
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub config: Option<PathBuf>,
    /// Continue the run in this directory where its last checkpoint left it; takes no other flag but --epochs or --steps, which
    /// make it longer: from there on the schedules are those of a run of the new length.
    #[arg(long, value_name = "RUN", help_heading = "Run")]
    pub resume: Option<PathBuf>,
    /// Run directory, which must not hold a run yet [default: runs/DATASET-MODEL-OPTIMIZER-sSEED, numbered].
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    pub out: Option<PathBuf>,
    /// The settings that were given.
    #[command(flatten)]
    pub given: Given,
}

/// The settings that were given as flags.
#[derive(Debug, Clone, Default)]
pub struct Given(pub Values);

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut values = Values::default();
        for Flag { setting, .. } in flags() {
            if matches.value_source(setting.name) != Some(ValueSource::CommandLine) {
                continue;
            }
            let all: Vec<&String> = matches.get_many(setting.name).into_iter().flatten().collect();
            let text = all.into_iter().map(String::as_str).collect::<Vec<_>>().join(",");
            values.insert(setting.name, Value::Text(text));
        }
        Ok(Self(values))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        command.args(flags().iter().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn arg(flag: &Flag) -> Arg {
    let setting = &flag.setting;
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.metavar)
        .help(flag.help())
        .help_heading(flag.heading)
        .action(ArgAction::Set);
    match setting.kind {
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::List => arg.value_delimiter(','),
        _ if setting.names.is_empty() => arg,
        // a base's name stands for the plain rule over it
        _ if setting.name == "optimizer" => {
            let bases = BASES.iter().map(|base| base.name);
            arg.value_parser(PossibleValuesParser::new(bases.chain(setting.names.iter().copied())))
        }
        _ => arg.value_parser(PossibleValuesParser::new(setting.names.iter().copied())),
    }
}
