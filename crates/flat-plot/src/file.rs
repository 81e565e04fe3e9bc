//! A drawing as an SVG file of its own: white ground, fixed colours, a heading.

use super::frame::text;
use maud::{Markup, PreEscaped, html};

/// Colours that stay apart for the colour-blind (Okabe & Ito), as classes `s0` to `s7`; dark ink on white.
const STYLE: &str = include_str!("file.css");
/// How many colours there are.
pub(crate) const COLOURS: usize = 8;
/// The colour of the ink among them.
pub(crate) const INK: usize = 6;
/// Characters of a line of notes.
const WIDE: usize = 120;

/// The lines above a plot: where the numbers come from, and notes on how to read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// One line under the title.
    pub caption: String,
    /// Notes, wrapped below it.
    pub notes: Vec<String>,
}

impl Heading {
    /// Caption and notes in lines.
    fn lines(&self) -> Vec<String> {
        let notes = self.notes.iter().flat_map(|note| wrapped(&format!("note: {note}"), WIDE));
        std::iter::once(self.caption.clone()).chain(notes).collect()
    }

    /// Where the plot below begins.
    pub(crate) fn height(&self) -> f64 {
        46.0 + 18.0 * self.lines().len() as f64
    }
}

/// The text of the file.
pub(crate) fn file([width, height]: [f64; 2], title: &str, heading: &Heading, drawing: &Markup) -> String {
    let file = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) }
            role="img" aria-label=(title) {
            style { (PreEscaped(STYLE)) }
            rect class="ground" width=(width) height=(height) {}
            text class="title" x="24" y="30" { (title) }
            @for (line, y) in heading.lines().iter().zip((53..).step_by(18)) {
                (text((24.0, f64::from(y)), "start", line))
            }
            (drawing)
        }
    };
    file.into_string() + "\n"
}

/// A text in lines of at most `width` characters, but for longer words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => *line = format!("{line} {word}"),
            _ => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_wrapped_between_words() {
        assert_eq!(wrapped("one two three  four", 9), ["one two", "three", "four"]);
        assert_eq!(wrapped("incomprehensible", 4), ["incomprehensible"]);
    }
}
