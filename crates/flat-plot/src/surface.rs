//! A value over two directions, as a map of colours.

use super::contour::Refined;
use super::file::{Heading, file};
use super::frame::{Frame, text};
use super::grid::Grid;
use super::scale::{Scale, span};
use anyhow::Result;
use maud::{Markup, html};
use std::fmt::Write;

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
fn colour(at: f64) -> String {
    let place = at.clamp(0.0, 1.0) * (SCALE.len() - 1) as f64;
    let i = (place as usize).min(SCALE.len() - 2);
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * (place - i as f64)).round() as u8;
    let (a, b) = (SCALE[i], SCALE[i + 1]);
    format!("#{:02X}{:02X}{:02X}", mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
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
    let [lo, hi] = grid.range.unwrap_or_else(|| {
        let (lo, hi) = span(grid.values.iter().copied().filter(|v| v.is_finite())).unwrap_or((0.0, 1.0));
        [lo, hi]
    });
    let logarithmic = grid.logarithmic && lo > 0.0 && hi / lo > 10.0;
    let scale = |v: f64| if logarithmic { v.log10() } else { v };
    let (low, high) = (scale(lo), if hi > lo { scale(hi) } else { scale(lo) + 1.0 });
    let (columns, rows) = (edges(grid.x), edges(grid.y));
    let ends =
        |e: &[f64]| Scale::between(e.first().copied().unwrap_or(0.0), e.last().copied().unwrap_or(1.0), false, 10);
    let top = heading.height() + 32.0;
    let area = |left: f64, right: f64, x: Scale, y: Scale| Frame { left, top, right, bottom: 691.0, x, y };
    let map = area(91.0, 703.0, ends(&columns), ends(&rows));
    let back = |v: f64| if logarithmic { 10f64.powf(v) } else { v };
    let key = Scale::between(back(low), back(high), logarithmic, 6);
    let key = area(736.0, 772.0, Scale::between(0.0, 1.0, false, 1), key);
    let cells = grid.values.iter().enumerate().filter(|(_, v)| v.is_finite()).map(|(k, v)| {
        let (i, j) = (k % grid.x.len(), k / grid.x.len());
        (map.at(columns[i], rows[j + 1]), map.at(columns[i + 1], rows[j]), colour(key.y.place(*v)))
    });
    // nine levels between the ends of the scale
    let fine = Refined::of(grid, &scale);
    let levels = (1..10).map(|k| low + (high - low) * f64::from(k) / 10.0);
    let mut contours = String::new();
    for [from, to] in levels.flat_map(|level| fine.contour(level)) {
        let ((x, y), (to_x, to_y)) = (map.at(from.0, from.1), map.at(to.0, to.1));
        let _ = write!(contours, "M{x:.1} {y:.1}L{to_x:.1} {to_y:.1}");
    }
    let (x, y) = map.at(0.0, 0.0);
    let drawing = html! {
        linearGradient id="scale" x1="0" y1="1" x2="0" y2="0" {
            @for k in (0..SCALE.len()).map(|k| k as f64 / (SCALE.len() - 1) as f64) {
                stop offset=(k) stop-color=(colour(k)) {}
            }
        }
        (map.axes(&grid.labels[0], Some(&grid.labels[1])))
        g class="cells" {
            (rect(&map, "#fff"))
            @for ((x, y), (right, bottom), fill) in cells {
                path fill=(fill) d=(format_args!("M{x:.1} {y:.1}H{right:.1}V{bottom:.1}H{x:.1}z")) {}
            }
        }
        path class="contour" d=(contours) {}
        path class="centre" d=(format_args!("M{x:.1} {y:.1}m-6-6l12 12m0-12l-12 12")) {}
        (rect(&key, "url(#scale)"))
        (key.right_axis(None))
        (text((736.0, top - 22.0), "start", &format!("{}{}", grid.name, if logarithmic { " (log)" } else { "" })))
    };
    let title = format!("{}{} around the checkpoint", grid.name[..1].to_uppercase(), &grid.name[1..]);
    Ok(file([860.0, 760.0], &title, heading, &drawing))
}

/// The area of a frame.
fn rect(of: &Frame, fill: &str) -> Markup {
    let (width, height) = (of.right - of.left, of.bottom - of.top);
    html! { rect fill=(fill) x=(of.left) y=(of.top) width=(width) height=(height) {} }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!((colour(0.0), colour(1.0)), ("#440154".into(), "#FDE725".into()));
    }
}
