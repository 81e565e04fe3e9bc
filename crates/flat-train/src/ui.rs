//! Messages and progress on the terminal: a live view or bars there, plain lines elsewhere, nothing when quiet. Always on
//! stderr, so that stdout holds the result alone.

use crate::args::UiName;
use crate::news;
use crate::view::{self, View};
use flat_run::{Gauge, Screen, Ui, usage};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The way in which progress is shown on lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// Bars with ETA.
    Bars,
    /// A line now and then.
    Lines,
}

/// Time between two lines where there are no bars.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

impl Terminal {
    /// What `--ui` says; by default what the terminal can show. `quiet` leaves warnings alone. `live` says that a live
    /// view is of use, and that standard input is free for its keys.
    ///
    /// # Errors
    /// A view or bars without a terminal.
    pub fn choose(name: UiName, quiet: bool, live: bool) -> anyhow::Result<Ui<'static>> {
        let is_terminal = std::io::stderr().is_terminal();
        match name {
            UiName::Bars if !is_terminal => {
                return Err(usage("--ui bars needs a terminal on standard error; --ui plain needs none"));
            }
            UiName::Tui if !view::is_possible() => {
                let message =
                    "--ui tui needs a terminal on standard input and error, and its foreground; --ui plain needs none";
                return Err(usage(message));
            }
            _ => {}
        }
        let variable = |name: &str| std::env::var_os(name).unwrap_or_default();
        let is_plain = !variable("NO_COLOR").is_empty() || variable("TERM") == "dumb";
        Ok(match name {
            _ if quiet => Ui::on(&Self::Lines).quiet(),
            UiName::Auto if live && !is_plain && view::is_possible() => Ui::on(&View),
            UiName::Tui => Ui::on(&View),
            UiName::Bars => Ui::on(&Self::Bars),
            UiName::Auto if is_terminal && !is_plain => Ui::on(&Self::Bars),
            UiName::Auto | UiName::Plain => Ui::on(&Self::Lines),
        })
    }
}

impl Screen for Terminal {
    fn say(&self, line: &str) {
        news::tell(line);
    }

    fn warn(&self, line: &str) {
        news::warn(line);
    }

    fn transient(&self) -> bool {
        *self == Self::Bars
    }

    fn bar(&self, what: &str, done: u64, length: u64, unit: &str) -> Box<dyn Gauge> {
        let inner = (*self == Self::Bars).then(|| {
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
            // no colours, so that NO_COLOR has nothing to switch off
            let template = format!("{{prefix}} {{bar:20}} {{pos}}/{{len}} {unit} [{{elapsed}}<{{eta}}] {{wide_msg}}");
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(news::printable(what).into_owned());
            bar.set_position(done);
            bar.reset_eta();
            news::raise(&bar);
            bar
        });
        Box::new(Bar {
            terminal: *self,
            inner,
            what: what.to_string(),
            unit: unit.to_string(),
            begun: done,
            length,
            started: Instant::now(),
            last_line: Instant::now(),
        })
    }
}

/// Progress of one piece of work; disappears when dropped.
#[derive(Debug)]
struct Bar {
    terminal: Terminal,
    inner: Option<ProgressBar>,
    what: String,
    unit: String,
    begun: u64,
    length: u64,
    started: Instant,
    last_line: Instant,
}

impl Gauge for Bar {
    fn update(&mut self, done: u64, message: &mut dyn FnMut() -> String) {
        match &self.inner {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(news::printable(&message()).into_owned());
            }
            None if self.terminal == Terminal::Lines && self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                let pace = self.started.elapsed().as_secs_f64() / done.saturating_sub(self.begun).max(1) as f64;
                let left = pace * self.length.saturating_sub(done) as f64;
                let (what, length, unit) = (&self.what, self.length, &self.unit);
                let message = message();
                news::tell(&format!("{what} {done}/{length} {unit}, about {left:.0} s left  {message}"));
            }
            None => {}
        }
    }

    fn say(&self, line: &str) {
        self.terminal.say(line);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.inner {
            news::lower(bar);
        }
    }
}
