//! A value over two directions, as a map of colours.

use super::{FONT, Heading, INK, coordinate, draw, extent, headed, label};
use anyhow::Result;
use plotters::prelude::*;

/// A value at every point of a grid.
#[derive(Debug, Clone, Copy)]
pub struct Grid<'a> {
    /// Coordinates along the first axis, which varies fastest in `values`.
    pub x: &'a [f64],
    /// Coordinates along the second.
    pub y: &'a [f64],
    /// The values; those that are not finite stay white.
    pub values: &'a [f64],
    /// What they are.
    pub name: &'a str,
    /// Names of the axes.
    pub labels: &'a [String; 2],
    /// Colours by the logarithm, where the values allow.
    pub logarithmic: bool,
    /// Ends of the scale, so that several maps share one; those of the values where there are none.
    pub range: Option<[f64; 2]>,
}

/// Anchors of a scale that is even in brightness and readable without colour vision (viridis, of matplotlib).
const SCALE: [(u8, u8, u8); 9] = [
    (68, 1, 84),
    (71, 44, 122),
    (59, 81, 139),
    (44, 113, 142),
    (33, 144, 141),
    (39, 173, 129),
    (92, 200, 99),
    (170, 220, 50),
    (253, 231, 37),
];

/// The colour at a fraction of the scale.
fn colour(at: f64) -> RGBColor {
    let place = at.clamp(0.0, 1.0) * (SCALE.len() - 1) as f64;
    let i = (place as usize).min(SCALE.len() - 2);
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * (place - i as f64)).round() as u8;
    let (a, b) = (SCALE[i], SCALE[i + 1]);
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// Edges of the cells around the coordinates.
fn edges(x: &[f64]) -> Vec<f64> {
    let half = if x.len() > 1 { (x[1] - x[0]) / 2.0 } else { 0.5 };
    x.iter().map(|x| x - half).chain(x.last().map(|x| x + half)).collect()
}

/// Draws the map, its contours and its scale.
///
/// # Errors
/// None in practice.
pub fn surface(grid: &Grid<'_>, heading: &Heading) -> Result<String> {
    let [lo, hi] = grid.range.unwrap_or_else(|| extent(grid.values));
    let logarithmic = grid.logarithmic && lo > 0.0 && hi / lo > 10.0;
    let scale = |v: f64| if logarithmic { v.log10() } else { v };
    let back = |v: f64| if logarithmic { 10f64.powf(v) } else { v };
    let (low, high) = (scale(lo), if hi > lo { scale(hi) } else { scale(lo) + 1.0 });
    let fraction = |v: f64| (scale(v) - low) / (high - low);
    let (columns, rows) = (edges(grid.x), edges(grid.y));
    let span = |e: &[f64]| e.first().copied().unwrap_or(0.0)..e.last().copied().unwrap_or(1.0);
    let title = format!("{}{} around the checkpoint", grid.name[..1].to_uppercase(), &grid.name[1..]);
    draw((860, 760), |root| {
        let (_, body) = headed(root, &title, heading)?;
        let (map, bar) = body.split_horizontally(720);
        let mut chart = ChartBuilder::on(&map)
            .margin(16)
            .margin_top(32)
            .x_label_area_size(52)
            .y_label_area_size(76)
            .build_cartesian_2d(span(&columns), span(&rows))?;
        chart
            .configure_mesh()
            .disable_mesh()
            .axis_style(INK)
            .x_label_formatter(&|x| coordinate(*x, grid.x))
            .y_label_formatter(&|y| coordinate(*y, grid.y))
            .label_style((FONT, 15).into_font().color(&INK))
            .axis_desc_style((FONT, 16).into_font().color(&INK))
            .x_desc(grid.labels[0].as_str())
            .y_desc(grid.labels[1].as_str())
            .draw()?;
        let cells = grid.values.iter().enumerate().filter(|(_, v)| v.is_finite()).map(|(k, v)| {
            let (i, j) = (k % grid.x.len(), k / grid.x.len());
            Rectangle::new([(columns[i], rows[j]), (columns[i + 1], rows[j + 1])], colour(fraction(*v)).filled())
        });
        chart.draw_series(cells)?;
        // nine levels between the ends of the scale
        let fine = Refined::of(grid, &scale);
        for level in (1..10).map(|k| low + (high - low) * f64::from(k) / 10.0) {
            let lines = fine.contour(level).into_iter();
            chart.draw_series(lines.map(|ends| PathElement::new(ends, WHITE.mix(0.7).stroke_width(1))))?;
        }
        chart.draw_series([Cross::new((0.0, 0.0), 6, WHITE.stroke_width(2))])?;
        let mut key = ChartBuilder::on(&bar)
            .margin(16)
            .margin_top(32)
            .margin_bottom(68)
            .right_y_label_area_size(72)
            .build_cartesian_2d(0.0..1.0, low..high)?
            .set_secondary_coord(0.0..1.0, low..high);
        key.configure_secondary_axes()
            .axis_style(INK)
            .y_label_formatter(&|v| label(back(*v)))
            .label_style((FONT, 15).into_font().color(&INK))
            .draw()?;
        key.draw_series((0..200).map(|k| {
            let at = |k: i32| low + (high - low) * f64::from(k) / 200.0;
            Rectangle::new([(0.0, at(k)), (1.0, at(k + 1))], colour(f64::from(k) / 199.0).filled())
        }))?;
        let name = if logarithmic { format!("{} (log)", grid.name) } else { grid.name.to_string() };
        bar.draw(&Text::new(name, (16, 0), (FONT, 15).into_font().color(&INK)))?;
        Ok(())
    })
}

