//! Whether this process may have its terminal. One in the background is stopped where it changes a terminal's modes.

#[cfg(unix)]
mod job {
    use std::ffi::c_int;

    unsafe extern "C" {
        /// Of the C library: the process group in the foreground of a terminal, or -1.
        fn tcgetpgrp(terminal: c_int) -> c_int;
        /// Of the C library: the group of this process.
        fn getpgrp() -> c_int;
    }

    const STDERR: c_int = 2;

    pub(super) fn is_in_foreground() -> bool {
        // SAFETY: both read numbers and take none but that of a file, which may be closed.
        unsafe { tcgetpgrp(STDERR) == getpgrp() }
    }
}

/// Whether it is in the foreground of the terminal that standard error is.
pub(super) fn is_ours() -> bool {
    #[cfg(unix)]
    return job::is_in_foreground();
    #[cfg(not(unix))]
    return true;
}
