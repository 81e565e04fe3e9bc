//! A chart within a page, whose style colours it by classes, so that it follows light and dark.

use super::curve::Curve;
use super::frame::Frame;
use super::scale::{Scale, span};
use super::trace::Trace;
use maud::{Markup, html};

/// Width and height of a page's charts.
pub(crate) const SIZE: [f64; 2] = [400.0, 250.0];
/// Up to so many points each gets a mark.
const MARKED: usize = 40;

/// A curve of an [`Inline`] chart.
#[derive(Debug)]
pub struct Track<'a> {
    /// Its class is `s0`, `s1`, ...; decides the outline of marks too.
    pub class: usize,
    /// Its name.
    pub name: &'a str,
    /// Its points.
    pub curve: Curve,
}

/// Curves over one axis.
#[derive(Debug)]
pub struct Inline<'a> {
    /// What is drawn.
    pub title: &'a str,
    /// What it is drawn along.
    pub along: &'a str,
    /// The curves; none is empty.
    pub tracks: Vec<Track<'a>>,
    /// Writes a number into the description.
    pub number: fn(f64) -> String,
}

impl Inline<'_> {
    /// The SVG element with a title and a description in words; `id` is unlike that of every other chart of the page.
    /// The ordinate is logarithmic where the values are positive and span more than a factor of 100.
    pub fn svg(&self, id: usize) -> Markup {
        let values = || self.tracks.iter().flat_map(|t| t.curve.finite());
        let intervals = self.tracks.iter().flat_map(|t| t.curve.points.iter().filter_map(|p| p.band)).flatten();
        let y = Scale::roomy(values().map(|(_, y)| y), values().map(|(_, y)| y).chain(intervals));
        let frame = framed(Scale::whole(values().map(|(x, _)| x)), y);
        let logarithmic = frame.y.logarithmic;
        let heading = format!("{} along {}{}", self.title, self.along, if logarithmic { ", logarithmic" } else { "" });
        let below = format!("{}{}", self.along, if logarithmic { " (value on a log scale)" } else { "" });
        drawing(
            &id.to_string(),
            &heading,
            &self.description(),
            &html! {
                (frame.axes(&below, None))
                @for track in &self.tracks { (self.drawn(track, &frame)) }
            },
        )
    }

    fn drawn(&self, track: &Track<'_>, frame: &Frame) -> Markup {
        let words = |p: &super::Point| {
            let ends = p.band.map(|[low, high]| format!(", {} to {}", (self.number)(low), (self.number)(high)));
            let (x, y) = ((self.number)(p.x), (self.number)(p.y));
            format!("{}, {x}: {y}{}", track.name, ends.unwrap_or_default())
        };
        let Track { class, curve, .. } = track;
        let (class, words) = (*class, Some(&words as &dyn Fn(&super::Point) -> String));
        Trace { class, shape: class, dashed: false, marked: MARKED, shaded: true, words }.draw(&curve.points, frame)
    }

    /// The curves in words.
    fn description(&self) -> String {
        let of = |track: &Track<'_>| {
            let (name, number, curve) = (track.name, self.number, &track.curve);
            let (low, high) = span(curve.finite().map(|(_, y)| y)).unwrap_or_default();
            let text = match (curve.finite().next(), curve.finite().last()) {
                (Some(a), Some(b)) => format!(
                    "{name}: from {} at {} to {} at {}, between {} and {}",
                    number(a.1),
                    number(a.0),
                    number(b.1),
                    number(b.0),
                    number(low),
                    number(high)
                ),
                _ => format!("{name}: no finite value"),
            };
            match curve.of > curve.points.len() {
                true => format!("{text}, {} of {} points", curve.points.len(), curve.of),
                false => text,
            }
        };
        self.tracks.iter().map(of).collect::<Vec<_>>().join("; ") + "."
    }
}

/// The area of a page's chart, with room for the longest label of the ordinate.
pub(crate) fn framed(x: Scale, y: Scale) -> Frame {
    let longest = y.ticks.iter().map(|(_, label)| label.len()).max().unwrap_or(1);
    let [width, height] = SIZE;
    Frame { left: 16.0 + 6.4 * longest as f64, top: 10.0, right: width - 14.0, bottom: height - 40.0, x, y }
}

/// The element of a page's chart with what a reader is told who does not see it.
pub(crate) fn drawing(id: &str, heading: &str, description: &str, inner: &Markup) -> Markup {
    let [width, height] = SIZE;
    html! {
        svg class="chart" viewBox={ "0 0 " (width) " " (height) } role="img" aria-labelledby={ "t" (id) " d" (id) } {
            title id={ "t" (id) } { (heading) }
            desc id={ "d" (id) } { (description) }
            (inner)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Point;
    use super::*;

    fn points(values: &[f64]) -> Curve {
        Curve::new(values.iter().zip(0..).map(|(y, x)| Point { x: f64::from(x), y: *y, band: None }).collect())
    }

    #[test]
    fn a_chart_says_what_it_shows_and_a_name_cannot_leave_its_text() {
        let tracks = vec![
            Track { class: 0, name: "</title><script>", curve: points(&[1.0, 0.5, f64::NAN, 0.25]) },
            Track { class: 9, name: "b", curve: points(&[3.0]) },
        ];
        let number = |x: f64| x.to_string();
        let svg = Inline { title: "Loss", along: "steps", tracks, number }.svg(7).into_string();
        assert!(svg.contains("<title id=\"t7\">Loss along steps</title>"), "{svg}");
        assert!(svg.contains("from 1 at 0 to 0.25 at 3, between 0.25 and 1; b: from 3 at 0"), "{svg}");
        assert!(!svg.contains("<script") && svg.contains("class=\"s9\""), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        // the gap splits the line in two, of which the second is a point alone
        assert_eq!((svg.matches("class=\"line\"").count(), svg.matches("class=\"mark\"").count()), (1, 4), "{svg}");
    }
}
