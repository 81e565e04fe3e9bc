//! The program behind `scripts/torture`.

use std::process::ExitCode;

/// As the tool has it: what is measured here is what a user runs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    flat_torture::main()
}
