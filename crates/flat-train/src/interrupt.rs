//! Requests to stop: the first SIGINT or SIGTERM asks the run to save and stop, the second aborts. A run of a sweep
//! also stops when its end of standard input is closed.

use anyhow::Context;
use flat_run::signal;

/// Starts to listen; call once.
pub fn install() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if signal::request_stop() {
            eprintln!("interrupted: stopping (once more aborts at once)");
        } else {
            std::process::exit(130);
        }
    })
    .context("cannot listen for SIGINT and SIGTERM")
}

/// Asks the run to stop when standard input ends.
pub fn stop_at_eof() {
    std::thread::spawn(|| {
        // what it says does not matter, and an error is an end too
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        signal::request_stop_by_parent();
    });
}
