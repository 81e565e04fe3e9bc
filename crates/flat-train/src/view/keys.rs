//! The keys of the view.

use super::state::State;
use crate::interrupt;
use flat_run::signal;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::time::Instant;

/// What the keys do, as the last line of the view says it.
pub(super) const HELP: &str = "q save and stop";
/// The same where a run in this process can be held.
pub(super) const HELP_OF_RUN: &str = "q save and stop   p pause";

/// Acts on a key. Ctrl-C does what it does without a view, which the terminal would have turned into a signal.
pub(super) fn take(event: &Event, state: &mut State) {
    let Event::Key(KeyEvent { code: KeyCode::Char(key), modifiers, kind: KeyEventKind::Press, .. }) = event else {
        return;
    };
    match key {
        'c' if modifiers.contains(KeyModifiers::CONTROL) => {
            state.stopping = true;
            interrupt::ctrl_c();
        }
        'q' => {
            state.stopping = true;
            signal::request_stop_otherwise();
        }
        // what is no training in this process cannot be held
        'p' if state.run.is_some() => state.pause(signal::toggle_pause(), Instant::now()),
        _ => {}
    }
}
