//! A chart as inline SVG. Colours come from the page's style by the class of the cell, so that they follow light and dark.

use super::curve::{Curve, Point};
use super::html::escape;
use super::paper::{HEIGHT, Paper, WIDTH};
use super::scale::Scale;
use flat_run::value::short;
use maud::{Markup, html};
use std::fmt::Write;

/// Up to so many points each gets a mark.
const MARKED: usize = 40;

/// A curve of a run.
#[derive(Debug)]
pub(super) struct Series<'a> {
    /// Which cell: decides colour, dashes and marks.
    pub cell: usize,
    /// The run's name.
    pub name: &'a str,
    /// Its curve.
    pub curve: Curve,
}

/// Curves over one axis.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    /// What is drawn.
    pub title: &'a str,
    /// What it is drawn along.
    pub along: &'a str,
    /// The curves; none is empty.
    pub series: Vec<Series<'a>>,
}

impl Chart<'_> {
    /// The SVG element; `id` is unlike that of every other chart of the page.
    pub fn svg(&self, id: usize) -> String {
        let values = || self.series.iter().flat_map(|s| s.curve.finite());
        let intervals = self.series.iter().flat_map(|s| s.curve.points.iter().filter_map(|p| p.interval)).flatten();
        let y = Scale::roomy(values().map(|(_, y)| y), values().map(|(_, y)| y).chain(intervals));
        let paper = Paper::new(Scale::whole(values().map(|(x, _)| x)), y);

        let mut out = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"t{id} d{id}\">\n\
             <title id=\"t{id}\">{}</title>\n<desc id=\"d{id}\">{}</desc>\n",
            escape(&self.heading(&paper.y)),
            escape(&self.description())
        );
        let below = if paper.y.logarithmic { " (value on a log scale)" } else { "" };
        paper.axes(&format!("{}{below}", self.along), &mut out);
        for series in &self.series {
            draw(series, &paper, &mut out);
        }
        out.push_str("</svg>\n");
        out
    }

    fn heading(&self, y: &Scale) -> String {
        format!("{} along {}{}", self.title, self.along, if y.logarithmic { ", logarithmic" } else { "" })
    }

    /// The curves in words.
    fn description(&self) -> String {
        let of = |s: &Series<'_>| {
            let all: Vec<(f64, f64)> = s.curve.finite().collect();
            let (low, high) = all.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), p| (a.min(p.1), b.max(p.1)));
            let mut text = match (all.first(), all.last()) {
                (Some(a), Some(b)) => format!(
                    "{}: from {} at {} to {} at {}, between {} and {}",
                    s.name,
                    short(a.1),
                    short(a.0),
                    short(b.1),
                    short(b.0),
                    short(low),
                    short(high)
                ),
                _ => format!("{}: no finite value", s.name),
            };
            if s.curve.of > s.curve.points.len() {
                let _ = write!(text, ", {} of {} points", s.curve.points.len(), s.curve.of);
            }
            text
        };
        self.series.iter().map(of).collect::<Vec<_>>().join("; ") + "."
    }
}

/// Band, line and marks of a curve.
fn draw(series: &Series<'_>, paper: &Paper, out: &mut String) {
    let points = &series.curve.points;
    let _ = writeln!(out, "<g class=\"s{}\">", series.cell);
    for part in points.split(|p| p.interval.is_none() || p.y.is_none()).filter(|part| part.len() > 1) {
        let end = |k: usize| move |p: &Point| Some((p.x, p.interval?[k]));
        let around = part.iter().filter_map(end(0)).chain(part.iter().rev().filter_map(end(1)));
        let _ = writeln!(out, "<path class=\"band\" d=\"{}Z\"/>", line(around, paper));
    }
    for part in points.split(|p| p.y.is_none()).filter(|part| part.len() > 1) {
        let _ = writeln!(
            out,
            "<path class=\"line\" d=\"{}\"/>",
            line(part.iter().filter_map(|p| Some((p.x, p.y?))), paper)
        );
    }
    if points.len() <= MARKED {
        for point in points {
            mark(series, point, paper, out);
        }
    } else {
        // a point between two gaps has no line
        for i in 0..points.len() {
            let gap = |j: Option<usize>| j.and_then(|j| points.get(j)).is_none_or(|p| p.y.is_none());
            if gap(i.checked_sub(1)) && gap(Some(i + 1)) {
                mark(series, &points[i], paper, out);
            }
        }
    }
    out.push_str("</g>\n");
}

/// The mark of a value, with the whisker of its interval and its numbers for the pointer.
fn mark(series: &Series<'_>, point: &Point, paper: &Paper, out: &mut String) {
    let Some(value) = point.y else { return };
    let (x, y) = paper.at(point.x, value);
    let mut words = format!("{}, {}: {}", series.name, short(point.x), short(value));
    if let Some([low, high]) = point.interval {
        let ((_, bottom), (_, top)) = (paper.at(point.x, low), paper.at(point.x, high));
        let _ = writeln!(out, "<path class=\"whisker\" d=\"M{x:.1} {bottom:.1}V{top:.1}\"/>");
        let _ = write!(words, ", {} to {}", short(low), short(high));
    }
    let _ = writeln!(
        out,
        "<path class=\"mark\" d=\"M{x:.1} {y:.1}{}\"><title>{}</title></path>",
        shape(series.cell),
        escape(&words)
    );
}

/// The outline of a cell's marks around the place where the pen is.
pub(super) fn shape(cell: usize) -> &'static str {
    match cell % 5 {
        0 => "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
        1 => "m-2.8-2.8h5.6v5.6h-5.6z",
        2 => "m0-3.8l3.6 6.4h-7.2z",
        3 => "m0-4l4 4l-4 4l-4-4z",
        _ => "m0 3.8l3.6-6.4h-7.2z",
    }
}

fn line(points: impl Iterator<Item = (f64, f64)>, paper: &Paper) -> String {
    let mut path = String::new();
    for (i, (x, y)) in points.enumerate() {
        let (x, y) = paper.at(x, y);
        let _ = write!(path, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
    }
    path
}

/// The mark of a cell beside its name.
pub(super) fn swatch(cell: usize) -> Markup {
    html! {
        svg class={ "swatch s" (cell) } viewBox="0 0 28 12" aria-hidden="true" {
            path class="line" d="M1 6H27" {}
            path class="mark" d={ "M14 6" (shape(cell)) } {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[f64]) -> Curve {
        let point =
            |(i, y): (usize, &f64)| Point { x: i as f64, y: Some(*y).filter(|y| y.is_finite()), interval: None };
        Curve::new(values.iter().enumerate().map(point).collect())
    }

    #[test]
    fn a_chart_says_what_it_shows_and_a_name_cannot_leave_its_text() {
        let series = vec![
            Series { cell: 0, name: "</title><script>", curve: points(&[1.0, 0.5, f64::NAN, 0.25]) },
            Series { cell: 9, name: "b", curve: points(&[3.0]) },
        ];
        let svg = Chart { title: "Loss", along: "steps", series }.svg(7);
        assert!(svg.contains("<title id=\"t7\">Loss along steps</title>"), "{svg}");
        assert!(svg.contains("from 1 at 0 to 0.25 at 3, between 0.25 and 1; b: from 3 at 0"), "{svg}");
        assert!(!svg.contains("<script") && svg.contains("class=\"s9\""), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        // the gap splits the line in two, of which the second is a point alone
        assert_eq!((svg.matches("class=\"line\"").count(), svg.matches("class=\"mark\"").count()), (1, 4), "{svg}");
    }
}
