//! Settings as flags of the command line: one way for every command.

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use flat_core::name::{Family, meant, near};
use flat_core::setting::{BadSetting, Kind, SettingType, Value, Values};
use flat_data::Images;
use flat_run::settings::{Flag, Flags, OptimizerName, given};
use std::ffi::OsStr;
use std::marker::PhantomData;
use std::str::FromStr;

/// The settings of `S` that were given as flags.
#[derive(Debug, Clone, Default)]
pub struct Given<S> {
    /// Their values as typed.
    pub values: Values,
    of: PhantomData<fn() -> S>,
}

impl<S: Flags> Given<S> {
    /// All settings, with defaults for those that were not given.
    ///
    /// # Errors
    /// A usage error that names the flag.
    pub(crate) fn resolved(&self) -> anyhow::Result<S> {
        given(&self.values)
    }
}

impl<S: Flags> FromArgMatches for Given<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { values: typed(&S::flags(), matches), of: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<S: Flags> Args for Given<S> {
    fn augment_args(command: Command) -> Command {
        with(command, &S::flags())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The command with these flags. A number below 0 is a value, which is refused by the name of its flag.
pub(super) fn with(command: Command, flags: &[Flag]) -> Command {
    command.args(flags.iter().map(arg)).allow_negative_numbers(true)
}

/// The values of the flags that were typed.
pub(super) fn typed(flags: &[Flag], matches: &ArgMatches) -> Values {
    let mut values = Values::default();
    for name in flags.iter().map(|flag| flag.setting.name) {
        if matches.value_source(name) == Some(ValueSource::CommandLine) {
            let all: Vec<&str> = matches.get_many::<String>(name).into_iter().flatten().map(String::as_str).collect();
            values.insert(name, Value::Text(all.join(",")));
        }
    }
    values
}

/// The parser of a choice by name.
pub(super) fn among<T>() -> impl TypedValueParser<Value = T>
where
    T: SettingType + FromStr<Err = BadSetting> + Clone + Send + Sync + 'static,
{
    Names { names: T::names(), others: T::others(), family: T::family(), beside: |_| false }
        .try_map(|name| name.parse::<T>())
}

/// The parser of names: in any case and by other names too. What it gives is the name itself.
#[derive(Debug, Clone)]
struct Names {
    names: Vec<&'static str>,
    others: Vec<(&'static str, &'static str)>,
    family: Family,
    /// What else is taken as it is typed.
    beside: fn(&str) -> bool,
}

impl TypedValueParser for Names {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        let typed = value.to_string_lossy();
        if let Some(name) = meant(&typed, &self.names, &self.others).or_else(|| (self.family.meant)(&typed)) {
            return Ok(name.into());
        }
        if (self.beside)(&typed) {
            return Ok(typed.into_owned());
        }
        let mut error = clap::Error::new(ErrorKind::InvalidValue).with_cmd(command);
        let all = self.family.beside(&self.names);
        let texts = |names: &[&str]| ContextValue::Strings(names.iter().map(ToString::to_string).collect());
        error.insert(ContextKind::InvalidArg, ContextValue::String(arg.map(ToString::to_string).unwrap_or_default()));
        error.insert(ContextKind::InvalidValue, ContextValue::String(typed.to_string()));
        error.insert(ContextKind::ValidValue, texts(&all));
        if let Some(nearest) = near(&typed, all.iter().copied()).first() {
            error.insert(ContextKind::SuggestedValue, ContextValue::String(nearest.to_string()));
        }
        Err(error)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.names.iter().copied().map(PossibleValue::new)))
    }
}

/// The flag of a setting.
fn arg(flag: &Flag) -> Arg {
    let setting = &flag.setting;
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .visible_aliases(setting.aliases)
        .value_name(setting.metavar)
        .help(flag.help())
        .required(setting.required)
        .action(ArgAction::Set);
    let arg = if flag.heading.is_empty() { arg } else { arg.help_heading(flag.heading) };
    let arg = match setting.short {
        Some(letter) => arg.short(letter),
        None => arg,
    };
    let arg = match (setting.name, setting.names.is_empty()) {
        (_, true) => arg,
        // a base's name stands for the plain rule over it
        ("optimizer", _) => arg.value_parser(Names {
            names: OptimizerName::names(),
            others: OptimizerName::others(),
            family: OptimizerName::family(),
            beside: |_| false,
        }),
        (name, false) => arg.value_parser(Names {
            names: setting.names.clone(),
            others: setting.others.clone(),
            family: setting.family,
            beside: if name == "dataset" { Images::is_path } else { |_: &str| false },
        }),
    };
    match setting.kind {
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::List => arg.value_delimiter(',').action(ArgAction::Append),
        Kind::Number | Kind::Count | Kind::Text => arg,
    }
}
