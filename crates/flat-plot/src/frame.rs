//! The area of a plot: its axes and the place of a point.

use super::scale::Scale;
use maud::{Markup, html};
use std::fmt::Write;

/// How far below the floor the abscissa is named.
const NAMED: f64 = 36.0;
/// How far left of the area the ordinate is named.
const BESIDE: f64 = 75.0;

/// An area between two axes.
pub(crate) struct Frame {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
    pub x: Scale,
    pub y: Scale,
}

impl Frame {
    /// The place of a point.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.across(x), self.up(y))
    }

    /// How far right a number of the abscissa is.
    pub fn across(&self, x: f64) -> f64 {
        self.left + self.x.place(x) * (self.right - self.left)
    }

    fn up(&self, y: f64) -> f64 {
        self.bottom + self.y.place(y) * (self.top - self.bottom)
    }

    /// The path through these points.
    pub fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (i, (x, y)) in points.enumerate() {
            let (x, y) = self.at(x, y);
            let _ = write!(path, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
        }
        path
    }

    /// The axes with names: `below` that of the abscissa, `beside` that of the ordinate. Where the ordinate has a
    /// name the plot stands in a grid, else on lines.
    pub fn axes(&self, below: &str, beside: Option<&str>) -> Markup {
        let Self { left, top, right, bottom, .. } = *self;
        let (mut grid, mut axis) = (String::new(), format!("M{left:.1} {bottom:.1}H{right:.1}"));
        for y in self.y.ticks.iter().map(|(y, _)| self.up(*y)) {
            let _ = write!(grid, "M{left:.1} {y:.1}H{right:.1}");
        }
        for x in self.x.ticks.iter().map(|(x, _)| self.across(*x)) {
            let _ = write!(axis, "M{x:.1} {bottom:.1}v4");
            if beside.is_some() {
                let _ = write!(grid, "M{x:.1} {bottom:.1}V{top:.1}");
            }
        }
        if beside.is_some() {
            let _ = write!(axis, "M{left:.1} {bottom:.1}V{top:.1}");
        }
        html! {
            path class="grid" d=(grid) {}
            path class="axis" d=(axis) {}
            @for (y, label) in &self.y.ticks { (text((left - 6.0, self.up(*y) + 4.0), "end", label)) }
            @for (x, label) in &self.x.ticks { (text((self.across(*x), bottom + 17.0), "middle", label)) }
            (name((f64::midpoint(left, right), bottom + NAMED), 0, below))
            @if let Some(beside) = beside { (name((left - BESIDE, f64::midpoint(top, bottom)), -90, beside)) }
        }
    }

    /// The ordinate on the right, with a name.
    pub fn right_axis(&self, right_name: Option<&str>) -> Markup {
        let Self { top, right, bottom, .. } = *self;
        let mut axis = format!("M{right:.1} {bottom:.1}V{top:.1}");
        for y in self.y.ticks.iter().map(|(y, _)| self.up(*y)) {
            let _ = write!(axis, "M{right:.1} {y:.1}h4");
        }
        html! {
            path class="axis" d=(axis) {}
            @for (y, label) in &self.y.ticks { (text((right + 9.0, self.up(*y) + 4.0), "start", label)) }
            @if let Some(right_name) = right_name { (name((right + 66.0, f64::midpoint(top, bottom)), 90, right_name)) }
        }
    }
}

/// Words at a place, which they start, end or have in their middle.
pub(crate) fn text((x, y): (f64, f64), anchor: &str, words: &str) -> Markup {
    html! { text x=(format_args!("{x:.1}")) y=(format_args!("{y:.1}")) text-anchor=(anchor) { (words) } }
}

/// The name of an axis, which runs along it.
fn name((x, y): (f64, f64), turn: i32, words: &str) -> Markup {
    let placed = format!("translate({x:.1} {y:.1}) rotate({turn})");
    html! { text class="name" transform=(placed) text-anchor="middle" { (words) } }
}
