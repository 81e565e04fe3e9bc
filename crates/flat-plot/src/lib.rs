//! Plots as SVG files. Bitmaps would need a font file; any browser shows these, and `rsvg-convert` makes bitmaps of them.

#![forbid(unsafe_code)]

mod bars;
mod curves;
mod density;
mod line;
mod surface;

pub use bars::{Bar, bars};
pub use curves::{Axis, Chart, Point, Series, curves};
pub use density::{Density, density};
pub use line::{Line, line};
pub use surface::{Grid, surface};

use anyhow::Result;
use plotters::backend::SVGBackend;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::Text;
use plotters::style::{IntoFont, RGBColor, WHITE};

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);
/// Colours that stay apart for the colour-blind (Okabe & Ito).
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);
/// Colours of several curves in one plot, the same palette.
const SERIES: [RGBColor; 8] = [
    BLUE,
    ORANGE,
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    INK,
    RGBColor(150, 150, 150),
];

type Canvas<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// The lines above a plot: where the numbers come from, and notes on how to read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// One line under the title.
    pub caption: String,
    /// Notes, wrapped below it.
    pub notes: Vec<String>,
}

/// Draws the text of an SVG file.
fn draw(size: (u32, u32), draw: impl FnOnce(&Canvas<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        draw(&root)?;
        root.present()?;
    }
    Ok(svg)
}

/// Title and heading above a plot; the parts for a key and for the plot.
fn headed<'a>(root: &Canvas<'a>, title: &str, heading: &Heading) -> Result<(Canvas<'a>, Canvas<'a>)> {
    let notes: Vec<String> = heading.notes.iter().flat_map(|note| wrapped(&format!("note: {note}"), 120)).collect();
    let (head, body) = root.split_vertically(64 + 18 * notes.len() as i32);
    head.draw(&Text::new(title, (24, 14), (FONT, 24).into_font().color(&INK)))?;
    let lines = std::iter::once(heading.caption.clone()).chain(notes);
    for (line, height) in lines.zip((44..).step_by(18)) {
        head.draw(&Text::new(line, (24, height), (FONT, 15).into_font().color(&INK)))?;
    }
    Ok((head, body))
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

/// A number as an axis label: three digits, with an exponent where it is far from 1.
fn label(x: f64) -> String {
    let size = x.abs();
    let trim = |text: String| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    };
    if x == 0.0 || size < 1e-300 {
        "0".into()
    } else if (1e-3 * (1.0 - 1e-9)..1e5).contains(&size) {
        let digits = (2 - size.log10().floor() as i32).clamp(0, 6) as usize;
        trim(format!("{x:.digits$}"))
    } else {
        let text = format!("{x:.2e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        format!("{}e{exponent}", trim(mantissa.to_string()))
    }
}

/// The least and the largest of the finite values.
fn extent(values: &[f64]) -> [f64; 2] {
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let (lo, hi) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    if lo <= hi { [lo, hi] } else { [0.0, 1.0] }
}

/// A coordinate as an axis label: what is nothing but rounding beside the length of the axis is 0.
fn coordinate(x: f64, axis: &[f64]) -> String {
    let length = axis.iter().fold(0.0f64, |s, x| s.max(x.abs()));
    label(if x.abs() < 1e-9 * length { 0.0 } else { x })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_wrapped_between_words() {
        assert_eq!(wrapped("one two three  four", 9), ["one two", "three", "four"]);
        assert_eq!(wrapped("incomprehensible", 4), ["incomprehensible"]);
    }

    #[test]
    fn labels_are_short_at_every_size() {
        let pairs = [(0.0, "0"), (1.0, "1"), (-0.25, "-0.25"), (12.5, "12.5"), (1e-6, "1e-6"), (2.5e7, "2.5e7")];
        let more = [(0.001, "0.001"), (31.6228, "31.6"), (0.0316228, "0.0316"), (100.0, "100"), (4000.0, "4000")];
        for (x, text) in pairs.into_iter().chain(more) {
            assert_eq!(label(x), text);
        }
        assert_eq!((coordinate(-2.2e-16, &[-1.0, 1.0]), coordinate(0.2, &[-1.0, 1.0])), ("0".into(), "0.2".into()));
    }
}
