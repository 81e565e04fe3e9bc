//! The answer to a flag that is none.

use super::Cli;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use flat_core::name::near;
use std::ffi::OsString;

impl Cli {
    /// Reads a command line. An unknown flag is answered with the one that it takes the fewest letters to get to.
    ///
    /// # Errors
    /// clap's, which knows its exit status.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let words: Vec<OsString> = words.into_iter().collect();
        Self::try_parse_from(&words).map_err(|error| answered(error, &words))
    }
}

fn answered(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) if error.kind() == ErrorKind::UnknownArgument => flag.clone(),
        _ => return error,
    };
    // the innermost command that was named
    let mut command = Cli::command();
    for word in words.iter().filter_map(|word| word.to_str()) {
        if let Some(inner) = command.find_subcommand(word) {
            command = inner.clone();
        }
    }
    let names: Vec<&str> =
        command.get_arguments().flat_map(|arg| arg.get_long_and_visible_aliases().unwrap_or_default()).collect();
    if let Some(nearest) = near(flag.trim_start_matches('-'), names).first() {
        error.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{nearest}")));
    }
    error
}
