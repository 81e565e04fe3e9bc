//! A quantity along a run.

/// A value with the ends of its interval, at a place along the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// Optimizer steps or gradient evaluations.
    pub x: f64,
    /// The value; `None` where it was not finite.
    pub y: Option<f64>,
    /// Ends of its interval.
    pub interval: Option<[f64; 2]>,
}

/// Points in the order of the run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Curve {
    /// What is drawn.
    pub points: Vec<Point>,
    /// How many points there were before thinning.
    pub of: usize,
}

/// Points a curve has at most.
pub(super) const AT_MOST: usize = 400;

impl Curve {
    /// A curve of these points, thinned to [`AT_MOST`]. First and last stay, and of each of equal parts between them
    /// the smallest and the largest value, so that no spike is lost. Of points at one place the first counts.
    pub fn new(mut points: Vec<Point>) -> Self {
        for point in &mut points {
            // beyond, differences overflow
            point.y = point.y.filter(|y| y.abs() < 1e300);
            point.interval = point.interval.filter(|i| i.iter().all(|e| e.abs() < 1e300));
        }
        points.dedup_by(|later, earlier| later.x == earlier.x);
        let of = points.len();
        if of > AT_MOST {
            let inner = &points[1..of - 1];
            let part = inner.len().div_ceil((AT_MOST - 2) / 2);
            let kept = inner.chunks(part).flat_map(extremes);
            points = [points[0]].into_iter().chain(kept).chain([points[of - 1]]).collect();
        }
        Self { points, of }
    }

    /// The points that have a value.
    pub fn finite(&self) -> impl Iterator<Item = (f64, f64)> {
        self.points.iter().filter_map(|p| Some((p.x, p.y?)))
    }
}

/// The points of the smallest and the largest value in their order; the first where none has a value.
fn extremes(part: &[Point]) -> Vec<Point> {
    let key = |i: &usize| part[*i].y.unwrap_or(f64::NAN);
    let with = || (0..part.len()).filter(|i| part[*i].y.is_some());
    let lowest = with().min_by(|a, b| key(a).total_cmp(&key(b)));
    let highest = with().max_by(|a, b| key(a).total_cmp(&key(b)));
    let mut kept: Vec<usize> = match (lowest, highest) {
        (Some(low), Some(high)) => vec![low, high],
        _ => vec![0],
    };
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().map(|i| part[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: usize, y: f64) -> Point {
        Point { x: x as f64, y: Some(y).filter(|y| y.is_finite()), interval: None }
    }

    #[test]
    fn a_long_curve_keeps_its_ends_and_spikes() {
        for n in [401, 799, 5000, 123_457] {
            let value = |i: usize| if i == 300 { 9.0 } else { (i as f64 / 50.0).sin() };
            let curve = Curve::new((0..n).map(|i| at(i, value(i))).collect());
            assert!(curve.points.len() <= AT_MOST && curve.points.len() > AT_MOST / 4, "{}", curve.points.len());
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
        assert_eq!(Curve::new(points.clone()).points, points);
        let gaps = Curve::new((0..1000).map(|i| at(i, if i < 500 { 1.0 } else { f64::NAN })).collect());
        assert!(gaps.points.iter().any(|p| p.y.is_none()) && gaps.finite().count() > 50);
    }

    #[test]
    fn the_first_of_two_points_at_one_place_counts() {
        assert_eq!(Curve::new(vec![at(1, 2.0), at(4, 3.0), at(4, 5.0)]).points, [at(1, 2.0), at(4, 3.0)]);
    }
}
