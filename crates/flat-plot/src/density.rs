//! The spectral density with its band.

use super::{BLUE, FONT, GRID, Heading, INK, ORANGE, draw, headed, label};
use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// A density of eigenvalues on a grid.
#[derive(Debug, Clone, Copy)]
pub struct Density<'a> {
    /// Where it is known.
    pub grid: &'a [f64],
    /// Fraction of eigenvalues per unit.
    pub density: &'a [f64],
    /// Its 95 % interval, point by point; empty where there is none.
    pub band: &'a [[f64; 2]],
    /// Eigenvalues.
    pub dim: usize,
    /// Standard deviation of the kernel that smooths it.
    pub sigma: f64,
    /// Probes, and steps of Lanczos' method each.
    pub effort: [usize; 2],
}

/// Draws the density on a logarithmic scale, from a tenth of the height of a single eigenvalue up.
///
/// # Errors
/// No point.
pub fn density(of: &Density<'_>, heading: &Heading) -> Result<String> {
    // one eigenvalue smoothed by sigma: what is far below it is the tail of the smoothing, no eigenvalue
    let single = 1.0 / (of.dim as f64 * of.sigma * (2.0 * std::f64::consts::PI).sqrt());
    let top = of.band.iter().map(|b| b[1]).chain(of.density.iter().copied()).fold(single, f64::max);
    let (floor, top) = (0.1 * single, 2.0 * top);
    let (Some(&first), Some(&last)) = (of.grid.first(), of.grid.last()) else {
        return Err(anyhow!("the density has no points"));
    };
    draw((960, 600), |root| {
        let (_, body) = headed(root, "Spectral density of the Hessian", heading)?;
        let mut chart = ChartBuilder::on(&body)
            .margin(16)
            .margin_right(28)
            .x_label_area_size(52)
            .y_label_area_size(86)
            .build_cartesian_2d(first..last, (floor..top).log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(9)
            .x_label_formatter(&|x| label(*x))
            .y_label_formatter(&|y| label(*y))
            .label_style((FONT, 15).into_font().color(&INK))
            .axis_desc_style((FONT, 17).into_font().color(&INK))
            .x_desc("eigenvalue of the Hessian")
            .y_desc("density: fraction of eigenvalues per unit (log)")
            .draw()?;
        if !of.band.is_empty() {
            let upper = of.grid.iter().zip(of.band).map(|(x, b)| (*x, b[1].max(floor)));
            let lower = of.grid.iter().zip(of.band).rev().map(|(x, b)| (*x, b[0].max(floor)));
            let outline: Vec<(f64, f64)> = upper.chain(lower).collect();
            chart
                .draw_series([Polygon::new(outline, BLUE.mix(0.25).filled())])?
                .label("95 % interval, point by point")
                .legend(|(x, y)| Rectangle::new([(x, y - 6), (x + 24, y + 6)], BLUE.mix(0.25).filled()));
        }
        let above = of.grid.iter().copied().zip(of.density.iter().copied()).collect::<Vec<_>>();
        // nothing is drawn where the density is below the scale
        let parts = above.split(|(_, y)| *y < floor).filter(|part| part.len() > 1);
        chart
            .draw_series(parts.map(|part| PathElement::new(part.to_vec(), BLUE.stroke_width(2))))?
            .label(format!("mean of {} probes of {} steps, sigma {}", of.effort[0], of.effort[1], label(of.sigma)))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 24, y)], BLUE.stroke_width(2)));
        chart
            .draw_series(DashedLineSeries::new([(first, single), (last, single)], 6, 5, ORANGE.stroke_width(1)))?
            .label("height of a single eigenvalue")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 24, y)], ORANGE.stroke_width(1)));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .margin(14)
            .legend_area_size(34)
            .background_style(WHITE.mix(0.9))
            .border_style(GRID)
            .label_font((FONT, 15).into_font().color(&INK))
            .draw()?;
        Ok(())
    })
}
