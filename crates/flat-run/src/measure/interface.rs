//! The interface of a measure: its flags, its computation, its text and JSON.

use super::along::Along;
use super::document::Document;
use super::provenance::{Provenance, Taken};
use crate::parts::subject::LoadedCheckpoint;
use crate::settings::args::EvalArgs;
use crate::settings::flags::{Flag, given};
use crate::ui::Ui;
use anyhow::Result;
use flat_core::setting::{Settings, Values};
use flat_metrics::{Effort, Stop};
use serde::Serialize;
use serde_json::Value;
use std::marker::PhantomData;
use std::time::Instant;

/// A measure, which is the type of its settings. An entry of [`super::MEASURES`] gives it a subcommand of `metrics` with their
/// flags, its JSON, a part in `metrics all` and, with [`Self::ALONG`], a place in `--flatness`, the journal and the report.
pub trait Measure: Settings + 'static {
    /// The subcommand of `metrics`, and its key in `metrics all --json`.
    const NAME: &'static str;
    /// Its help.
    const ABOUT: &'static str;
    /// How `metrics all` takes it; `None` where it does not.
    const IN_ALL: Option<InAll> = Some(InAll::PLAIN);
    /// How a run takes it on its way.
    const ALONG: Option<Along> = None;

    /// What it finds, beside provenance, effort and stop.
    type Found: Serialize;

    /// The checkpoint and the data that it is taken on.
    fn on(&self) -> EvalArgs;

    /// Refuses what makes no sense together, before any work is spent. Ranges and needs are the settings'.
    ///
    /// # Errors
    /// One that names the flag.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Measures. Where a signal asks to stop, what there is by then; `None` where that is nothing.
    ///
    /// # Errors
    /// A loss that is not finite; candle's.
    fn take(&self, subject: &LoadedCheckpoint, ui: Ui) -> Result<Option<Taken<Self::Found>>>;

    /// The numbers for a person; provenance and effort follow by themselves.
    fn table(found: &Taken<Self::Found>) -> String;

    /// What else is made of the result, such as a plot.
    ///
    /// # Errors
    /// A file that cannot be written.
    fn keep(&self, found: &Taken<Self::Found>, ui: Ui) -> Result<()> {
        let _ = (found, ui);
        Ok(())
    }
}

/// The place of a measure in `metrics all`.
#[derive(Debug, Clone, Copy)]
pub struct InAll {
    /// Its title in the text, where not [`Measure::ABOUT`].
    pub title: Option<&'static str>,
    /// Key in its JSON, where not the measure's name.
    pub key: Option<&'static str>,
    /// The flag that asks for it, with its help; `None` where it is always taken.
    pub asked_by: Option<(&'static str, &'static str)>,
    /// The measure's flags that `metrics all` has too.
    pub flags: &'static [Shared],
}

impl InAll {
    /// Always taken, with the measure's defaults.
    pub const PLAIN: Self = Self { title: None, key: None, asked_by: None, flags: &[] };
}

/// A flag of a measure that `metrics all` has too.
#[derive(Debug, Clone, Copy)]
pub struct Shared {
    /// Its name in `metrics all`.
    pub flag: &'static str,
    /// Its name in the measure.
    pub own: &'static str,
    /// Help and default in `metrics all`, where not the measure's.
    pub instead: Option<(&'static str, &'static str)>,
}

impl Shared {
    /// The same flag.
    pub const fn same(flag: &'static str) -> Self {
        Self { flag, own: flag, instead: None }
    }
}

/// The result of a measure, as text and as JSON.
#[derive(Debug)]
pub struct Report {
    /// The JSON.
    pub document: Value,
    /// The table without provenance and effort.
    pub table: String,
    /// Where it comes from.
    pub provenance: Provenance,
    /// What it cost.
    pub effort: Effort,
    /// A signal ended it.
    pub interrupted: bool,
}

impl Report {
    /// All of it for a person.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.table, self.provenance.lines(&self.effort))
    }
}

/// A measure whose flags were given.
pub trait Asked {
    /// Checkpoint and data.
    fn on(&self) -> EvalArgs;
    /// See [`Measure::take`] and [`Measure::keep`].
    ///
    /// # Errors
    /// Those of the measure.
    fn report(&self, subject: &LoadedCheckpoint, ui: Ui) -> Result<Option<Report>>;
}

impl<M: Measure> Asked for M {
    fn on(&self) -> EvalArgs {
        Measure::on(self)
    }

    fn report(&self, subject: &LoadedCheckpoint, ui: Ui) -> Result<Option<Report>> {
        let span = tracing::info_span!("measure", name = M::NAME).entered();
        let begun = Instant::now();
        tracing::debug!("begun");
        let Some(taken) = self.take(subject, ui)? else { return Ok(None) };
        tracing::info!(stop = ?taken.stop, s = begun.elapsed().as_secs_f64(), "taken");
        drop(span);
        self.keep(&taken, ui)?;
        let (table, interrupted) = (M::table(&taken), taken.stop == Stop::Interrupted);
        let (provenance, effort) = (taken.provenance.clone(), taken.effort);
        let document = serde_json::to_value(Document { measure: M::NAME, taken })?;
        Ok(Some(Report { document, table, provenance, effort, interrupted }))
    }
}

/// An entry of the list of measures.
pub trait Entry: Sync {
    /// See [`Measure::NAME`].
    fn name(&self) -> &'static str;
    /// See [`Measure::ABOUT`].
    fn about(&self) -> &'static str;
    /// See [`Measure::IN_ALL`].
    fn in_all(&self) -> Option<InAll>;
    /// See [`Measure::ALONG`].
    fn along(&self) -> Option<Along>;
    /// Its flags.
    fn flags(&self) -> Vec<Flag>;
    /// The measure with flags that were given.
    ///
    /// # Errors
    /// A usage error that names the flag.
    fn asked(&self, flags: &Values) -> Result<Box<dyn Asked>>;
}

/// The entry of a measure.
#[derive(Debug)]
pub struct Of<M>(PhantomData<fn() -> M>);

impl<M> Of<M> {
    /// The entry.
    pub const NEW: Self = Self(PhantomData);
}

impl<M: Measure> Entry for Of<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn about(&self) -> &'static str {
        M::ABOUT
    }

    fn in_all(&self) -> Option<InAll> {
        M::IN_ALL
    }

    fn along(&self) -> Option<Along> {
        M::ALONG
    }

    fn flags(&self) -> Vec<Flag> {
        M::settings().into_iter().map(Flag::from).collect()
    }

    fn asked(&self, flags: &Values) -> Result<Box<dyn Asked>> {
        let measure: M = given(flags)?;
        measure.validate()?;
        Ok(Box::new(measure))
    }
}
