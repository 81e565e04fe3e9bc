//! What lies on disk: the directory of a run, its checkpoints and its journal.

pub mod checkpoint;
pub mod file;
pub(crate) mod fingerprint;
pub mod journal;
pub mod line;
pub mod run_dir;
