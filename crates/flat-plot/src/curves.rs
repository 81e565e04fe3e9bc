//! Several curves in one plot, with bands.

use super::curve::Point;
use super::file::{COLOURS, Heading, INK, file};
use super::frame::{Frame, text};
use super::scale::{Scale, label};
use super::trace::Trace;
use anyhow::{Result, bail};
use maud::{Markup, html};

/// Up to so many points each gets a mark and a bar instead of a band.
const MARKED: usize = 24;

/// Ticks of an axis of a small chart.
const FEW: usize = 4;

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
    let Chart { title, caption, x, y, series } = chart;
    let [left, top, right, bottom] = [101.0, 80.0, 723.0, 532.0];
    let drawing = html! {
        (drawn(title, [x, y], series, [left, top, right, bottom], Some(8))?)
        @for (row, one) in series.iter().enumerate() { (named(series, row, (744.0, 88.0 + 24.0 * row as f64), one.name)) }
    };
    let heading = Heading { caption: (*caption).into(), notes: Vec::new() };
    Ok(file([960.0, 600.0], title, &heading, &drawing))
}

/// The class of the colour of a curve: that of the solid one before a dashed one.
fn class(series: &[Series<'_>], row: usize) -> usize {
    let solid = series[..=row].iter().filter(|s| !s.dashed).count();
    solid.checked_sub(1).map_or(INK, |i| i % COLOURS)
}

/// Axes and the curves, within left, top, right and bottom. About `ticks` ticks an axis; `None` sets those of the abscissa at
/// its points.
pub(crate) fn drawn(
    title: &str,
    [x, y]: [&Axis<'_>; 2],
    series: &[Series<'_>],
    [left, top, right, bottom]: [f64; 4],
    ticks: Option<usize>,
) -> Result<Markup> {
    let points = || series.iter().flat_map(|s| &s.points);
    let ys = || points().flat_map(|p| [p.y].into_iter().chain(p.band.into_iter().flatten()));
    let about = ticks.unwrap_or(FEW);
    let (Some(mut along), Some(up)) =
        (Scale::around(points().map(|p| p.x), x.logarithmic, about), Scale::around(ys(), y.logarithmic, about))
    else {
        bail!("{title}: there is no point to draw")
    };
    if ticks.is_none() {
        let mut at: Vec<f64> = points().map(|p| p.x).filter(|x| along.shows(*x)).collect();
        at.sort_by(f64::total_cmp);
        at.dedup();
        along.ticks = at.into_iter().map(|x| (x, label(x))).collect();
    }
    let frame = Frame { left, top, right, bottom, x: along, y: up };
    Ok(html! {
        (frame.axes(x.label, Some(y.label)))
        @for (row, Series { points, dashed, .. }) in series.iter().enumerate() {
            @let look = Trace {
                class: class(series, row), shape: 0, dashed: *dashed, marked: MARKED, shaded: false, words: None
            };
            (look.draw(points, &frame))
        }
    })
}

/// A line of the key: what a curve looks like, and its name.
pub(crate) fn named(series: &[Series<'_>], row: usize, (x, y): (f64, f64), name: &str) -> Markup {
    html! {
        g class={ "s" (class(series, row)) } {
            path class=(if series[row].dashed { "line dashed" } else { "line" }) d=(format_args!("M{x:.1} {y:.1}h24")) {}
        }
        (text((x + 32.0, y + 4.0), "start", name))
    }
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
