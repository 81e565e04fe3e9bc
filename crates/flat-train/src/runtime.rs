//! Settings of the process: free pages stay with the allocator, and candle's helper thread does not spin.

use std::ffi::{c_int, c_long};

unsafe extern "C" {
    /// Of mimalloc, which the program's allocator links.
    fn mi_option_set(option: c_int, value: c_long);
}

/// `mi_option_purge_delay` of mimalloc's header.
const PURGE_DELAY: c_int = 15;

/// To be called first in `main`; what the environment sets already stays.
///
/// - Free pages stay with the process (`MIMALLOC_PURGE_DELAY=-1`). A step allocates and frees all its activations and
///   gradients; given back in between, their pages are faulted in and cleared again at every step.
/// - candle's helper thread sleeps as soon as it has nothing to do (`CANDLE_BARRIER_POOL_SPIN_LIMIT=1`). Otherwise it spins
///   for some time after every element-wise operation, on a core that the kernels of the layers need.
///
/// # Safety
/// No other thread may have been started: one could read the environment while it is written.
pub unsafe fn prepare() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: sets an integer in mimalloc's table of options, with an index of its header.
        unsafe { mi_option_set(PURGE_DELAY, -1) };
    }
    if std::env::var_os("CANDLE_BARRIER_POOL_SPIN_LIMIT").is_none() {
        // SAFETY: the caller's.
        unsafe { std::env::set_var("CANDLE_BARRIER_POOL_SPIN_LIMIT", "1") };
    }
}
