//! Loss and accuracy along one direction.

use super::{BLUE, FONT, GRID, Heading, INK, ORANGE, coordinate, draw, extent, headed, label};
use anyhow::Result;
use plotters::prelude::*;

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
    let Line { x, loss, accuracy, label: x_label, marks, range } = *drawn;
    let [lo, hi] = range.unwrap_or_else(|| extent(loss));
    let logarithmic = lo > 0.0 && hi / lo > 100.0;
    // the logarithm by hand, so that both scales are one type of chart
    let scale = |l: f64| if logarithmic { l.log10() } else { l };
    let (low, high) = (scale(lo), scale(hi));
    let margin = 0.05 * (high - low).max(1e-12);
    let (first, last) = (x.first().copied().unwrap_or(0.0), x.last().copied().unwrap_or(1.0));
    let (worst, best) =
        accuracy.iter().filter(|a| a.is_finite()).fold((1.0f64, 0.0f64), |(a, b), v| (a.min(*v), b.max(*v)));
    let room = (5.0 * (best - worst)).max(0.5);
    draw((960, 600), |root| {
        let (head, body) = headed(root, "Loss along a line", heading)?;
        // the key is above the chart, where no curve can be under it
        let key = [(560, 24, "loss (left axis)", BLUE), (560, 48, "accuracy (right axis)", ORANGE)];
        for (at, height, text, colour) in key {
            let ends = [(at, height), (at + 28, height)];
            if colour == BLUE {
                head.draw(&PathElement::new(ends, colour.stroke_width(2)))?;
            } else {
                head.draw(&PathElement::new([(at, height), (at + 12, height)], colour.stroke_width(2)))?;
                head.draw(&PathElement::new([(at + 17, height), (at + 28, height)], colour.stroke_width(2)))?;
            }
            head.draw(&Text::new(text, (at + 36, height - 9), (FONT, 15).into_font().color(&INK)))?;
        }
        let mut chart = ChartBuilder::on(&body)
            .margin(16)
            .x_label_area_size(52)
            .y_label_area_size(86)
            .right_y_label_area_size(76)
            .build_cartesian_2d(first..last, low - margin..high + margin)?
            .set_secondary_coord(first..last, 100.0 * worst - room..100.0 * best + room);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(9)
            .x_label_formatter(&|at| coordinate(*at, x))
            .y_label_formatter(&|y| label(if logarithmic { 10f64.powf(*y) } else { *y }))
            .label_style((FONT, 15).into_font().color(&INK))
            .axis_desc_style((FONT, 17).into_font().color(&INK))
            .x_desc(x_label)
            .y_desc(if logarithmic { "loss (log)" } else { "loss" })
            .draw()?;
        chart
            .configure_secondary_axes()
            .axis_style(INK)
            .y_label_formatter(&|y| label(*y))
            .label_style((FONT, 15).into_font().color(&INK))
            .axis_desc_style((FONT, 17).into_font().color(&INK))
            .y_desc("accuracy, percent")
            .draw()?;
        // what is beyond a given scale runs along its edge
        let clipped = |l: f64| scale(l).clamp(low - margin, high + margin);
        let points: Vec<(f64, f64)> = x.iter().zip(loss).map(|(x, l)| (*x, clipped(*l))).collect();
        let parts = points.split(|(_, y)| !y.is_finite()).filter(|part| part.len() > 1);
        chart.draw_series(parts.map(|part| PathElement::new(part.to_vec(), BLUE.stroke_width(2))))?;
        let right = x.iter().zip(accuracy).filter(|(_, a)| a.is_finite()).map(|(x, a)| (*x, 100.0 * a));
        chart.draw_secondary_series(DashedLineSeries::new(right, 8, 4, ORANGE.stroke_width(2)))?;
        let top = high + margin;
        for (i, (at, name)) in marks.iter().enumerate() {
            let here = [(*at, low - margin), (*at, top)];
            chart.draw_series(DashedLineSeries::new(here, 3, 4, INK.stroke_width(1)))?;
            // one below another, so that long names of near checkpoints do not meet
            let offset = (5, 4 + 20 * i as i32);
            let name =
                EmptyElement::at((*at, top)) + Text::new(name.clone(), offset, (FONT, 15).into_font().color(&INK));
            chart.draw_series([name])?;
        }
        Ok(())
    })
}
