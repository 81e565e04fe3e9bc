//! Every measure of one checkpoint in one report.

use super::document::{SCHEMA, card};
use super::interface::{Asked, Entry, Report, Shared};
use crate::parts::subject::LoadedCheckpoint;
use crate::settings::args::{EvalArgs, HessianArgs};
use crate::settings::flags::Flag;
use crate::ui::Ui;
use crate::usage::{BadFlag, no_effect};
use anyhow::Result;
use flat_core::setting::{Needs, Setting, Settings, Values};
use flat_metrics::Effort;
use serde_json::{Map, Value};
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

/// The results of `metrics all`.
#[derive(Debug)]
pub struct Summary {
    /// The JSON.
    pub document: Value,
    /// For a person.
    pub text: String,
    /// A signal ended it.
    pub interrupted: bool,
}

/// What its help says.
pub const ABOUT: &str = "Every measure of one checkpoint in one report, the certificate with --certify";

/// Its flags: those of every measure of the Hessian, and those that single measures share with it.
pub fn flags(measures: &[&dyn Entry]) -> Vec<Flag> {
    let mut all = HessianArgs::settings();
    for measure in measures {
        let Some(of) = measure.in_all() else { continue };
        all.extend(of.asked_by.map(|(flag, help)| Setting::new(flag, help, &false)));
        let own = measure.flags();
        all.extend(of.flags.iter().filter_map(|shared| {
            let mut setting = own.iter().find(|flag| flag.setting.name == shared.own)?.setting.clone();
            setting.name = shared.flag;
            if let Some((help, default)) = shared.instead {
                (setting.help, setting.default, setting.default_in_words) = (help, Some(default.into()), "");
            }
            Some(setting)
        }));
    }
    all.into_iter().map(Flag::from).collect()
}

impl All {
    /// The measures with the flags that `metrics all` shares with them, and their own defaults for the others.
    ///
    /// # Errors
    /// A usage error that names the flag.
    pub fn asked(measures: &[&dyn Entry], flags: &Values) -> Result<Self> {
        let common = HessianArgs::settings();
        let mut parts = Vec::new();
        for measure in measures {
            let Some(of) = measure.in_all() else { continue };
            if let Some((switch, _)) = of.asked_by.filter(|(flag, _)| !Needs::Is(flag, "true").met(flags)) {
                match of.flags.iter().find(|shared| flags.get(shared.flag).is_some()) {
                    Some(shared) => return Err(no_effect(shared.flag, &format!("--{switch}"))),
                    None => continue,
                }
            }
            let own = measure.flags();
            let mut values = flags.clone();
            values.retain(|name| {
                common.iter().any(|s| s.name == name) && own.iter().any(|flag| flag.setting.name == name)
            });
            for Shared { flag, own, instead } in of.flags {
                let value = flags.get(flag).cloned().or(instead.map(|(_, default)| default.into()));
                value.into_iter().for_each(|value| values.insert(*own, value));
            }
            parts.push(Part {
                key: of.key.unwrap_or(measure.name()),
                title: of.title.unwrap_or(measure.about()),
                shared: of.flags,
                asked: measure.asked(&values).map_err(|e| in_flags(of.flags, e))?,
            });
        }
        Ok(Self { parts })
    }

    /// Checkpoint and data; `None` without a measure.
    pub fn on(&self) -> Option<EvalArgs> {
        self.parts.first().map(|part| part.asked.on())
    }

    /// Takes the measures one after the other on one loaded checkpoint. Where a signal asks to stop, it gives those
    /// taken by then, or `None` where there are none.
    ///
    /// # Errors
    /// Those of the measures.
    pub fn report(&self, ui: Ui) -> Result<Option<Summary>> {
        let Some(on) = self.on() else { return Ok(None) };
        let (started, subject) = (Instant::now(), LoadedCheckpoint::to_measure(&on)?.announced(ui));
        let mut taken: Vec<(&Part, Report)> = Vec::new();
        let mut complete = true;
        for part in &self.parts {
            let found = part.asked.report(&subject, ui).map_err(|e| in_flags(part.shared, e))?;
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

/// A measure's error with the flags as they are in `metrics all`.
fn in_flags(all: &[Shared], error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<BadFlag>() {
        Ok(bad) => match all.iter().find(|shared| shared.own == bad.flag) {
            Some(shared) => BadFlag { flag: shared.flag.into(), ..bad }.into(),
            None => bad.into(),
        },
        Err(error) => error,
    }
}
