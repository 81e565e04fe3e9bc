//! The one door to standard error: a line that cannot be written is dropped, and control characters of names are escaped.

use indicatif::ProgressBar;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lines that wait for the end of a view of the whole terminal.
static HELD: Mutex<Option<Held>> = Mutex::new(None);

/// The bars on the terminal, the innermost last: a line is written above them.
static BARS: Mutex<Vec<ProgressBar>> = Mutex::new(Vec::new());

/// The newest lines, and how many there were before them.
#[derive(Default)]
struct Held {
    lines: VecDeque<String>,
    left_out: u64,
}

/// Lines that wait at most: more than a terminal keeps of what has scrolled away.
const MOST: usize = 5000;

fn held() -> MutexGuard<'static, Option<Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a line of news, now or by [`release`]. A reader that went away, a closed terminal and a full disk cost the line and
/// nothing else: a run must not end because nobody listens.
pub fn tell(line: &str) {
    let line = printable(line);
    match &mut *held() {
        Some(held) => {
            if held.lines.len() == MOST {
                held.lines.pop_front();
                held.left_out += 1;
            }
            held.lines.push_back(line.into_owned());
        }
        None => write(&line),
    }
}

/// Tells a warning.
pub fn warn(line: &str) {
    tell(&format!("warning: {line}"));
}

fn write(line: &str) {
    // one write, so that lines of several threads do not mix; what becomes of it is none of the run's business
    let write = || drop(std::io::stderr().write_all(format!("{line}\n").as_bytes()));
    let bar = BARS.lock().unwrap_or_else(PoisonError::into_inner).last().cloned();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// From here on lines are written above this bar.
pub fn raise(bar: &ProgressBar) {
    BARS.lock().unwrap_or_else(PoisonError::into_inner).push(bar.clone());
}

/// Takes a bar away; lines are written above the one before.
pub fn lower(bar: &ProgressBar) {
    bar.finish_and_clear();
    BARS.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !other.is_finished());
}

/// From here on lines are held back.
pub fn hold() {
    held().get_or_insert_default();
}

/// Writes the lines that were held back, and the next ones as they come.
pub fn release() {
    let Held { lines, left_out } = held().take().unwrap_or_default();
    if left_out > 0 {
        write(&format!("({left_out} earlier lines are left out)"));
    }
    lines.iter().for_each(|line| write(line));
}

/// The newest of the lines that are held back.
pub fn newest(count: usize) -> Vec<String> {
    let held = held();
    let Some(Held { lines, .. }) = &*held else { return Vec::new() };
    lines.range(lines.len().saturating_sub(count)..).cloned().collect()
}

/// The text with its control characters escaped, but for line ends and tabs. A name of a file or of a tensor may hold a
/// sequence that a terminal obeys.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.is_control() && c != '\n' && c != '\t', |c| c.escape_unicode().to_string())
}

/// The same for JSON, where a control character is within a string.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    escaped(json, char::is_control, |c| format!("\\u{:04x}", u32::from(c)))
}

fn escaped(text: &str, mut bad: impl FnMut(char) -> bool, write: impl Fn(char) -> String) -> Cow<'_, str> {
    let mut bad = |c: char| bad(c) || turns(c);
    if !text.contains(&mut bad) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if bad(c) { write(c) } else { c.to_string() }).collect::<String>().into()
}

/// Whether it changes the direction of the text around it.
fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_what_a_person_reads_is_not() {
        assert_eq!(printable("a\x1b[2Jb\u{9b}c\u{202e}d\re"), "a\\u{1b}[2Jb\\u{9b}c\\u{202e}d\\u{d}e");
        for text in ["two\nlines\tand a tab", "Größe ≤ 1e-3, µ", ""] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn escaped_json_is_the_same_value() -> Result<(), serde_json::Error> {
        let value = serde_json::json!({ "file": "a\x1b\x7f\u{9b}\u{202e}\n" });
        let text = value.to_string();
        let safe = printable_json(&text);
        assert!(!safe.contains(|c: char| c.is_control() || turns(c)), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe)?, value);
        Ok(())
    }
}
