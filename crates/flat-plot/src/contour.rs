//! Contours of a grid of values.

use super::grid::Grid;

/// Parts into which the refined grid divides a cell along each axis.
const PARTS: usize = 6;

/// The scaled values on a finer grid, by the cubic through each point and its neighbours (Catmull & Rom 1974), so that
/// contours are curves and go through the points themselves.
pub(crate) struct Refined {
    x: Vec<f64>,
    y: Vec<f64>,
    values: Vec<f64>,
}

impl Refined {
    pub fn of(grid: &Grid<'_>, scale: &dyn Fn(f64) -> f64) -> Self {
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

    /// Where the value crosses `level`: a line through each cell between four neighbouring points, two where it is a
    /// saddle.
    pub fn contour(&self, level: f64) -> Vec<[(f64, f64); 2]> {
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
            // the cubic is the parabola; linear interpolation over a sixth of a cell of 0.1 errs by (0.1 / 6)^2 / 4 a
            // direction
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
}
