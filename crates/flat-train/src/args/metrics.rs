//! The subcommands of `metrics`: one for each measure of the list, and `all`.

use clap::{ArgMatches, Command, Error, FromArgMatches, Subcommand, error::ErrorKind};
use flat_run::measure::MEASURES;
use flat_run::measure::all::{self, All};
use flat_run::measure::interface::Asked;
use flat_run::settings::choice::HvpName;

/// What `metrics` is asked for.
pub enum MetricsCommand {
    /// One measure.
    One(Box<dyn Asked>),
    /// All of them.
    All(All),
}

impl std::fmt::Debug for MetricsCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetricsCommand").finish_non_exhaustive()
    }
}

impl MetricsCommand {
    /// The Hessian-vector products.
    pub fn hvp(&self) -> HvpName {
        match self {
            Self::One(asked) => asked.hvp(),
            Self::All(all) => all.hvp(),
        }
    }
}

impl FromArgMatches for MetricsCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let Some((name, matches)) = matches.subcommand() else { return Err(Error::new(ErrorKind::MissingSubcommand)) };
        if name == all::NAME {
            return All::parse(MEASURES, matches).map(Self::All);
        }
        match MEASURES.iter().find(|measure| measure.name() == name) {
            Some(measure) => measure.parse(matches).map(Self::One),
            None => Err(Error::new(ErrorKind::InvalidSubcommand)),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for MetricsCommand {
    fn augment_subcommands(command: Command) -> Command {
        let commands = MEASURES.iter().map(|measure| measure.command());
        command.subcommands(commands).subcommand(all::command(MEASURES)).subcommand_required(true)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        name == all::NAME || MEASURES.iter().any(|measure| measure.name() == name)
    }
}
