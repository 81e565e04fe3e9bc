//! Small multiples: several charts of the same curves on one sheet.

use super::curves::{Axis, Series, drawn, named};
use super::file::{Heading, file};
use anyhow::{Result, bail};
use maud::html;

/// Charts in a row.
const COLUMNS: usize = 2;
/// Size of a chart with its axes.
const CHART: [f64; 2] = [480.0, 300.0];
/// Room for the axes of a chart on the left, above, on the right and below.
const ROOM: [f64; 4] = [92.0, 10.0, 24.0, 56.0];
/// Width of a name in the key.
const NAME: f64 = 150.0;

/// A chart among others.
#[derive(Debug, Clone)]
pub struct Panel<'a> {
    /// The horizontal axis.
    pub x: Axis<'a>,
    /// The vertical axis.
    pub y: Axis<'a>,
    /// The curves; a dashed one has the colour of the solid one before it.
    pub series: Vec<Series<'a>>,
}

/// Draws the charts, two in a row, under one key: that of the first chart, whose curves the others have too. Vertical lines
/// of the grid stand at the points.
///
/// # Errors
/// A chart without a point that can be drawn; no chart.
pub fn panels(title: &str, caption: &str, charts: &[Panel<'_>]) -> Result<String> {
    let Some(first) = charts.first() else { bail!("{title}: there is no chart to draw") };
    let heading = Heading { caption: caption.into(), notes: Vec::new() };
    let (key, top) = (heading.height() + 14.0, heading.height() + 36.0);
    let [width, height] = CHART;
    let [left, above, right, below] = ROOM;
    let drawing = charts
        .iter()
        .enumerate()
        .map(|(i, Panel { x, y, series })| {
            let (from, down) = (width * (i % COLUMNS) as f64, top + height * (i / COLUMNS) as f64);
            let area = [from + left, down + above, from + width - right, down + height - below];
            drawn(title, [x, y], series, area, None)
        })
        .collect::<Result<Vec<_>>>()?;
    let series = &first.series;
    let drawing = html! {
        @for (row, one) in series.iter().enumerate() { (named(series, row, (left + NAME * row as f64, key), one.name)) }
        @for chart in &drawing { (chart) }
    };
    let size = [width * COLUMNS as f64, top + height * charts.len().div_ceil(COLUMNS) as f64];
    Ok(file(size, title, &heading, &drawing))
}

#[cfg(test)]
mod tests {
    use super::super::curve::Point;
    use super::*;

    #[test]
    fn charts_stand_beside_and_below_one_another_under_one_key() -> Result<()> {
        let points = |y: f64| vec![Point { x: 1.0, y, band: None }, Point { x: 2.0, y: 2.0 * y, band: None }];
        let axis = |label| Axis { label, logarithmic: true };
        let panel = |y: f64| Panel {
            x: axis("batch"),
            y: axis("ms"),
            series: vec![
                Series { name: "sgd", points: points(y), dashed: false },
                Series { name: "its bound", points: points(y / 2.0), dashed: true },
            ],
        };
        let svg = panels("Cost", "a test", &[panel(1.0), panel(10.0), panel(0.1)])?;
        for (words, times) in [(">batch<", 3), (">ms<", 3), (">sgd<", 1), (">its bound<", 1), ("class=\"mark\"", 6)] {
            assert_eq!(svg.matches(words).count(), times, "{words}");
        }
        let [width, height] = CHART;
        let heading = Heading { caption: "a test".into(), notes: Vec::new() };
        let size = format!("viewBox=\"0 0 {} {}\"", 2.0 * width, heading.height() + 36.0 + 2.0 * height);
        assert!(svg.contains(&size), "{size}");
        assert!(panels("Cost", "a test", &[]).is_err() && panels("Cost", "a test", &[panel(-1.0)]).is_err());
        Ok(())
    }
}
