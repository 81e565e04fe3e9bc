//! Loss and accuracy along one direction.

use super::curve::Point;
use super::file::{Heading, file};
use super::frame::{Frame, text};
use super::scale::{Scale, span};
use super::trace::Trace;
use anyhow::Result;
use maud::html;

/// Loss and accuracy along a direction.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Coordinates.
    pub x: &'a [f64],
    /// The loss there; one that is not finite is a gap.
    pub loss: &'a [f64],
    /// The accuracy there in 0..1, likewise.
    pub accuracy: &'a [f64],
    /// Name of the axis.
    pub label: &'a str,
    /// Coordinates of checkpoints with their names.
    pub marks: &'a [(f64, String)],
    /// Ends of the axis of the loss, so that several plots share one; those of the losses where there are none.
    pub range: Option<[f64; 2]>,
}

/// Draws the loss on the left axis and the accuracy in percent on the right one. The loss is logarithmic where it
/// spans more than a factor of 100.
///
/// # Errors
/// None in practice.
pub fn line(drawn: &Line<'_>, heading: &Heading) -> Result<String> {
    let Line { x, loss, accuracy, label, marks, range } = *drawn;
    let finite = |values: &[f64]| span(values.iter().copied().filter(|v| v.is_finite())).unwrap_or((0.0, 1.0));
    let (low, high) = range.map_or_else(|| finite(loss), |[low, high]| (low, high));
    let logarithmic = low > 0.0 && high / low > 100.0;
    let (first, last) = (x.first().copied().unwrap_or(0.0), x.last().copied().unwrap_or(1.0));
    let (worst, best) = finite(accuracy);
    let room = (5.0 * (best - worst)).max(0.5);
    let frame = |y: Scale| {
        let (top, x) = (heading.height() + 16.0, Scale::between(first, last, false, 8));
        Frame { left: 101.0, top, right: 868.0, bottom: 532.0, x, y }
    };
    let left = Scale::around([low, high].into_iter(), logarithmic, 6);
    let left = frame(left.unwrap_or_else(|| Scale::between(0.0, 1.0, false, 6)));
    let right = frame(Scale::between(100.0 * worst - room, 100.0 * best + room, false, 8));
    let curve = |values: &[f64], times: f64| -> Vec<Point> {
        x.iter().zip(values).map(|(x, y)| Point { x: *x, y: times * y, band: None }).collect()
    };
    let look = |class: usize, dashed: bool| Trace { class, shape: 0, dashed, marked: 0, shaded: false, words: None };
    let drawing = html! {
        (left.axes(label, Some(if logarithmic { "loss (log)" } else { "loss" })))
        (right.right_axis(Some("accuracy, percent")))
        // what is beyond a given scale runs along its edge
        (look(0, false).draw(&curve(loss, 1.0), &left))
        (look(1, true).draw(&curve(accuracy, 100.0), &right))
        @for ((at, name), i) in marks.iter().zip(0..) {
            path class="place" d=(format_args!("M{:.1} {:.1}V{:.1}", left.across(*at), left.bottom, left.top)) {}
            // one below another, so that long names of near checkpoints do not meet
            (text((left.across(*at) + 5.0, left.top + 13.0 + 20.0 * f64::from(i)), "start", name))
        }
        // the key is above the chart, where no curve can be under it
        g class="s0" { path class="line" d="M560 24h28" {} (text((596.0, 28.0), "start", "loss (left axis)")) }
        g class="s1" {
            path class="line dashed" d="M560 44h28" {}
            (text((596.0, 48.0), "start", "accuracy (right axis)"))
        }
    };
    Ok(file([960.0, 600.0], "Loss along a line", heading, &drawing))
}
