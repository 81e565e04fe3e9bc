//! The subcommands of `metrics`: one for each measure of the list, and `all`.

use super::given::{Given, typed, with};
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Subcommand, error::ErrorKind};
use flat_core::setting::Values;
use flat_run::measure::{Entry, MEASURES, all};
use flat_run::settings::{Flag, Flags, given};

flat_core::settings! {
    /// What becomes of a measurement beside its print.
    #[derive(Debug, Clone)]
    pub struct Keeping {
        /// Leave the run directory alone. Otherwise what --json prints is kept in RUN/metrics, a file a measure, where
        /// --checkpoint is a run directory.
        no_save as "no-save": bool = false;
    }
}

impl Flags for Keeping {}

/// A subcommand of `metrics` with its flags.
pub struct MetricsCommand {
    /// The measure; `None` for all of them.
    pub measure: Option<&'static dyn Entry>,
    /// The flags that were given.
    pub given: Values,
    /// What becomes of the result.
    pub keeping: Keeping,
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
        let keeping = given(&typed(&Keeping::flags(), matches))
            .map_err(|e| Error::raw(ErrorKind::InvalidValue, format!("{e:#}\n")))?;
        Ok(Self { measure, given: typed(&flags, matches), keeping })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for MetricsCommand {
    fn augment_subcommands(command: Command) -> Command {
        let one =
            |name, about, flags: &[Flag]| Given::<Keeping>::augment_args(with(Command::new(name).about(about), flags));
        let of = |measure: &&dyn Entry| one(measure.name(), measure.about(), &measure.flags());
        let all = one(all::NAME, all::ABOUT, &all::flags(MEASURES));
        command.subcommands(MEASURES.iter().map(of)).subcommand(all).subcommand_required(true)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        name == all::NAME || MEASURES.iter().any(|measure| measure.name() == name)
    }
}
