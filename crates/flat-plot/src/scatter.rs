//! Points with intervals in both directions and names, within a page.

use super::frame::text;
use super::inline::{SIZE, drawing, framed};
use super::scale::Scale;
use super::trace::{mark, whisker};
use maud::{Markup, html};

/// Points up to which each has its name beside it.
const NAMED: usize = 12;
/// Height of a line of text.
const LINE: f64 = 13.0;
/// Mean width of a letter.
const LETTER: f64 = 6.2;

/// A number with the ends of its interval, where it has one.
pub type Ranged = (f64, Option<[f64; 2]>);

/// A named point.
#[derive(Debug)]
pub struct Spot<'a> {
    /// Its class is `s0`, `s1`, ...; decides the outline of its mark too.
    pub class: usize,
    /// Its name.
    pub name: &'a str,
    /// Where it is along the horizontal axis.
    pub x: Ranged,
    /// Where it is along the vertical axis.
    pub y: Ranged,
    /// The point in words.
    pub words: String,
}

/// Draws the points; `id` is unlike that of every other chart of the page. Axes are logarithmic where the numbers are
/// positive and span more than a factor of 100.
pub fn scatter(id: &str, title: &str, along: &str, spots: &[Spot<'_>]) -> Markup {
    let axis = |of: fn(&Spot<'_>) -> Ranged| {
        let means = || spots.iter().map(|spot| of(spot).0);
        Scale::roomy(means(), means().chain(spots.iter().filter_map(|spot| of(spot).1).flatten()))
    };
    let frame = framed(axis(|spot| spot.x), axis(|spot| spot.y));
    let below = format!("{along}{}", if frame.x.logarithmic { " (log scale)" } else { "" });
    let words: Vec<&str> = spots.iter().map(|spot| spot.words.as_str()).collect();
    let mut taken = Vec::new();
    drawing(
        id,
        title,
        &(words.join("; ") + "."),
        &html! {
            (frame.axes(&below, None))
            @for Spot { class, name, x: (x, across), y: (y, upwards), words } in spots {
                g class={ "s" (class) } {
                    @if let Some([low, high]) = across { (whisker(frame.at(*low, *y), frame.at(*high, *y))) }
                    @if let Some([low, high]) = upwards { (whisker(frame.at(*x, *low), frame.at(*x, *high))) }
                    (mark(frame.at(*x, *y), *class, Some(words)))
                }
                @if spots.len() <= NAMED { (text(beside(name, frame.at(*x, *y), &mut taken), "start", name)) }
            }
        },
    )
}

/// The place of a name beside its point: above or below, right or left, where no other name is.
fn beside(name: &str, (x, y): (f64, f64), taken: &mut Vec<(f64, f64, f64)>) -> (f64, f64) {
    let width = LETTER * name.chars().count() as f64;
    let mut places = [-6.0, LINE + 1.0, -6.0 - LINE, 2.0 * LINE + 1.0]
        .into_iter()
        .flat_map(|line| [x + 7.0, x - 7.0 - width].into_iter().map(move |left| (left, y + line)));
    let within = |left: f64| left >= 0.0 && left + width <= SIZE[0];
    let free = |left: f64, line: f64| {
        taken.iter().all(|(from, to, at)| left > *to || left + width < *from || (line - at).abs() >= LINE)
    };
    let found = places.find(|(left, line)| within(*left) && free(*left, *line));
    let (left, line) = found.unwrap_or(((x + 7.0).min(SIZE[0] - width).max(0.0), y - 6.0));
    taken.push((left, left + width, line));
    (left, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_points_at_one_place_stand_apart_and_within() {
        let mut taken = Vec::new();
        let places: Vec<(f64, f64)> = (0..6).map(|_| beside("a long name", (380.0, 100.0), &mut taken)).collect();
        for (i, (left, line)) in places.iter().enumerate() {
            let (right, others) = (left + 11.0 * LETTER, &places[..i]);
            assert!(*left >= 0.0 && right <= SIZE[0], "{left}");
            // right of the point there is no room, and to the left of it are four lines
            let apart = others.iter().all(|(x, y)| (x - left).abs() > 11.0 * LETTER || (y - line).abs() >= LINE);
            assert_eq!(apart, i < 4, "{i}: {left} {line}");
        }
    }

    #[test]
    fn a_point_has_a_mark_whiskers_and_words_that_stay_text() {
        let spot = |name, x, y| Spot { class: 1, name, x, y, words: "\"</desc><script>".into() };
        let spots =
            [spot("<b>", (1.0, Some([0.5, 2.0])), (3.0, Some([2.0, 4.0]))), spot("c", (500.0, None), (5.0, None))];
        let svg = scatter("r", "accuracy", "trace", &spots).into_string();
        assert_eq!((svg.matches("class=\"mark\"").count(), svg.matches("class=\"whisker\"").count()), (2, 2), "{svg}");
        assert!(svg.contains("trace (log scale)") && svg.contains("aria-labelledby=\"tr dr\""), "{svg}");
        assert!(svg.contains("&lt;b&gt;") && !svg.contains("<script"), "{svg}");
    }
}
