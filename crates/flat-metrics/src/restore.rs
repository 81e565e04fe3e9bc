//! Parameters that come back to where they were.

use crate::Result;
use flat_core::{ParamVec, Params};

/// Holds a copy of the parameters and writes it back, bit for bit, when finished or dropped: after success, an error
/// and a panic alike.
pub(crate) struct Restore<'a> {
    params: &'a Params,
    theta: ParamVec,
    finished: bool,
}

impl<'a> Restore<'a> {
    pub(crate) fn new(params: &'a Params) -> Result<Self> {
        Ok(Self { params, theta: params.read()?, finished: false })
    }

    /// The parameters as they were.
    pub(crate) fn theta(&self) -> &ParamVec {
        &self.theta
    }

    /// Moves the parameters to `theta + by * v` until restored.
    pub(crate) fn displace(&self, by: f64, v: &ParamVec) -> Result<()> {
        Ok(self.params.write(&self.theta.plus(by, v)?)?)
    }

    /// Writes the copy back and says whether that worked.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.finished = true;
        Ok(self.params.write(&self.theta)?)
    }
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // an error or a panic is on its way out already: nowhere to report another
            let _ = self.params.write(&self.theta);
        }
    }
}
