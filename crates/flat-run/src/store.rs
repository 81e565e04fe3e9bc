//! The files of a run: its directory, checkpoints and journal.

pub(crate) mod checkpoint;
pub(crate) mod file;
pub(crate) mod fingerprint;
pub(crate) mod journal;
pub(crate) mod line;
pub(crate) mod log;
pub(crate) mod run_dir;

pub use checkpoint::{Epoch, Evaluation, Extension, list as checkpoints, step_of as checkpoint_step};
pub use file::{lock, write_whole, write_with_folders};
pub use fingerprint::{same_data, sums};
pub use journal::read as read_journal;
pub use line::{Flatness, Line, Part, Point, Progress};
pub use run_dir::RunDir;
