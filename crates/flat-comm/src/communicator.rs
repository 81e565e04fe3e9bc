//! What an engine has to do: carry bytes between the ranks of a run.

use crate::{OnDevice, Result};
use candle_core::Device;
use std::ops::Range;

/// A message to another rank.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Who gets it.
    pub to: usize,
    /// What.
    pub bytes: &'a [u8],
}

/// Room for a message of another rank.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// Who sends it.
    pub from: usize,
    /// Where it goes; as long as the message.
    pub bytes: &'a mut [u8],
}

/// The ranks of one run, and how bytes get from one to the others.
///
/// Every call but [`Self::rank`], [`Self::size`], [`Self::name`] and [`Self::abort`] is collective: all ranks make the same calls in
/// the same order. An engine adds nothing up; the order of sums is that of [`crate::Ranks::sum`].
pub trait Communicator: Send + Sync + std::fmt::Debug {
    /// Which rank this is, below [`Self::size`].
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// The engine, with its version where it has one.
    fn name(&self) -> String;

    /// Gives the bytes `to[r]` of `mine` to rank `r`, and receives those of rank `r` for this one at `from[r]` of `theirs`. Ranges may
    /// be empty; a rank gives to itself, too.
    ///
    /// # Errors
    /// A rank that is gone; what the engine reports.
    fn all_to_all(&self, mine: &[u8], to: &[Range<usize>], theirs: &mut [u8], from: &[Range<usize>]) -> Result<()>;

    /// Fills `all`, of which rank `r` has written the part `parts[r]`, on every rank. The parts lie one after another.
    ///
    /// # Errors
    /// As [`Self::all_to_all`].
    fn all_gather(&self, all: &mut [u8], parts: &[Range<usize>]) -> Result<()>;

    /// Gives every rank what rank `from` has in `bytes`, of the same length everywhere.
    ///
    /// # Errors
    /// As [`Self::all_to_all`].
    fn broadcast(&self, bytes: &mut [u8], from: usize) -> Result<()>;

    /// Sends and receives messages, all at once. Two messages from one rank to another arrive in the order in which they are
    /// given.
    ///
    /// # Errors
    /// As [`Self::all_to_all`].
    fn exchange(&self, out: &[Outgoing<'_>], into: &mut [Incoming<'_>]) -> Result<()>;

    /// Adds up `x` over all ranks by the engine's own sum, whose bits depend on the number of ranks.
    ///
    /// # Errors
    /// As [`Self::all_to_all`]; [`crate::Error::NoSum`] from an engine without one.
    fn sum_in_any_order(&self, x: crate::Lent<'_>) -> Result<()>;

    /// The exchanges of vectors that lie on this device, where the engine has such; all else passes through main memory.
    ///
    /// # Errors
    /// As [`Self::all_to_all`].
    fn on_device(&self, _: &Device) -> Result<Option<&dyn OnDevice>> {
        Ok(None)
    }

    /// Waits until all ranks have come here, for as long as their work takes: no time limit watches over it.
    ///
    /// # Errors
    /// As [`Self::all_to_all`].
    fn meet(&self) -> Result<()>;

    /// Ends all ranks at once with this exit code. A rank that ends in any other way than by returning from its work has
    /// to call it, or the others wait for it.
    fn abort(&self, code: i32) -> !;
}