/// Parts into which the refined grid divides a cell along each axis.
const PARTS: usize = 6;

/// The scaled values on a finer grid, by the cubic through each point and its neighbours (Catmull & Rom 1974), so that contours
/// are curves and go through the points themselves.
struct Refined {
    x: Vec<f64>,
    y: Vec<f64>,
    values: Vec<f64>,
}

impl Refined {
    fn of(grid: &Grid<'_>, scale: &dyn Fn(f64) -> f64) -> Self {
        let scaled: Vec<f64> = grid.values.iter().map(|v| scale(*v)).collect();
        let rows: Vec<Vec<f64>> = scaled.chunks(grid.x.len()).map(refined).collect();
        let (nx, ny) = (rows.first().map_or(0, Vec::len), PARTS * grid.y.len().saturating_sub(1) + 1);
        let columns: Vec<Vec<f64>> =
            (0..nx).map(|i| refined(&rows.iter().map(|row| row[i]).collect::<Vec<_>>())).collect();
        let values = (0..ny).flat_map(|j| columns.iter().map(move |column| column[j])).collect();
        let even = |x: &[f64]| {
            let last = x.len() - 1;
            let at = |k: usize| {
                x[(k / PARTS).min(last)] + part(k) * (x[(k / PARTS + 1).min(last)] - x[(k / PARTS).min(last)])
            };
            (0..=PARTS * last).map(at).collect()
        };
        Self { x: even(grid.x), y: even(grid.y), values }
    }

    /// Where the value crosses `level`: a line through each cell between four neighbouring points, two where it is a saddle.
    fn contour(&self, level: f64) -> Vec<[(f64, f64); 2]> {
        let (nx, ny) = (self.x.len(), self.y.len());
        let mut lines = Vec::new();
        for j in 0..ny - 1 {
            for i in 0..nx - 1 {
                let corner = |k: usize| {
                    let (a, b) = [(0, 0), (1, 0), (1, 1), (0, 1)][k % 4];
                    ((self.x[i + a], self.y[j + b]), self.values[(j + b) * nx + i + a] - level)
                };
                let crossings: Vec<(f64, f64)> = (0..4)
                    .filter_map(|k| {
                        let ((p, v), (q, w)) = (corner(k), corner(k + 1));
                        let t = v / (v - w);
                        let at = (p.0 + t * (q.0 - p.0), p.1 + t * (q.1 - p.1));
                        ((v < 0.0) != (w < 0.0) && t.is_finite()).then_some(at)
                    })
                    .collect();
                lines.extend(crossings.chunks_exact(2).map(|pair| [pair[0], pair[1]]));
            }
        }
        lines
    }
}

