//! The comparison of a benchmark with an earlier one.

use super::{BenchReport, Place, Timing};
use serde::{Deserialize, Serialize};

/// The verdict on a cell: faster, slower, or no difference beyond noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The interval of the median lies below the baseline's.
    Faster,
    /// It lies above.
    Slower,
    /// The intervals overlap: nothing was shown.
    Noise,
}

/// A cell that both tables have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Which cell.
    #[serde(flatten)]
    pub place: Place,
    /// Milliseconds a step now.
    pub median_ms: f64,
    /// In the baseline.
    pub baseline_ms: f64,
    /// Now over then; below 1 is faster.
    pub ratio: f64,
    /// What that is worth.
    pub verdict: Verdict,
}

impl Comparison {
    /// One line.
    pub fn line(&self) -> String {
        let Place { device, model, optimizer, batch_size, .. } = &self.place;
        let verdict = match self.verdict {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::Noise => "no difference beyond noise",
        };
        format!(
            "{device} {model} {optimizer} {batch_size}: {:.2} of the baseline ({:.3} ms, was {:.3}): {verdict}",
            self.ratio, self.median_ms, self.baseline_ms
        )
    }
}

/// The cells that both have, in the order of `now`.
pub fn compare(now: &BenchReport, baseline: &BenchReport) -> Vec<Comparison> {
    let timed = |place: &Place| baseline.rows.iter().find(|r| r.place == *place)?.step.as_ref();
    let both = now.rows.iter().filter_map(|row| Some((&row.place, row.step.as_ref()?, timed(&row.place)?)));
    both.map(|(place, a, b)| Comparison {
        place: place.clone(),
        median_ms: a.median_ms,
        baseline_ms: b.median_ms,
        ratio: a.median_ms / b.median_ms,
        verdict: verdict(a, b),
    })
    .collect()
}

fn verdict(now: &Timing, then: &Timing) -> Verdict {
    if now.interval_ms[1] < then.interval_ms[0] {
        Verdict::Faster
    } else if now.interval_ms[0] > then.interval_ms[1] {
        Verdict::Slower
    } else {
        Verdict::Noise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_intervals_are_noise() {
        let timing = |at: f64| Timing::of((0..9).map(|i| at + f64::from(i)).collect(), 1).expect("bursts");
        assert_eq!(verdict(&timing(10.0), &timing(12.0)), Verdict::Noise);
        assert_eq!(verdict(&timing(10.0), &timing(30.0)), Verdict::Faster);
        assert_eq!(verdict(&timing(30.0), &timing(10.0)), Verdict::Slower);
    }
}
