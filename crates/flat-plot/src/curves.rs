//! Several curves in one plot, with bands.

use super::curve::Point;
use super::file::{COLOURS, Heading, INK, file};
use super::frame::{Frame, text};
use super::scale::Scale;
use super::trace::Trace;
use anyhow::{Result, bail};
use maud::html;

/// Up to so many points each gets a mark and a bar instead of a band.
const MARKED: usize = 24;

/// An axis of [`curves`].
#[derive(Debug, Clone, Copy)]
pub struct Axis<'a> {
    /// What it shows, with its unit.
    pub label: &'a str,
    /// Logarithmic; values that are not above 0 are left out then.
    pub logarithmic: bool,
}

/// A named curve.
#[derive(Debug, Clone)]
pub struct Series<'a> {
    /// As the key names it.
    pub name: &'a str,
    /// Its points from left to right.
    pub points: Vec<Point>,
    /// Drawn dashed and without marks: a bound or a fit rather than a measurement.
    pub dashed: bool,
}

/// The input of [`curves`].
#[derive(Debug, Clone)]
pub struct Chart<'a> {
    /// Headline.
    pub title: &'a str,
    /// A line below it.
    pub caption: &'a str,
    /// The horizontal axis.
    pub x: Axis<'a>,
    /// The vertical axis.
    pub y: Axis<'a>,
    /// The curves; a dashed one has the colour of the solid one before it.
    pub series: Vec<Series<'a>>,
}

/// Draws the curves; bands of points that have one are shaded, or drawn as bars where the curve has few points.
///
/// # Errors
/// No point can be drawn.
pub fn curves(chart: &Chart<'_>) -> Result<String> {
    let points = || chart.series.iter().flat_map(|s| &s.points);
    let ys = || points().flat_map(|p| [p.y].into_iter().chain(p.band.into_iter().flatten()));
    let (Some(x), Some(y)) =
        (Scale::around(points().map(|p| p.x), chart.x.logarithmic, 8), Scale::around(ys(), chart.y.logarithmic, 8))
    else {
        bail!("{}: there is no point to draw", chart.title)
    };
    let frame = Frame { left: 101.0, top: 80.0, right: 723.0, bottom: 532.0, x, y };
    let solid = |row: usize| chart.series[..=row].iter().filter(|s| !s.dashed).count();
    let class = |row: usize| solid(row).checked_sub(1).map_or(INK, |i| i % COLOURS);
    let drawing = html! {
        (frame.axes(chart.x.label, Some(chart.y.label)))
        @for (row, Series { name, points, dashed }) in chart.series.iter().enumerate() {
            @let look = Trace {
                class: class(row), shape: 0, dashed: *dashed, marked: MARKED, shaded: false, words: None
            };
            (look.draw(points, &frame))
            @let y = 88.0 + 24.0 * row as f64;
            g class={ "s" (class(row)) } {
                path class=(if *dashed { "line dashed" } else { "line" }) d=(format_args!("M744 {y:.1}h24")) {}
            }
            (text((776.0, y + 4.0), "start", name))
        }
    };
    let heading = Heading { caption: chart.caption.into(), notes: Vec::new() };
    Ok(file([960.0, 600.0], chart.title, &heading, &drawing))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<Point>) -> Chart<'static> {
        Chart {
            title: "Steps",
            caption: "a test",
            x: Axis { label: "eps", logarithmic: true },
            y: Axis { label: "steps", logarithmic: true },
            series: vec![Series { name: "rsp <1>", points, dashed: false }],
        }
    }

    #[test]
    fn values_beyond_a_logarithmic_axis_interrupt_the_curve() -> Result<()> {
        let point = |x, y| Point { x, y, band: Some([-1.0, 2.0 * y]) };
        let svg = curves(&chart(vec![point(0.1, 1.0), point(0.2, 0.0), point(0.3, f64::NAN), point(0.4, 100.0)]))?;
        assert_eq!(svg.matches("class=\"mark\"").count(), 2, "two points can be drawn");
        assert!(svg.contains("rsp &lt;1&gt;") && !svg.contains("NaN"));
        assert!(curves(&chart(vec![point(0.0, 1.0)])).is_err());
        Ok(())
    }
}
