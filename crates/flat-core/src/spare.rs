//! Recycled buffers: those of dropped vectors, kept for the next ones.

use candle_core::{DType, Device, Tensor};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Buffers kept at most: what a step of the rules holds at a time.
const MOST: usize = 8;

/// Spare buffers of one length.
///
/// Fresh memory of tens of megabytes costs more than a pass over it: the system has to find, clear and map its pages.
#[derive(Default)]
pub(crate) struct Spare(Mutex<Vec<Tensor>>);

impl Spare {
    /// A buffer of this element type and device, with whatever numbers are in it.
    pub(crate) fn take(&self, dtype: DType, device: &Device) -> Option<Tensor> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = spare.iter().rposition(|t| t.dtype() == dtype && t.device().same_device(device))?;
        Some(spare.swap_remove(at))
    }

    /// Keeps a buffer that nothing refers to.
    pub(crate) fn give(&self, buffer: Tensor) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < MOST {
            spare.push(buffer);
        }
    }
}

impl Clone for Spare {
    /// Empty: buffers are not shared.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Spare {
    /// Spare buffers are no part of what a layout is.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Spare {}

impl fmt::Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spare")
    }
}
