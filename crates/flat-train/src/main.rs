//! The `flat-train` command line tool.

use flat_train::args::Cli;
use flat_train::heap::Heap;
use std::process::ExitCode;

/// Large buffers come and go every step; the system's allocator gives their pages back and faults them in again.
#[global_allocator]
static ALLOCATOR: Heap = Heap::new();

fn main() -> ExitCode {
    // SAFETY: no thread was started yet.
    unsafe { flat_train::runtime::prepare() };
    flat_train::command::run(Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit()))
}
