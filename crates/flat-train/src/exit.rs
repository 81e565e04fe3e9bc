//! The exit status of the tool.

use crate::news;
use flat_run::{BadFlag, Usage, signal};
use std::process::ExitCode;

/// Status of a run that diverged.
const DIVERGED: u8 = 3;
/// Status of a process that ends because another one of the same run failed, and has nothing to say.
pub(crate) const SILENT: u8 = 1;
/// Status of a command that a signal stopped.
const INTERRUPTED: u8 = 130;
/// Status of a command that a second Ctrl-C aborted: what SIGKILL would have left is there, and the shell's status for that.
pub(crate) const ABORTED: u8 = 137;

/// The outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done: status 0.
    Done,
    /// A run whose loss is not finite, or far above that of a constant prediction: status 3.
    Diverged,
    /// Stopped by SIGINT, SIGTERM or SIGHUP, with a checkpoint written or what was measured by then printed: status 130.
    Interrupted,
}

impl Outcome {
    /// Of a measure that is complete, or was interrupted.
    pub(crate) fn of_measure(interrupted: bool) -> Self {
        if interrupted { Self::Interrupted } else { Self::Done }
    }
}

/// The exit status of a command's result; prints the error.
pub fn status(result: anyhow::Result<Outcome>) -> ExitCode {
    ExitCode::from(status_of(result, ""))
}

/// The same as a number; the error is printed after `prefix`.
pub(crate) fn status_of(result: anyhow::Result<Outcome>, prefix: &str) -> u8 {
    match result {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Diverged) => DIVERGED,
        Ok(Outcome::Interrupted) => INTERRUPTED,
        Err(e) if signal::is_given_up(&e) => INTERRUPTED,
        Err(e) => {
            let remedy = crate::driver::remedy(&e).map(|remedy| format!("; {remedy}")).unwrap_or_default();
            news::tell(&format!("{prefix}error: {}{remedy}", text(&e)));
            let diverged = |c: &(dyn std::error::Error + 'static)| {
                matches!(c.downcast_ref(), Some(flat_optim::Error::TooManySkips { .. }))
            };
            match e {
                e if e.chain().any(|c| c.is::<Usage>() || c.is::<BadFlag>()) => 2,
                e if e.chain().any(diverged) => DIVERGED,
                _ => 1,
            }
        }
    }
}

/// The error and its causes in one line; a cause that the text before it quotes already is not said twice.
fn text(error: &anyhow::Error) -> String {
    let mut out = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !out.contains(&cause) {
            out = if out.is_empty() { cause } else { format!("{out}: {cause}") };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_step_that_was_given_up_is_an_interruption_and_no_failure() {
        let given_up = anyhow::Error::from(flat_optim::Error::objective(signal::GivenUp)).context("the subspace");
        assert!(signal::is_given_up(&given_up));
        assert!(!signal::is_given_up(&anyhow::Error::from(flat_optim::Error::objective("the disk is full"))));
    }

    #[test]
    fn a_quoted_cause_is_said_once_and_others_are_said() {
        let inner = Err::<(), _>(std::io::Error::other("disk full"));
        let error = inner.context("cannot write x: disk full").context("--out").expect_err("an error");
        assert_eq!(text(&error), "--out: cannot write x: disk full");
        assert_eq!(text(&anyhow::anyhow!("b").context("a")), "a: b");
    }
}
