//! Requests to stop. SIGINT, SIGTERM, SIGHUP and SIGUSR1 ask the run to save and stop; a second Ctrl-C aborts. A sweep's runs stop too
//! when its end of their standard input is closed.

use crate::exit::ABORTED;
use crate::news;
use anyhow::Context;
use flat_run::signal;
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Two SIGINT within this time are one: `timeout -s INT` and wrappers that pass a Ctrl-C on send it to the process and to its
/// group.
const ONCE: Duration = Duration::from_millis(200);

/// How long an abort waits for its message to be written.
const PATIENCE: Duration = Duration::from_millis(200);

/// When the last Ctrl-C came.
static LAST: Mutex<Option<Instant>> = Mutex::new(None);
/// What an abort does first.
static FIRST: OnceLock<fn()> = OnceLock::new();

/// Installs the handlers of signals; call it once.
pub fn install() -> anyhow::Result<()> {
    #[cfg(unix)]
    termination::listen();
    ctrlc::set_handler(ctrl_c).context("cannot listen for SIGINT")
}

/// Has an abort do this first.
pub(crate) fn before_abort(first: fn()) {
    // it is the same one every time
    let _ = FIRST.set(first);
}

/// Does what Ctrl-C does, as a signal or as a key.
pub(crate) fn ctrl_c() {
    let before = LAST.lock().unwrap_or_else(PoisonError::into_inner).replace(Instant::now());
    if before.is_some_and(|before| before.elapsed() < ONCE) {
        return;
    }
    if signal::request_stop() {
        drop(aside("interrupted: stopping (once more aborts at once)".into()));
    } else {
        FIRST.get().copied().unwrap_or(|| ())();
        let left = signal::left().unwrap_or_else(|| "nothing was written".into());
        let _ = aside(format!("aborted: {left}")).recv_timeout(PATIENCE);
        std::process::exit(ABORTED.into());
    }
}

/// Tells from a thread of its own, which a reader that does not read may hold up; the receiver hears of the end.
fn aside(line: String) -> mpsc::Receiver<()> {
    let (told, end) = mpsc::channel();
    let tell = move || {
        news::tell(&line);
        // nobody may wait for it
        let _ = told.send(());
    };
    // where no thread can be had, nothing is told
    let _ = std::thread::Builder::new().spawn(tell);
    end
}

/// Asks the run to stop when standard input ends.
pub fn stop_at_eof() {
    std::thread::spawn(|| {
        // what it says does not matter, and an error is an end too
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        signal::request_stop_otherwise();
    });
}

/// SIGTERM and SIGHUP, which programs send, some twice: however many come, they ask to stop and never abort. SIGUSR1, too:
/// launchers of MPI pass it on, and after the others end all processes before one could save.
#[cfg(unix)]
mod termination {
    use flat_run::signal;
    use std::ffi::c_int;

    unsafe extern "C" {
        /// Of the C library; the handler before, or -1.
        fn signal(number: c_int, handler: usize) -> usize;
    }

    const SIGHUP: c_int = 1;
    const SIGTERM: c_int = 15;
    const SIGUSR1: c_int = if cfg!(target_os = "linux") { 10 } else { 30 };
    const SIG_IGN: usize = 1;

    extern "C" fn ask(_: c_int) {
        signal::request_stop_otherwise();
    }

    /// Takes SIGTERM and SIGUSR1, and SIGHUP unless it is ignored: a run under `nohup` outlives its terminal.
    pub(super) fn listen() {
        let ask = ask as extern "C" fn(c_int) as usize;
        // SAFETY: the handler has the type that the C library calls, and stores to an atomic alone.
        unsafe {
            signal(SIGTERM, ask);
            signal(SIGUSR1, ask);
            if signal(SIGHUP, SIG_IGN) != SIG_IGN {
                signal(SIGHUP, ask);
            }
        }
    }
}
