//! Several curves in one plot, with bands.

use super::{FONT, GRID, INK, SERIES, draw, label};
use anyhow::{Result, bail};
use plotters::prelude::*;
use std::ops::Range;

/// An axis of [`curves`].
#[derive(Debug, Clone, Copy)]
pub struct Axis<'a> {
    /// What it shows, with its unit.
    pub label: &'a str,
    /// Logarithmic; values that are not above 0 are left out then.
    pub logarithmic: bool,
}

/// One point of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Along the horizontal axis.
    pub x: f64,
    /// Along the vertical axis.
    pub y: f64,
    /// Ends of the interval of y, where there is one.
    pub band: Option<[f64; 2]>,
}

/// A named curve.
#[derive(Debug, Clone)]
pub struct Series<'a> {
    /// As the key names it.
    pub name: &'a str,
    /// Its points from left to right; what is not finite interrupts the curve.
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

impl Axis<'_> {
    /// The coordinate that is drawn: logarithms by hand, so that all kinds of axes are one type of chart.
    fn scaled(&self, x: f64) -> Option<f64> {
        match self.logarithmic {
            true if x > 0.0 => Some(x.log10()),
            true => None,
            false => Some(x),
        }
        .filter(|x| x.is_finite())
    }

    fn text(&self, x: f64) -> String {
        label(if self.logarithmic { 10f64.powf(x) } else { x })
    }

    fn range(&self, values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
        let (lo, hi) = values
            .filter_map(|x| self.scaled(x))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), x| (lo.min(x), hi.max(x)));
        let margin = (0.04 * (hi - lo)).max(1e-3 * lo.abs().max(hi.abs())).max(1e-9);
        (lo <= hi).then_some(lo - margin..hi + margin)
    }
}

/// Draws the curves; bands of points that have one are shaded, or drawn as bars where the curve has few points.
///
/// # Errors
/// No point can be drawn.
pub fn curves(chart: &Chart<'_>) -> Result<String> {
    let points = || chart.series.iter().flat_map(|s| &s.points);
    let ys = || points().flat_map(|p| [p.y].into_iter().chain(p.band.into_iter().flatten()));
    let (Some(x), Some(y)) = (chart.x.range(points().map(|p| p.x)), chart.y.range(ys())) else {
        bail!("{}: there is no point to draw", chart.title)
    };
    let place = |p: &Point| Some((chart.x.scaled(p.x)?, chart.y.scaled(p.y)?));
    // an end beyond a logarithmic axis, as of an interval that reaches 0, is at the axis
    let end =
        |p: &Point, y_end: f64| Some((chart.x.scaled(p.x)?, chart.y.scaled(y_end).unwrap_or(y.start).max(y.start)));
    draw((960, 600), |root| {
        let (head, body) = root.split_vertically(64);
        head.draw(&Text::new(chart.title, (24, 14), (FONT, 24).into_font().color(&INK)))?;
        head.draw(&Text::new(chart.caption, (24, 44), (FONT, 15).into_font().color(&INK)))?;
        let (body, side) = body.split_horizontally(740);
        let mut plot = ChartBuilder::on(&body)
            .margin(16)
            .x_label_area_size(52)
            .y_label_area_size(86)
            .build_cartesian_2d(x.clone(), y.clone())?;
        plot.configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(8)
            .x_label_formatter(&|at| chart.x.text(*at))
            .y_label_formatter(&|at| chart.y.text(*at))
            .label_style((FONT, 15).into_font().color(&INK))
            .axis_desc_style((FONT, 17).into_font().color(&INK))
            .x_desc(chart.x.label)
            .y_desc(chart.y.label)
            .draw()?;
        let (mut colour, mut solid) = (INK, 0);
        for (row, series) in chart.series.iter().enumerate() {
            if !series.dashed {
                colour = SERIES[solid % SERIES.len()];
                solid += 1;
            }
            let few = series.points.len() <= 24;
            for part in series.points.split(|p| place(p).is_none()) {
                let few = few || part.len() == 1;
                let banded: Vec<(&Point, [f64; 2])> = part.iter().filter_map(|p| Some((p, p.band?))).collect();
                if few {
                    let bars = banded.iter().filter_map(|(p, b)| Some(vec![end(p, b[0])?, end(p, b[1])?]));
                    plot.draw_series(bars.map(|bar| PathElement::new(bar, colour.stroke_width(2))))?;
                } else if banded.len() > 1 {
                    let upper = banded.iter().filter_map(|(p, b)| end(p, b[1]));
                    let lower = banded.iter().rev().filter_map(|(p, b)| end(p, b[0]));
                    plot.draw_series([Polygon::new(upper.chain(lower).collect::<Vec<_>>(), colour.mix(0.2).filled())])?;
                }
                let line: Vec<(f64, f64)> = part.iter().filter_map(place).collect();
                if series.dashed {
                    plot.draw_series(DashedLineSeries::new(line, 7, 5, colour.stroke_width(2)))?;
                } else {
                    if few {
                        plot.draw_series(line.iter().map(|at| Circle::new(*at, 4, colour.filled())))?;
                    }
                    plot.draw_series([PathElement::new(line, colour.stroke_width(2))])?;
                }
            }
            let at = 24 + 24 * row as i32;
            let ends: &[[(i32, i32); 2]] = match series.dashed {
                true => &[[(4, at), (13, at)], [(18, at), (28, at)]],
                false => &[[(4, at), (28, at)]],
            };
            for end in ends {
                side.draw(&PathElement::new(*end, colour.stroke_width(2)))?;
            }
            side.draw(&Text::new(series.name, (36, at - 8), (FONT, 15).into_font().color(&INK)))?;
        }
        Ok(())
    })
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
        assert_eq!(svg.matches("<circle").count(), 2, "two points can be drawn");
        assert!(svg.contains("rsp &lt;1&gt;") && !svg.contains("NaN"));
        assert!(curves(&chart(vec![point(0.0, 1.0)])).is_err());
        Ok(())
    }
}
