//! Every measure of one checkpoint in one report.

use super::document::{SCHEMA, card};
use super::interface::{Asked, Entry, InAll, Report, Shared};
use crate::parts::subject::LoadedCheckpoint;
use crate::settings::args::{EvalArgs, HessianArgs};
use crate::settings::choice::HvpName;
use crate::ui::Ui;
use crate::usage::BadFlag;
use anyhow::Result;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command};
use flat_metrics::Effort;
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::time::Instant;

/// The subcommand's name.
pub const NAME: &str = "all";

/// The measures that were asked for, with their flags.
pub struct All {
    parts: Vec<Part>,
}

/// One measure of them.
struct Part {
    key: &'static str,
    title: &'static str,
    shared: &'static [Shared],
    asked: Box<dyn Asked>,
}

/// What all of them found.
#[derive(Debug)]
pub struct Summary {
    /// The JSON.
    pub document: Value,
    /// For a person.
    pub text: String,
    /// A signal ended it.
    pub interrupted: bool,
}

/// The flag that asks for a measure.
fn switch(of: InAll) -> Option<Arg> {
    of.asked_by.map(|(flag, help)| Arg::new(flag).long(flag).help(help).action(ArgAction::SetTrue))
}

fn by_long(command: &Command, long: &str) -> Option<Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(long)).cloned()
}

/// The subcommand, whose flags are those that the measures share with it.
pub fn command(measures: &[&dyn Entry]) -> Command {
    let about = "Trace, eigenvalues, density, sharpness, dimension and, with --certify, the certificate in one report";
    let mut all = HessianArgs::augment_args(Command::new(NAME)).about(about).allow_negative_numbers(true);
    for measure in measures {
        let Some(of) = measure.in_all() else { continue };
        all = all.args(switch(of));
        let own = measure.command();
        for shared in of.flags {
            let Some(arg) = by_long(&own, shared.own) else { continue };
            let arg = arg.id(shared.flag).long(shared.flag);
            all = all.arg(match shared.instead {
                Some((help, default)) => arg.help(help).default_value(default),
                None => arg,
            });
        }
    }
    all
}

impl All {
    /// The measures with the flags that `metrics all` shares with them, and their own defaults for the others.
    ///
    /// # Errors
    /// clap's.
    pub fn parse(measures: &[&dyn Entry], matches: &ArgMatches) -> Result<Self, clap::Error> {
        let common = HessianArgs::augment_args(Command::new(NAME));
        let mut parts = Vec::new();
        for measure in measures {
            let Some(of) = measure.in_all() else { continue };
            if of.asked_by.is_some_and(|(flag, _)| !matches.get_flag(flag)) {
                continue;
            }
            let own = measure.command();
            let mut words = vec![OsString::from(measure.name())];
            for arg in common.get_arguments() {
                let (id, long) = (arg.get_id().as_str(), arg.get_long().unwrap_or_default());
                if matches.value_source(id) == Some(ValueSource::CommandLine) && by_long(&own, long).is_some() {
                    words.extend(typed(matches, id, long));
                }
            }
            for shared in of.flags {
                words.extend(typed(matches, shared.flag, shared.own));
            }
            let asked = measure.parse(&own.try_get_matches_from(words)?)?;
            parts.push(Part {
                key: of.key.unwrap_or(measure.name()),
                title: of.title.unwrap_or(measure.about()),
                shared: of.flags,
                asked,
            });
        }
        Ok(Self { parts })
    }

    /// Checkpoint and data.
    ///
    /// # Errors
    /// No measure.
    pub fn on(&self) -> Option<EvalArgs> {
        self.parts.first().map(|part| part.asked.on())
    }

    /// The Hessian-vector products.
    pub fn hvp(&self) -> HvpName {
        self.parts.iter().map(|part| part.asked.hvp()).find(|hvp| *hvp != HvpName::Exact).unwrap_or(HvpName::Exact)
    }

    /// Takes the measures one after the other on one loaded checkpoint; those taken by then where a signal asks to stop,
    /// `None` where there are none.
    ///
    /// # Errors
    /// Flags that make no sense, before anything is loaded; those of the measures.
    pub fn report(&self, ui: Ui) -> Result<Option<Summary>> {
        for part in &self.parts {
            part.asked.check().map_err(|e| part.in_flags(e))?;
        }
        let Some(on) = self.on() else { return Ok(None) };
        let (started, subject) = (Instant::now(), LoadedCheckpoint::to_measure(&on)?.announced(ui));
        let mut taken: Vec<(&Part, Report)> = Vec::new();
        let mut complete = true;
        for part in &self.parts {
            let found = part.asked.report(&subject, ui).map_err(|e| part.in_flags(e))?;
            complete = found.as_ref().is_some_and(|report| !report.interrupted);
            taken.extend(found.map(|report| (part, report)));
            if !complete {
                break;
            }
        }
        let Some((_, first)) = taken.first() else { return Ok(None) };
        let mut effort = Effort { seed: first.effort.seed, ..Effort::default() };
        taken.iter().for_each(|(_, report)| effort.add(&report.effort));
        effort.wall_s = started.elapsed().as_secs_f64();
        // of the whole: no method is that of all parts
        let mut provenance = first.provenance.clone();
        (provenance.estimator, provenance.probe_distribution, provenance.computed.batches) = (None, None, None);
        let mut texts: Vec<String> =
            taken.iter().map(|(part, report)| format!("{}\n{}\n", part.title, report.table)).collect();
        if !complete {
            texts.insert(0, "Interrupted\nwhat was measured by then\n".into());
        }
        let mut document = Map::from_iter([
            ("schema".to_string(), SCHEMA.into()),
            ("measure".to_string(), NAME.into()),
            ("interrupted".to_string(), (!complete).into()),
        ]);
        document.insert("card".into(), Value::Object(card(&provenance, &effort)?));
        let text = format!("{}\n{}", texts.join("\n"), provenance.lines(&effort));
        document.extend(taken.into_iter().map(|(part, report)| (part.key.to_string(), report.document)));
        Ok(Some(Summary { document: Value::Object(document), text, interrupted: !complete }))
    }
}

impl Part {
    /// The error with the flags as they are in `metrics all`.
    fn in_flags(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast::<BadFlag>() {
            Ok(bad) => match self.shared.iter().find(|shared| shared.own == bad.flag) {
                Some(shared) => BadFlag { flag: shared.flag.into(), ..bad }.into(),
                None => bad.into(),
            },
            Err(error) => error,
        }
    }
}

/// The values of a flag as words that give them to another one.
fn typed(matches: &ArgMatches, id: &str, long: &str) -> Option<OsString> {
    let values = matches.get_raw(id)?;
    let list = values.map(OsString::from).reduce(|mut list, value| {
        list.push(",");
        list.push(value);
        list
    })?;
    let mut word = OsString::from(format!("--{long}="));
    word.push(list);
    Some(word)
}
