//! The paper of a chart: its axes and the place of a point.

use super::html::escape;
use super::scale::Scale;
use std::fmt::Write;

pub(super) const WIDTH: f64 = 400.0;
pub(super) const HEIGHT: f64 = 250.0;
const TOP: f64 = 10.0;
const RIGHT: f64 = 14.0;
const BOTTOM: f64 = 40.0;

/// Two axes.
pub(super) struct Paper {
    pub x: Scale,
    pub y: Scale,
    left: f64,
}

impl Paper {
    /// Room for the longest label of the ordinate is kept.
    pub fn new(x: Scale, y: Scale) -> Self {
        let longest = y.ticks.iter().map(|(_, label)| label.len()).max().unwrap_or(1);
        Self { x, y, left: 16.0 + 6.4 * longest as f64 }
    }

    /// The place of a point.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.across(x), TOP + (1.0 - self.y.place(y)) * (HEIGHT - TOP - BOTTOM))
    }

    fn across(&self, x: f64) -> f64 {
        self.left + self.x.place(x) * (WIDTH - RIGHT - self.left)
    }

    /// Draws the axes; `below` is said of the abscissa.
    pub fn axes(&self, below: &str, out: &mut String) {
        let (left, right, floor) = (self.left, WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, label) in &self.y.ticks {
            let (_, y) = self.at(0.0, *value);
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 6.0,
                y + 4.0
            );
        }
        for (value, label) in &self.x.ticks {
            let x = self.across(*value);
            let _ = writeln!(
                out,
                "<path class=\"axis\" d=\"M{x:.1} {floor:.1}v4\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                floor + 17.0
            );
        }
        let _ = writeln!(
            out,
            "<path class=\"axis\" d=\"M{left:.1} {floor:.1}H{right:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(left, right),
            HEIGHT - 6.0,
            escape(below),
        );
    }
}
