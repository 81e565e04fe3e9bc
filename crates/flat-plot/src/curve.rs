//! A quantity along an axis, thinned to what an eye can tell apart.

/// One point of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Along the horizontal axis.
    pub x: f64,
    /// Along the vertical axis; what is not finite interrupts the curve.
    pub y: f64,
    /// Ends of the interval of y, where there is one.
    pub band: Option<[f64; 2]>,
}

/// Points from left to right.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve {
    /// What is drawn.
    pub points: Vec<Point>,
    /// How many points there were before thinning.
    pub of: usize,
}

impl Curve {
    /// Points a curve has at most.
    pub const AT_MOST: usize = 400;

    /// A curve of these points, thinned to [`AT_MOST`](Self::AT_MOST). First and last stay, and of each of equal parts
    /// between them the smallest and the largest value, so that no spike is lost. Of points at one place the first
    /// counts.
    pub fn new(mut points: Vec<Point>) -> Self {
        for point in &mut points {
            // beyond, differences overflow
            point.y = if point.y.abs() < 1e300 { point.y } else { f64::NAN };
            point.band = point.band.filter(|ends| ends.iter().all(|e| e.abs() < 1e300));
        }
        points.dedup_by(|later, earlier| later.x == earlier.x);
        let of = points.len();
        if of > Self::AT_MOST {
            let inner = &points[1..of - 1];
            let part = inner.len().div_ceil((Self::AT_MOST - 2) / 2);
            let kept = inner.chunks(part).flat_map(extremes);
            points = [points[0]].into_iter().chain(kept).chain([points[of - 1]]).collect();
        }
        Self { points, of }
    }

    /// The points that have a value.
    pub(crate) fn finite(&self) -> impl Iterator<Item = (f64, f64)> {
        self.points.iter().filter(|p| p.y.is_finite()).map(|p| (p.x, p.y))
    }
}

/// The points of the smallest and the largest value in their order; the first where none has a value.
fn extremes(part: &[Point]) -> Vec<Point> {
    let with = || (0..part.len()).filter(|i| part[*i].y.is_finite());
    let lowest = with().min_by(|a, b| part[*a].y.total_cmp(&part[*b].y)).unwrap_or(0);
    let highest = with().max_by(|a, b| part[*a].y.total_cmp(&part[*b].y)).unwrap_or(0);
    let mut kept = vec![lowest.min(highest), lowest.max(highest)];
    kept.dedup();
    kept.into_iter().map(|i| part[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: usize, y: f64) -> Point {
        Point { x: x as f64, y, band: None }
    }

    #[test]
    fn a_long_curve_keeps_its_ends_and_spikes() {
        for n in [401, 799, 5000, 123_457] {
            let value = |i: usize| if i == 300 { 9.0 } else { (i as f64 / 50.0).sin() };
            let curve = Curve::new((0..n).map(|i| at(i, value(i))).collect());
            let most = Curve::AT_MOST;
            assert!(curve.points.len() <= most && curve.points.len() > most / 4, "{}", curve.points.len());
            assert_eq!(
                (curve.of, curve.points[0], curve.points.last().copied()),
                (n, at(0, 0.0), Some(at(n - 1, value(n - 1))))
            );
            assert!(curve.points.contains(&at(300, 9.0)));
            assert!(curve.points.is_sorted_by(|a, b| a.x < b.x));
        }
    }

    #[test]
    fn a_short_curve_stays_as_it_is_and_gaps_stay_gaps() {
        let points = vec![at(1, 2.0), at(2, f64::NAN), at(3, 1.0)];
        let curve = Curve::new(points);
        assert_eq!((curve.points[0], curve.points[1].y.is_nan(), curve.points[2]), (at(1, 2.0), true, at(3, 1.0)));
        let gaps = Curve::new((0..1000).map(|i| at(i, if i < 500 { 1.0 } else { f64::NAN })).collect());
        assert!(gaps.points.iter().any(|p| p.y.is_nan()) && gaps.finite().count() > 50);
        assert!(Curve::new(vec![at(1, 2e300)]).points[0].y.is_nan(), "beyond what differences can hold");
    }

    #[test]
    fn the_first_of_two_points_at_one_place_counts() {
        assert_eq!(Curve::new(vec![at(1, 2.0), at(4, 3.0), at(4, 5.0)]).points, [at(1, 2.0), at(4, 3.0)]);
    }
}
