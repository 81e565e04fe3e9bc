//! Curves of bounded length, and numbers with their intervals.

/// Points that a curve keeps: more than a terminal has columns.
const MOST: usize = 1024;

/// Numbers over steps. A full one keeps the mean of every two points, and takes up as many new ones at a time.
#[derive(Debug)]
pub(super) struct Curve {
    points: Vec<(f64, f64)>,
    /// Numbers that make a point.
    of: u32,
    /// Their sum so far, and how many there are.
    sum: f64,
    count: u32,
}

impl Default for Curve {
    fn default() -> Self {
        Self { points: Vec::new(), of: 1, sum: 0.0, count: 0 }
    }
}

impl Curve {
    /// Adds a number; one that is absent or not finite is left out.
    pub(super) fn push(&mut self, x: f64, y: Option<f64>) {
        let Some(y) = y.filter(|y| y.is_finite()) else { return };
        self.sum += y;
        self.count += 1;
        if self.count < self.of {
            return;
        }
        self.points.push((x, self.sum / f64::from(self.count)));
        (self.sum, self.count) = (0.0, 0);
        if self.points.len() == MOST {
            let halved = self.points.chunks(2).map(|pair| {
                let mean = pair.iter().map(|(_, y)| y).sum::<f64>() / pair.len() as f64;
                (pair[pair.len() - 1].0, mean)
            });
            self.points = halved.collect();
            self.of *= 2;
        }
    }

    pub(super) fn points(&self) -> &[(f64, f64)] {
        &self.points
    }
}

/// A number at a step, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub x: f64,
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// `None` where something is not finite; a number without an interval is its own.
    pub(super) fn of(x: f64, value: f64, interval: Option<[f64; 2]>) -> Option<Self> {
        let [low, high] = interval.unwrap_or([value, value]);
        [value, low, high].iter().all(|y| y.is_finite()).then_some(Self { x, value, low, high })
    }
}

/// Leaves every second of the numbers out where they are too many; the last stays.
pub(super) fn thin(points: &mut Vec<Interval>) {
    if points.len() < MOST {
        return;
    }
    let last = points.len() - 1;
    let mut i = 0;
    points.retain(|_| {
        i += 1;
        (last + 1 - i).is_multiple_of(2)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_stays_short_and_keeps_means() {
        let mut curve = Curve::default();
        (0..5000).for_each(|i| curve.push(f64::from(i), Some(f64::from(i))));
        assert!(curve.points().len() < MOST && curve.points().len() >= MOST / 2);
        // means of eight numbers, each at the last of their places
        assert_eq!(curve.points()[..2], [(7.0, 3.5), (15.0, 11.5)]);
        curve.push(5000.0, None);
        curve.push(5000.0, Some(f64::NAN));
        assert!(curve.points().iter().all(|(x, y)| x.is_finite() && y.is_finite()));
    }
}
