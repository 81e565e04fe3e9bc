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

    /// Prints a line of news.
    pub fn say(self, line: impl AsRef<str>) {
        if self != Self::Quiet {
            eprintln!("{}", line.as_ref());
        }
    }

    /// Starts to show the progress of `length` units of work.
    pub fn bar(self, what: &str, length: u64, unit: &str) -> Bar {
        let inner = (self == Self::Bars).then(|| {
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
            // NO_COLOR: the template has no colours
            let template =
                format!("{{prefix}} {{bar:30}} {{pos}}/{{len}} {unit} [{{elapsed}}<{{eta}}, {{per_sec}}] {{msg}}");
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(what.to_string());
            bar
        });
        Bar {
            ui: self,
            inner,
            what: what.to_string(),
            unit: unit.to_string(),
            done: 0,
            length,
            message: String::new(),
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
    done: u64,
    length: u64,
    message: String,
    started: Instant,
    last_line: Instant,
}

impl Bar {
    /// Sets what is done and the numbers shown beside it.
    pub fn update(&mut self, done: u64, message: impl FnOnce() -> String) {
        self.done = done;
        match &self.inner {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(message());
            }
            None if self.ui == Ui::Lines && self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                self.message = message();
                eprintln!("{}", self.line());
            }
            None => {}
        }
    }

    fn line(&self) -> String {
        let elapsed = self.started.elapsed().as_secs_f64();
        let left = elapsed / self.done.max(1) as f64 * self.length.saturating_sub(self.done) as f64;
        format!("{} {}/{} {}, about {:.0} s left  {}", self.what, self.done, self.length, self.unit, left, self.message)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.inner {
            bar.finish_and_clear();
        }
    }
}
