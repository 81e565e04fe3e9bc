//! The progress of reading images of one's own, which are read wherever a configuration is filled in.

use crate::ui::{Bar, Ui};
use flat_data::Watch;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Work of less shows no bar.
const SHORT: Duration = Duration::from_secs(2);

/// Where the progress is shown.
static SHOWN: Mutex<Ui<'static>> = Mutex::new(Ui::NONE);

/// From here on the progress of reading images is shown there.
pub fn show_reading(ui: Ui<'static>) {
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = ui;
}

/// What `read` returns, which is given whom to tell how many images it has read.
pub fn watched<R>(read: impl FnOnce(&Watch<'_>) -> R) -> R {
    let ui = *SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let (begun, bar) = (Instant::now(), Mutex::new(None::<Bar>));
    read(&|done, of| {
        if begun.elapsed() >= SHORT {
            let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
            bar.get_or_insert_with(|| ui.bar("reading", done, of, "images")).update(done, String::new);
        }
    })
}
