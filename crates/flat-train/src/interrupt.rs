//! SIGINT and SIGTERM: the first asks the run to save and stop, the second aborts.

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
