//! The subcommands of `metrics`: one for each measure of the list, and `all`.

use super::given::{typed, with};
use clap::{ArgMatches, Command, Error, FromArgMatches, Subcommand, error::ErrorKind};
use flat_core::setting::Values;
use flat_run::measure::{Entry, MEASURES, all};

/// A subcommand of `metrics` with its flags.
pub struct MetricsCommand {
    /// The measure; `None` for all of them.
    pub measure: Option<&'static dyn Entry>,
    /// The flags that were given.
    pub given: Values,
}

impl std::fmt::Debug for MetricsCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetricsCommand").field("given", &self.given).finish_non_exhaustive()
    }
}

impl FromArgMatches for MetricsCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let Some((name, matches)) = matches.subcommand() else { return Err(Error::new(ErrorKind::MissingSubcommand)) };
        let measure = MEASURES.iter().find(|measure| measure.name() == name).copied();
        let flags = measure.map_or_else(|| all::flags(MEASURES), Entry::flags);
        Ok(Self { measure, given: typed(&flags, matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for MetricsCommand {
    fn augment_subcommands(command: Command) -> Command {
        let of = |measure: &&dyn Entry| with(Command::new(measure.name()).about(measure.about()), &measure.flags());
        let all = with(Command::new(all::NAME).about(all::ABOUT), &all::flags(MEASURES));
        command.subcommands(MEASURES.iter().map(of)).subcommand(all).subcommand_required(true)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        name == all::NAME || MEASURES.iter().any(|measure| measure.name() == name)
    }
}