/// How far into its cell a point of the refined grid lies.
fn part(k: usize) -> f64 {
    (k % PARTS) as f64 / PARTS as f64
}

/// Values along an axis with the points between them. Beyond the ends the values go on straight; beside one that is not
/// finite the line is straight too.
fn refined(v: &[f64]) -> Vec<f64> {
    let last = v.len() - 1;
    let beyond = |end: f64, before: f64| 2.0 * end - before;
    let between = |i: usize, t: f64| {
        let (b, c) = (v[i], v[(i + 1).min(last)]);
        if t == 0.0 {
            return b;
        }
        let a = if i > 0 { v[i - 1] } else { beyond(b, c) };
        let d = if i + 2 <= last { v[i + 2] } else { beyond(c, b) };
        let cubic = b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)));
        if cubic.is_finite() { cubic } else { b + t * (c - b) }
    };
    (0..=PARTS * last).map(|k| between(k / PARTS, part(k))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contours_lie_where_the_value_is_the_level() {
        let x: Vec<f64> = (0..21).map(|i| f64::from(i) / 10.0 - 1.0).collect();
        let values: Vec<f64> = x.iter().flat_map(|b| x.iter().map(move |a| a * a + b * b)).collect();
        let labels = [String::new(), String::new()];
        let grid =
            Grid { x: &x, y: &x, values: &values, name: "loss", labels: &labels, logarithmic: false, range: None };
        let lines = Refined::of(&grid, &|v| v).contour(0.5);
        assert!(lines.len() > 120);
        for (a, b) in lines.into_iter().flatten() {
            // the cubic is the parabola; linear interpolation over a sixth of a cell of 0.1 errs by (0.1 / 6)^2 / 4 a direction
            assert!((a * a + b * b - 0.5).abs() < 1.5e-4, "{a} {b}");
        }
    }

    #[test]
    fn a_point_without_a_value_takes_its_neighbours_alone_along() {
        let fine = refined(&[0.0, 1.0, f64::NAN, 3.0, 4.0, 5.0]);
        let finite: Vec<usize> = (0..fine.len()).filter(|k| fine[*k].is_finite()).collect();
        let expected: Vec<usize> = (0..=PARTS).chain(3 * PARTS..=5 * PARTS).collect();
        assert_eq!(finite, expected);
        assert!(finite.iter().all(|k| (fine[*k] - *k as f64 / PARTS as f64).abs() < 1e-12));
    }

    #[test]
    fn a_given_range_is_the_scale_of_every_map() -> Result<()> {
        let (x, labels) = ([-1.0, 0.0, 1.0], [String::new(), String::new()]);
        let heading = Heading { caption: String::new(), notes: Vec::new() };
        let drawn = |value: f64, range| {
            let values = [value; 9];
            let grid = Grid { x: &x, y: &x, values: &values, name: "loss", labels: &labels, logarithmic: true, range };
            surface(&grid, &heading)
        };
        let top = format!("#{:02X}{:02X}{:02X}", 253, 231, 37);
        let count = |svg: &str| svg.matches(top.as_str()).count();
        let range = Some([0.01, 10.0]);
        assert!(count(&drawn(10.0, range)?) > count(&drawn(0.01, range)?));
        Ok(())
    }

    #[test]
    fn the_scale_runs_from_dark_to_light() {
        assert_eq!((colour(0.0), colour(1.0)), (RGBColor(68, 1, 84), RGBColor(253, 231, 37)));
    }
}
