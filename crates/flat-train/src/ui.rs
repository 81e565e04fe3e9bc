//! What a person sees while it runs: bars on a terminal, plain lines elsewhere, nothing when quiet. Always on stderr, so
//! that stdout holds the result alone.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How to show progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ui {
    /// Bars with ETA.
    Bars,
    /// A line now and then.
    Lines,
    /// Nothing.
    Quiet,
}

/// Time between two lines where there are no bars.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

impl Ui {
    /// Chooses by the terminal and `--quiet`.
    pub fn detect(quiet: bool) -> Self {
        if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() {
            Self::Bars
        } else {
            Self::Lines
        }
    }

    /// Prints a line of news; while a bar is up, use [`Bar::say`].
    pub fn say(self, line: impl AsRef<str>) {
        if self != Self::Quiet {
            eprintln!("{}", line.as_ref());
        }
    }

    /// Prints a warning, also when quiet.
    pub fn warn(self, line: impl AsRef<str>) {
        eprintln!("warning: {}", line.as_ref());
    }

    /// Starts to show the progress of `length` units of work, `done` of which were done before.
    pub fn bar(self, what: &str, done: u64, length: u64, unit: &str) -> Bar {
        let inner = (self == Self::Bars).then(|| {
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
            // no colours, so that NO_COLOR has nothing to switch off
            let template = format!("{{prefix}} {{bar:20}} {{pos}}/{{len}} {unit} [{{elapsed}}<{{eta}}] {{wide_msg}}");
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(what.to_string());
            bar.set_position(done);
            bar.reset_eta();
            bar
        });
        Bar {
            ui: self,
            inner,
            what: what.to_string(),
            unit: unit.to_string(),
            begun: done,
            length,
            started: Instant::now(),
            last_line: Instant::now(),
        }
    }
}

/// Progress of one piece of work; disappears when dropped.
#[derive(Debug)]
pub struct Bar {
    ui: Ui,
    inner: Option<ProgressBar>,
    what: String,
    unit: String,
    begun: u64,
    length: u64,
    started: Instant,
    last_line: Instant,
}

impl Bar {
    /// Sets what is done and the numbers shown beside it.
    pub fn update(&mut self, done: u64, message: impl FnOnce() -> String) {
        match &self.inner {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(message());
            }
            None if self.ui == Ui::Lines && self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                let pace = self.started.elapsed().as_secs_f64() / done.saturating_sub(self.begun).max(1) as f64;
                let left = pace * self.length.saturating_sub(done) as f64;
                let (what, length, unit) = (&self.what, self.length, &self.unit);
                eprintln!("{what} {done}/{length} {unit}, about {left:.0} s left  {}", message());
            }
            None => {}
        }
    }

    /// Prints a line of news above the bar.
    pub fn say(&self, line: impl AsRef<str>) {
        match &self.inner {
            Some(bar) => bar.println(line),
            None => self.ui.say(line),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.inner {
            bar.finish_and_clear();
        }
    }
}
