//! The one door to standard error: a line that cannot be written is dropped, and control characters of names are escaped.

use std::borrow::Cow;
use std::io::Write;

/// Writes a line of news. A reader that went away, a closed terminal and a full disk cost the line and nothing else: a run
/// must not end because nobody listens.
pub fn tell(line: &str) {
    let line = format!("{}\n", printable(line));
    // one write, so that lines of several threads do not mix; what becomes of it is none of the run's business
    let _ = std::io::stderr().write_all(line.as_bytes());
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
