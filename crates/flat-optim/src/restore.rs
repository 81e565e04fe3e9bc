//! Putting the variables back, come what may.

use crate::Result;
use flat_core::{ParamVec, Params};

/// Writes other values into the variables, and the original ones back when it goes: on return, error and panic alike.
pub(crate) struct Restore<'a> {
    params: &'a Params,
    original: &'a ParamVec,
    armed: bool,
}

impl<'a> Restore<'a> {
    /// Sets the variables to `other`; `original` must be a copy of what they hold.
    pub(crate) fn replace(params: &'a Params, original: &'a ParamVec, other: &ParamVec) -> Result<Self> {
        let guard = Self { params, original, armed: true };
        params.write(other)?; // where this fails half-way, the guard puts back what was written
        Ok(guard)
    }

    /// Puts the original values back and says whether that worked.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.armed = false;
        Ok(self.params.write(self.original)?)
    }
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        if self.armed {
            // An error is on its way already, or a panic: there is no one to tell of a second one.
            let _ = self.params.write(self.original);
        }
    }
}
