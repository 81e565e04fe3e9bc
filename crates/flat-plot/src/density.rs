//! The spectral density with its band.

use super::curve::Point;
use super::file::{Heading, file};
use super::frame::{Frame, text};
use super::scale::{Scale, label};
use super::trace::outline;
use anyhow::{Result, anyhow};
use maud::html;

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
    let highest = of.band.iter().map(|b| b[1]).chain(of.density.iter().copied()).fold(single, f64::max);
    let (floor, ceiling) = (0.1 * single, 2.0 * highest);
    let (Some(&first), Some(&last)) = (of.grid.first(), of.grid.last()) else {
        return Err(anyhow!("the density has no points"));
    };
    let (x, y) = (Scale::between(first, last, false, 8), Scale::between(floor, ceiling, true, 8));
    let frame = Frame { left: 101.0, top: heading.height() + 16.0, right: 931.0, bottom: 532.0, x, y };
    let bands = of.band.iter().map(Some).chain(std::iter::repeat(None));
    let point = |((x, y), band): ((&f64, &f64), Option<&[f64; 2]>)| Point { x: *x, y: *y, band: band.copied() };
    let points: Vec<Point> = of.grid.iter().zip(of.density).zip(bands).map(point).collect();
    let mean = format!("mean of {} probes of {} steps, sigma {}", of.effort[0], of.effort[1], label(of.sigma));
    let key = frame.top + 24.0;
    let drawing = html! {
        (frame.axes("eigenvalue of the Hessian", Some("density: fraction of eigenvalues per unit (log)")))
        g class="s0" {
            @if !of.band.is_empty() { path class="band" d=(outline(&points, &frame)) {} }
            // nothing is drawn where the density is below the scale
            @for part in points.split(|p| p.y < floor).filter(|part| part.len() > 1) {
                path class="line" d=(frame.path(part.iter().map(|p| (p.x, p.y)))) {}
            }
        }
        g class="s1" {
            path class="line thin dashed" d=(frame.path([(first, single), (last, single)].into_iter())) {}
        }
        rect class="ground" x="585" y=(key - 20.0) width="342" height="79" fill-opacity=".9" {}
        path class="grid" d=(format_args!("M585 {}h342v79h-342z", key - 20.0)) {}
        g class="s0" {
            @if !of.band.is_empty() {
                rect class="band" x="599" y=(key - 6.0) width="24" height="12" {}
                (text((633.0, key + 4.0), "start", "95 % interval, point by point"))
            }
            path class="line" d=(format_args!("M599 {}h24", key + 19.0)) {}
            (text((633.0, key + 23.0), "start", &mean))
        }
        g class="s1" {
            path class="line thin dashed" d=(format_args!("M599 {}h24", key + 38.0)) {}
            (text((633.0, key + 42.0), "start", "height of a single eigenvalue"))
        }
    };
    Ok(file([960.0, 600.0], "Spectral density of the Hessian", heading, &drawing))
}
