//! The observer of every estimator: it lets signals through and shows the progress to a Python callable.

use crate::failure::Raised;
use flat_metrics::{Observer, Progress};
use pyo3::prelude::*;
use std::ops::ControlFlow;

/// Asks Python for signals, so that Ctrl-C ends a computation, and calls `observe(done, of, value, error)`, where
/// `value` and `error` may be `None`.
pub(crate) struct Watcher {
    pub(crate) observe: Option<Py<PyAny>>,
    pub(crate) raised: Raised,
}

impl Observer for Watcher {
    fn observe(&mut self, at: &Progress) -> ControlFlow<()> {
        let seen = Python::attach(|py| {
            py.check_signals()?;
            match &self.observe {
                Some(observe) => observe.call1(py, (at.done, at.of, at.value, at.error)).map(|_| ()),
                None => Ok(()),
            }
        });
        match seen {
            Ok(()) => ControlFlow::Continue(()),
            Err(exception) => {
                self.raised.keep(exception);
                ControlFlow::Break(())
            }
        }
    }
}
