//! The output of a run under way: progress bar, lines for a person, journal and observer.

use super::{Trainer, steps};
use crate::run::observer::Observer;
use crate::run::perturbed::Perturbed;
use crate::store::line::Line;
use crate::ui::Shown;
use anyhow::Result;
use std::time::{Duration, Instant};

/// Time between two updates of the progress display.
const DISPLAY_INTERVAL: Duration = Duration::from_millis(100);

/// Seconds of a run after which lines of steps come further apart.
const CROWDED: f64 = 600.0;

impl<'a> Trainer<'a> {
    pub(super) fn show(&mut self) {
        let (step, total) = (self.progress.step, self.total_steps());
        let bar = self.bar.get_or_insert_with(|| self.ui.bar("training", step, total, "steps"));
        if self.last_redraw.elapsed() >= DISPLAY_INTERVAL {
            self.last_redraw = Instant::now();
            let (config, progress) = (self.config, &self.progress);
            bar.update(step, || steps::describe(&progress.epoch) + &Perturbed::suffix(config, progress));
        }
    }

    pub(super) fn say(&self, line: String) {
        match &self.bar {
            Some(bar) => bar.say(line),
            None => self.ui.say(line),
        }
    }

    /// Lets someone hear of the run from here on.
    pub fn observe(&mut self, observer: &'a mut dyn Observer) {
        self.observer = Some(observer);
    }

    /// Whether the next step gets a line by `--log-interval`; each answer of yes moves the time of the next.
    pub(super) fn line_is_due(&mut self) -> bool {
        let (interval, now) = (self.config.log_interval, self.wall());
        let due = interval > 0.0 && now >= self.next_line;
        if due {
            self.next_line = now + interval * (now / CROWDED).max(1.0);
        }
        due
    }

    /// Appends a line to the journal and tells the observer.
    ///
    /// # Errors
    /// The disk is full.
    pub fn log(&mut self, line: &Line) -> Result<()> {
        self.journal.write(line)?;
        self.tell(line);
        Ok(())
    }

    pub(super) fn tell(&mut self, line: &Line) {
        self.ui.show(Shown::Line(line));
        if let Some(observer) = &mut self.observer {
            self.stop |= observer.line(line).is_break();
        }
    }
}
