//! Messages and progress of runs and measures, through a trait that the program implements.

use crate::store::line::Line;
use flat_metrics::Progress;

/// A number that work under way has come to, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The number.
    pub value: f64,
    /// The ends of the interval about it.
    pub interval: [f64; 2],
}

impl Reading {
    /// An estimate with its standard error about it; `None` before both are known.
    pub fn of_estimate(p: &Progress) -> Option<Self> {
        Some(Self::about(p.value?, p.error?))
    }

    /// The largest eigenvalue with its residual about it, within which one lies for certain; `None` before it is known.
    pub fn of_eigenvalue(p: &Progress) -> Option<Self> {
        p.value.zip(p.error).map(|(value, relative)| Self::about(value, relative * value.abs()))
    }

    fn about(value: f64, half: f64) -> Self {
        Self { value, interval: [value - half, value + half] }
    }
}

/// Pieces of work in a table, the foremost first: cells of a sweep by rank, cells of a study as they end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standings {
    /// What they are, with the unit of the numbers.
    pub title: String,
    /// Of each its name, its number, and how far it is.
    pub rows: Vec<[String; 3]>,
}

/// What a screen may show beside the progress of work.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// A line of the journal of a run in this process, those of steps that the journal leaves out included.
    Line(&'a Line),
    /// How pieces of work stand.
    Standings(&'a Standings),
    /// Eigenvalues that were found, the largest first.
    Eigenvalues(&'a [f64]),
}

/// Shows messages and progress: a terminal, a log or nothing.
pub trait Screen: Sync {
    /// A line of news.
    fn say(&self, line: &str);

    /// A warning.
    fn warn(&self, line: &str);

    /// Starts to show the progress of `length` units of work, `done` of which were done before.
    fn bar(&self, what: &str, done: u64, length: u64, unit: &str) -> Box<dyn Gauge>;

    /// Takes up what it may show; nothing by default.
    fn show(&self, _: Shown<'_>) {}

    /// Whether bars disappear when their work is done, so that every part of a long piece of work may have one.
    fn transient(&self) -> bool;
}

/// The progress of one piece of work; it disappears when dropped.
pub trait Gauge: Send {
    /// Sets what is done; `message` makes the numbers shown beside it.
    fn update(&mut self, done: u64, message: &mut dyn FnMut() -> String);

    /// Takes up the number that the work has come to; nothing by default.
    fn read(&mut self, _done: u64, _: Reading) {}

    /// A line of news above the bar.
    fn say(&self, line: &str);
}

/// A screen for messages and progress, or none.
#[derive(Clone, Copy)]
pub struct Ui<'a> {
    screen: Option<&'a dyn Screen>,
    /// Warnings alone.
    quiet: bool,
}

impl<'a> Ui<'a> {
    /// Shows nothing.
    pub const NONE: Self = Self { screen: None, quiet: true };

    /// Shows everything on the screen.
    pub fn on(screen: &'a dyn Screen) -> Self {
        Self { screen: Some(screen), quiet: false }
    }

    /// Tells a line of news; while a bar is up, use [`Bar::say`].
    pub fn say(self, line: impl AsRef<str>) {
        if let Some(screen) = self.shown() {
            screen.say(line.as_ref());
        }
    }

    /// Tells a warning.
    pub fn warn(self, line: impl AsRef<str>) {
        if let Some(screen) = self.screen {
            screen.warn(line.as_ref());
        }
    }

    /// Starts to show the progress of `length` units of work, `done` of which were done before.
    pub fn bar(self, what: &str, done: u64, length: u64, unit: &str) -> Bar {
        let gauge = self.shown().map(|screen| screen.bar(what, done, length, unit));
        Bar { gauge, what: what.into(), length }
    }

    /// Shows something beside the progress of work, where the screen has a place for it.
    pub fn show(self, shown: Shown<'_>) {
        if let Some(screen) = self.shown() {
            screen.show(shown);
        }
    }

    /// The same for warnings alone.
    pub fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// For a part of a long piece of work: bars where they disappear again, else warnings alone.
    pub fn of_part(self) -> Self {
        if self.screen.is_some_and(Screen::transient) { self } else { self.quiet() }
    }

    fn shown(self) -> Option<&'a dyn Screen> {
        self.screen.filter(|_| !self.quiet)
    }
}

/// Progress of one piece of work; disappears when dropped.
pub struct Bar {
    gauge: Option<Box<dyn Gauge>>,
    what: String,
    length: u64,
}

impl Bar {
    /// Sets what is done and the numbers shown beside it.
    pub fn update(&mut self, done: u64, message: impl Fn() -> String) {
        tracing::trace!(what = self.what, done, of = self.length, message = message());
        if let Some(gauge) = &mut self.gauge {
            gauge.update(done, &mut || message());
        }
    }

    /// Sets the number that the work has come to, where there is one.
    pub fn read(&mut self, done: u64, reading: Option<Reading>) {
        if let Some((gauge, reading)) = self.gauge.as_mut().zip(reading) {
            gauge.read(done, reading);
        }
    }

    /// Tells a line of news above the bar.
    pub fn say(&self, line: impl AsRef<str>) {
        if let Some(gauge) = &self.gauge {
            gauge.say(line.as_ref());
        }
    }
}
