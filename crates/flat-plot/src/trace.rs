//! A curve on the paper: band, line, marks with whiskers.

use super::curve::Point;
use super::frame::Frame;
use maud::{Markup, html};

/// How a curve is drawn.
pub(crate) struct Trace<'a> {
    /// The class `s0`, `s1`, ... of its colour.
    pub class: usize,
    /// Which outline its marks have.
    pub shape: usize,
    /// A bound or a fit rather than a measurement: dashes alone.
    pub dashed: bool,
    /// Up to so many points each gets a mark.
    pub marked: usize,
    /// Shades the intervals where the points have marks too.
    pub shaded: bool,
    /// What a pointer on a mark is told.
    pub words: Option<&'a dyn Fn(&Point) -> String>,
}

impl Trace<'_> {
    /// The curve within the frame. What has no place there interrupts it.
    pub fn draw(&self, points: &[Point], frame: &Frame) -> Markup {
        let shown = |p: &Point| frame.x.shows(p.x) && frame.y.shows(p.y);
        let few = points.len() <= self.marked;
        let alone = |i: usize| {
            let gap = |j: Option<usize>| j.and_then(|j| points.get(j)).is_none_or(|p| !shown(p));
            gap(i.checked_sub(1)) && gap(Some(i + 1))
        };
        let marks = points.iter().enumerate().filter(|(i, p)| !self.dashed && shown(p) && (few || alone(*i)));
        let banded = points.split(|p| p.band.is_none() || !shown(p)).filter(|part| part.len() > 1);
        html! {
            g class={ "s" (self.class) } {
                @if !self.dashed && (self.shaded || !few) {
                    @for part in banded { path class="band" d=(outline(part, frame)) {} }
                }
                @for part in points.split(|p| !shown(p)).filter(|part| part.len() > 1) {
                    path class=(if self.dashed { "line dashed" } else { "line" })
                        d=(frame.path(part.iter().map(|p| (p.x, p.y)))) {}
                }
                @for (_, point) in marks { (self.mark(point, frame)) }
            }
        }
    }

    /// The mark of a point with the whisker of its interval.
    fn mark(&self, point: &Point, frame: &Frame) -> Markup {
        let (x, y) = frame.at(point.x, point.y);
        html! {
            @if let Some([low, high]) = point.band { (whisker(frame.at(point.x, low), frame.at(point.x, high))) }
            (mark((x, y), self.shape, self.words.map(|words| words(point)).as_deref()))
        }
    }
}

/// The outline of the intervals of neighbouring points.
pub(crate) fn outline(points: &[Point], frame: &Frame) -> String {
    let end = |k: usize| move |p: &Point| Some((p.x, p.band?[k]));
    frame.path(points.iter().filter_map(end(0)).chain(points.iter().rev().filter_map(end(1)))) + "Z"
}

/// The line of an interval.
pub(crate) fn whisker((x, y): (f64, f64), (to_x, to_y): (f64, f64)) -> Markup {
    html! { path class="whisker" d=(format_args!("M{x:.1} {y:.1}L{to_x:.1} {to_y:.1}")) {} }
}

/// A mark, with words for the pointer.
pub(crate) fn mark((x, y): (f64, f64), shape: usize, words: Option<&str>) -> Markup {
    html! {
        path class="mark" d=(format_args!("M{x:.1} {y:.1}{}", outlined(shape))) {
            @if let Some(words) = words { title { (words) } }
        }
    }
}

/// The outline of a mark around the place where the pen is.
fn outlined(shape: usize) -> &'static str {
    match shape % 5 {
        0 => "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
        1 => "m-2.8-2.8h5.6v5.6h-5.6z",
        2 => "m0-3.8l3.6 6.4h-7.2z",
        3 => "m0-4l4 4l-4 4l-4-4z",
        _ => "m0 3.8l3.6-6.4h-7.2z",
    }
}

/// The line and mark of a class of a page's charts, 28 by 12 pixels, to stand beside a name.
pub fn swatch(class: usize) -> Markup {
    html! {
        svg class={ "swatch s" (class) } viewBox="0 0 28 12" aria-hidden="true" {
            path class="line" d="M1 6H27" {}
            (mark((14.0, 6.0), class, None))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scale::Scale;
    use super::*;

    /// How many bands, lines, whiskers and marks are drawn of eleven points, the tenth without a value.
    fn drawn(dashed: bool, marked: usize, shaded: bool) -> [usize; 4] {
        let point = |x: u32| Point { x: f64::from(x), y: if x == 9 { f64::NAN } else { 1.0 }, band: Some([0.0, 2.0]) };
        let points: Vec<Point> = (0..11).map(point).collect();
        let axis = || Scale::between(0.0, 12.0, false, 4);
        let frame = Frame { left: 0.0, top: 0.0, right: 12.0, bottom: 12.0, x: axis(), y: axis() };
        let look = Trace { class: 0, shape: 0, dashed, marked, shaded, words: None };
        let svg = look.draw(&points, &frame).into_string();
        ["band", "line", "whisker", "mark"].map(|part| svg.matches(&format!("class=\"{part}")).count())
    }

    #[test]
    fn many_points_have_a_band_few_have_marks_and_a_lone_one_has_its_mark() {
        assert_eq!(drawn(false, 8, false), [1, 1, 1, 1], "the point after the gap stands alone");
        assert_eq!(drawn(false, 11, false), [0, 1, 10, 10]);
        assert_eq!(drawn(false, 11, true), [1, 1, 10, 10]);
        assert_eq!(drawn(true, 11, true), [0, 1, 0, 0], "a bound is dashes alone");
    }
}
