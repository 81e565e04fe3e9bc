//! The live view of work on a terminal: progress, curves of the run and its flatness, news, and keys to pause and to stop.
//!
//! A thread of its own draws it to standard error some times a second, from a state that progress and the lines of the journal
//! fill. Work of less than a second has none. Lines of news are held back while it is up and written when it ends, so that the
//! terminal shows them as it does without a view.

mod curves;
mod draw;
mod foreground;
mod keys;
mod state;

use self::state::State;
use crate::{interrupt, news};
use flat_run::{Gauge, Reading, Screen, Shown};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::{cursor, event, execute, terminal};
use std::io::{IsTerminal, Stderr, stderr, stdin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

/// How long work takes before it gets a view.
const DELAY: Duration = Duration::from_secs(1);
/// Time between two pictures.
const FRAME: Duration = Duration::from_millis(200);

static STATE: Mutex<State> = Mutex::new(State::NEW);
static THREAD: Mutex<Option<Live>> = Mutex::new(None);
/// Whether the terminal is the view's.
static UP: AtomicBool = AtomicBool::new(false);
/// Whether a picture is being drawn.
static DRAWING: AtomicBool = AtomicBool::new(false);
/// The name of the thread that draws.
const NAME: &str = "view";

/// How long the end of the work waits for that of the view.
const PATIENCE: Duration = Duration::from_secs(1);

/// The thread that draws.
struct Live {
    stop: Sender<()>,
    /// Hangs up when it has ended.
    ended: Receiver<()>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The screen that is a view of the whole terminal.
#[derive(Debug)]
pub(crate) struct View;

impl Screen for View {
    fn say(&self, line: &str) {
        news::tell(line);
    }

    fn warn(&self, line: &str) {
        news::warn(line);
    }

    fn bar(&self, what: &str, done: u64, length: u64, unit: &str) -> Box<dyn Gauge> {
        open();
        Box::new(Progress(locked(&STATE).begin(what, done, length, unit)))
    }

    fn show(&self, shown: Shown<'_>) {
        locked(&STATE).show(shown);
    }

    fn transient(&self) -> bool {
        true
    }
}

/// Progress of one piece of work, by its number.
struct Progress(u64);

impl Gauge for Progress {
    fn update(&mut self, done: u64, message: &mut dyn FnMut() -> String) {
        locked(&STATE).update(self.0, done, message());
    }

    fn read(&mut self, done: u64, reading: Reading) {
        locked(&STATE).read(self.0, done, reading);
    }

    fn say(&self, line: &str) {
        news::tell(line);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        locked(&STATE).end(self.0);
    }
}

/// Whether there is a terminal for it: one that shows it and has keys, with this process in its foreground.
pub(crate) fn is_possible() -> bool {
    stderr().is_terminal() && stdin().is_terminal() && foreground::is_ours()
}

/// Starts the thread, unless it runs.
fn open() {
    let mut thread = locked(&THREAD);
    if thread.is_none() {
        let ((stop, stopped), (ending, ended)) = (channel(), channel());
        let work = move || {
            live(&stopped);
            drop(ending);
        };
        // where no thread can be had, there is no view
        let started = std::thread::Builder::new().name(NAME.into()).spawn(work);
        *thread = started.ok().map(|_| Live { stop, ended });
    }
}

/// Ends the view and gives the terminal back.
pub(crate) fn close() {
    if let Some(Live { stop, ended }) = locked(&THREAD).take() {
        drop(stop);
        // it sends nothing; where it hangs on a terminal that is no more, nobody waits for it
        let _ = ended.recv_timeout(PATIENCE);
        restore();
        *locked(&STATE) = State::NEW;
    }
}

/// Gives the terminal back at once, for a process that ends here.
pub(crate) fn restore() {
    if UP.swap(false, Ordering::SeqCst) {
        // a picture that is half drawn would go on in the restored terminal; one that panicked has ended
        let begun = Instant::now();
        let draws = || DRAWING.load(Ordering::SeqCst) && std::thread::current().name() != Some(NAME);
        while draws() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        // what cannot be restored cannot be told either
        let _ = execute!(stderr(), terminal::LeaveAlternateScreen, cursor::Show);
        let _ = terminal::disable_raw_mode();
        news::release();
    }
}

fn live(stop: &Receiver<()>) {
    if stop.recv_timeout(DELAY) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    // it may have gone to the background since
    if !is_possible() {
        return;
    }
    let Ok(mut raised) = Raised::new() else { return };
    // a terminal that hung up would be asked for keys for ever
    while is_possible() {
        DRAWING.store(true, Ordering::SeqCst);
        let drawn = UP
            .load(Ordering::SeqCst)
            .then(|| raised.terminal.draw(|frame| draw::picture(frame, &locked(&STATE), Instant::now())).is_ok());
        DRAWING.store(false, Ordering::SeqCst);
        // it is up no more after a panic or an abort; a terminal that went away takes its view along
        if drawn != Some(true) {
            return;
        }
        while event::poll(Duration::ZERO).unwrap_or(false) {
            if let Ok(event) = event::read() {
                keys::take(&event, &mut locked(&STATE));
            }
        }
        if stop.recv_timeout(FRAME) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// The terminal while it is the view's; restored when dropped.
struct Raised {
    terminal: Terminal<CrosstermBackend<Stderr>>,
}

impl Raised {
    fn new() -> std::io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            interrupt::before_abort(restore);
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                before(panic);
            }));
        });
        terminal::enable_raw_mode()?;
        UP.store(true, Ordering::SeqCst);
        news::hold();
        let raised = || {
            execute!(stderr(), terminal::EnterAlternateScreen, cursor::Hide)?;
            Terminal::new(CrosstermBackend::new(stderr()))
        };
        raised().map(|terminal| Self { terminal }).inspect_err(|_| restore())
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        restore();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flat_run::Standings;
    use flat_run::store::{Flatness, Line, Point, Progress};
    use ratatui::backend::TestBackend;

    /// What a terminal of this size shows.
    fn shown(state: &State, width: u16, height: u16) -> anyhow::Result<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height))?;
        terminal.draw(|frame| draw::picture(frame, state, Instant::now()))?;
        Ok(terminal.backend().to_string())
    }

    fn state() -> anyhow::Result<State> {
        let mut state = State::NEW;
        let number = state.begin("training", 0, 100, "steps");
        for step in 1..=50 {
            let (loss, evals) = (Some(1.0 / step as f64), Some(2.0 * step as f64));
            let (lr, rho, wall_s) = (Some(0.05), Some(0.1), Some(0.25));
            state.line(&Line::Step(Progress { step, loss, evals, lr, rho, wall_s, ..Progress::default() }));
            if step % 25 == 0 {
                let value = 1000.0 / step as f64;
                let trace = Point::new(&serde_json::json!({"value": value, "ci95": [value - 5.0, value + 5.0]}))?;
                let lambda = Point::new(&serde_json::json!({"value": value / 4.0, "residual": 1e-3}))?;
                let measured = [("trace".to_string(), trace), ("lambda_max".to_string(), lambda)].into();
                state.line(&Line::Flatness(Flatness::new(1, step, 1.0, measured, None)));
            }
        }
        state.update(number, 50, "loss 0.02".into());
        Ok(state)
    }

    #[test]
    fn the_picture_has_all_there_is_place_for() -> anyhow::Result<()> {
        let state = state()?;
        let large = shown(&state, 120, 40)?;
        for text in [
            "training 50/100 steps",
            "50 %",
            "loss 0.02",
            "lr 0.05",
            "rho 0.1",
            "100 evaluations",
            "8 evaluations/s",
            "trace 20 [15, 25]",
            "trace of the Hessian",
            "largest eigenvalue",
            "accuracy",
            "q save and stop   p pause",
        ] {
            assert!(large.contains(text), "{text} is not in\n{large}");
        }
        let small = shown(&state, 80, 24)?;
        assert!(small.contains("trace of the Hessian") && small.contains(" news "), "{small}");
        for (width, height) in [(1, 1), (10, 3), (40, 10), (300, 100)] {
            shown(&state, width, height)?;
        }
        assert!(shown(&State::NEW, 80, 24)?.contains("q save and stop"));
        Ok(())
    }

    #[test]
    fn estimates_eigenvalues_and_standings_have_a_place_where_no_run_has_it() -> anyhow::Result<()> {
        let mut state = State::NEW;
        let number = state.begin("trace", 0, 64, "probes");
        for done in 1..=40 {
            let half = 10.0 / (done as f64).sqrt();
            state.read(number, done, Reading { value: 100.0, interval: [100.0 - half, 100.0 + half] });
        }
        let one = shown(&state, 80, 24)?;
        assert!(one.contains("trace 100 ± 1.58") && !one.contains("eigenvalues"), "{one}");
        state.show(Shown::Eigenvalues(&[30.0, 20.0, 0.5, -2.0]));
        for (width, height) in [(80, 24), (120, 40)] {
            let both = shown(&state, width, height)?;
            for text in ["trace 100", " eigenvalues ", "30", "20", "-2", " news "] {
                assert!(both.contains(text), "{text} is not in\n{both}");
            }
        }
        let rows = (0..100).map(|i| [format!("lr {i}"), format!("{i}.5 ± 0.1"), "1 of 3, 2 running".into()]).collect();
        state.show(Shown::Standings(&Standings { title: "best so far".into(), rows }));
        let small = shown(&state, 80, 24)?;
        assert!(small.contains(" best so far ") && small.contains("lr 0 ") && small.contains("0.5 ± 0.1"), "{small}");
        assert!(small.contains(" news ") && small.contains("q save"), "{small}");
        for (width, height) in [(1, 1), (10, 3), (40, 10), (300, 200)] {
            shown(&state, width, height)?;
        }
        Ok(())
    }

    #[test]
    fn a_name_that_a_terminal_would_obey_is_escaped() -> anyhow::Result<()> {
        let mut state = State::NEW;
        state.begin("a\x1b[2Jb", 0, 1, "steps");
        assert!(shown(&state, 80, 24)?.contains("a\\u{1b}[2Jb"));
        Ok(())
    }
    /// Runs itself in a terminal of tmux's, and there panics while the view is up. Skipped without tmux.
    #[cfg(unix)]
    #[test]
    fn a_panic_gives_the_terminal_back() -> anyhow::Result<()> {
        use std::process::Command;
        if std::env::var_os("FLAT_VIEW_PANICS").is_some() {
            let _bar = View.bar("training", 0, 10, "steps");
            while !UP.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
            panic!("on purpose");
        }
        let socket = format!("flat-view-{}", std::process::id());
        let tmux = |words: &[&str]| Command::new("tmux").args(["-L", &socket]).args(words).output();
        let script = format!(
            "FLAT_VIEW_PANICS=1 '{}' view::tests::a_panic_gives_the_terminal_back --exact --nocapture; echo status $?; \
             stty -a | tr ' ;' '\n\n' | grep -x -e echo -e icanon; sleep 600",
            std::env::current_exe()?.display()
        );
        if tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "sh", "-c", &script]).is_err() {
            return Ok(());
        }
        let (begun, mut picture) = (Instant::now(), String::new());
        let restored = |picture: &str| ["status 101", "echo", "icanon"].iter().all(|text| picture.contains(text));
        while !restored(&picture) && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(50));
            picture = String::from_utf8_lossy(&tmux(&["capture-pane", "-p"])?.stdout).into_owned();
        }
        let modes = tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"])?;
        tmux(&["kill-server"])?;
        assert!(restored(&picture) && picture.contains("on purpose"), "{picture}");
        assert_eq!(String::from_utf8_lossy(&modes.stdout).trim(), "0 1");
        Ok(())
    }
}
