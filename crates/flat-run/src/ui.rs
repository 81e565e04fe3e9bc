//! Messages and progress of runs and measures, through a trait that the program implements.

use crate::store::line::Line;

/// Shows messages and progress: a terminal, a log or nothing.
pub trait Screen: Sync {
    /// A line of news.
    fn say(&self, line: &str);

    /// A warning.
    fn warn(&self, line: &str);

    /// Starts to show the progress of `length` units of work, `done` of which were done before.
    fn bar(&self, what: &str, done: u64, length: u64, unit: &str) -> Box<dyn Gauge>;

    /// A line of the journal of a run in this process, those of steps that the journal leaves out included.
    fn line(&self, _: &Line) {}

    /// Whether bars disappear when their work is done, so that every part of a long piece of work may have one.
    fn transient(&self) -> bool;
}

/// The progress of one piece of work; it disappears when dropped.
pub trait Gauge: Send {
    /// Sets what is done; `message` makes the numbers shown beside it.
    fn update(&mut self, done: u64, message: &mut dyn FnMut() -> String);

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

    /// Shows a line of a run's journal.
    pub(crate) fn line(self, line: &Line) {
        if let Some(screen) = self.shown() {
            screen.line(line);
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

    /// Tells a line of news above the bar.
    pub fn say(&self, line: impl AsRef<str>) {
        if let Some(gauge) = &self.gauge {
            gauge.say(line.as_ref());
        }
    }
}
