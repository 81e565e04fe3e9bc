//! Settings of a trace estimator: how many probes, and when to stop.

use crate::statistics::ProbeDistribution;
use crate::{Error, Result};
use serde::Serialize;

/// Settings of [`crate::Hutchinson`] and the other estimators of a trace.
///
/// [`crate::HutchPlusPlus`] and [`crate::XTrace`] spend `max_probes` operator products and cannot stop early: they refuse
/// a `rel_tol`.
///
/// Without `rel_tol`, exactly `max_probes` probes are drawn and the interval is the plain Student-t interval.
///
/// With `rel_tol`, the run may stop early, and a plain interval would cover too rarely: runs stop where the interval
/// happens to be narrow. So the interval is looked at only after `min_probes` probes, then `growth` times as many, and
/// so on up to `max_probes`, and the 5 % chance of a miss is shared equally among these K looks (Bonferroni): at each,
/// the Student-t interval of level `1 - 0.05 / K` decides, and that interval is reported. The chance that any of the
/// looks misses is at most 5 %, so the reported one covers in at least 95 % of all runs, wherever the run stopped, as far
/// as Student's interval of a fixed number of probes covers. The price is an interval 1.2 to 1.5 times as wide.
///
/// Where one eigenvalue dominates, the probes that hardly meet it agree with each other: such a run stops early, with a value
/// that is too small. Then the interval covers in about 90 % of all runs; raise `min_probes`, or draw a fixed number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TraceConfig {
    /// Probes before the first look, at least 2; without `rel_tol` unused.
    pub min_probes: u64,
    /// Most probes, at least 1.
    pub max_probes: u64,
    /// Stop once half the interval's width is at most this fraction of the trace's size.
    pub rel_tol: Option<f64>,
    /// Ratio of the number of probes at a look to that at the look before, above 1.
    pub growth: f64,
    /// Where the probes come from.
    pub probe: ProbeDistribution,
    /// Estimate the layers' traces too. Without them Hutchinson's estimator asks the operator for quadratic forms alone,
    /// several at a time, which spares [`crate::TangentHessian`] and those of the Gauss-Newton family the backward pass; it
    /// makes no difference to the others.
    pub per_layer: bool,
}

impl Default for TraceConfig {
    /// 100 Rademacher probes, no early stop; with a `rel_tol`, looks at 10, 15, 23, 35, 53, 80 and 100 probes.
    fn default() -> Self {
        Self {
            min_probes: 10,
            max_probes: 100,
            rel_tol: None,
            growth: 1.5,
            probe: ProbeDistribution::Rademacher,
            per_layer: true,
        }
    }
}

impl TraceConfig {
    /// A fixed number of probes.
    pub fn fixed(probes: u64) -> Self {
        Self { max_probes: probes, ..Self::default() }
    }

    /// At most `max_probes` probes, stopping when the relative half-width of the interval is at most `rel_tol`.
    pub fn to_tolerance(rel_tol: f64, max_probes: u64) -> Self {
        Self { rel_tol: Some(rel_tol), max_probes, ..Self::default() }
    }

    /// The same settings with probes of another distribution.
    pub fn with_probe(self, probe: ProbeDistribution) -> Self {
        Self { probe, ..self }
    }

    /// The same settings without the layers.
    pub fn total_only(self) -> Self {
        Self { per_layer: false, ..self }
    }

    /// The same settings, once their ranges are checked.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the field.
    pub fn validated(self) -> Result<Self> {
        let bad = |field, value: String, remedy| Err(Error::BadConfig { field, value, remedy });
        if self.max_probes == 0 {
            return bad("max_probes", "0".into(), "draw at least one probe");
        }
        let Some(rel_tol) = self.rel_tol else { return Ok(self) };
        if !(rel_tol.is_finite() && rel_tol > 0.0) {
            return bad("rel_tol", rel_tol.to_string(), "give a positive fraction, such as 0.05");
        }
        if self.max_probes < 2 {
            return bad("max_probes", self.max_probes.to_string(), "an interval to stop by needs at least 2 probes");
        }
        if self.min_probes < 2 {
            return bad("min_probes", self.min_probes.to_string(), "an interval needs at least 2 probes");
        }
        if self.min_probes > self.max_probes {
            return bad("min_probes", self.min_probes.to_string(), "it must not exceed the most probes there may be");
        }
        if !(self.growth.is_finite() && self.growth > 1.0) {
            return bad("growth", self.growth.to_string(), "give a ratio above 1, such as 1.5");
        }
        Ok(self)
    }

    /// The same settings for an estimator that spends `max_probes` products, at least `least`, and cannot stop early.
    pub(crate) fn of_sketch(self, least: u64) -> Result<Self> {
        let bad = |field, value: String, remedy| Err(Error::BadConfig { field, value, remedy });
        if let Some(tol) = self.rel_tol {
            return bad(
                "rel_tol",
                tol.to_string(),
                "only Hutchinson's estimator stops early; give the number of products",
            );
        }
        if self.max_probes < least {
            return bad("max_probes", self.max_probes.to_string(), "Hutch++ and XTrace need at least 4 products");
        }
        self.validated()
    }

    /// Numbers of probes at which the interval is looked at, the last being `max_probes`.
    pub fn looks(&self) -> Vec<u64> {
        if self.rel_tol.is_none() {
            return vec![self.max_probes];
        }
        let mut looks = Vec::new();
        let mut n = self.min_probes;
        while n < self.max_probes {
            looks.push(n);
            n = (n + 1).max((n as f64 * self.growth).ceil() as u64);
        }
        looks.push(self.max_probes);
        looks
    }

    /// Level of the Student-t interval at each look.
    pub fn t_level(&self) -> f64 {
        1.0 - 0.05 / self.looks().len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_grow_geometrically_up_to_the_budget() {
        assert_eq!(TraceConfig::fixed(7).looks(), [7]);
        let config = TraceConfig::to_tolerance(0.1, 100);
        assert_eq!(config.looks(), [10, 15, 23, 35, 53, 80, 100]);
        assert!((config.t_level() - (1.0 - 0.05 / 7.0)).abs() < 1e-15);
        let slow = TraceConfig { growth: 1.01, min_probes: 2, ..TraceConfig::to_tolerance(0.1, 4) };
        assert_eq!(slow.looks(), [2, 3, 4], "always at least one more probe");
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let field = |c: TraceConfig| match c.validated() {
            Err(Error::BadConfig { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        let ok = TraceConfig::to_tolerance(0.1, 100);
        assert_eq!(field(TraceConfig::fixed(0)), "max_probes");
        assert_eq!(field(TraceConfig::to_tolerance(0.0, 10)), "rel_tol");
        assert_eq!(field(TraceConfig::to_tolerance(f64::NAN, 10)), "rel_tol");
        assert_eq!(field(TraceConfig { min_probes: 1, ..ok.clone() }), "min_probes");
        assert_eq!(field(TraceConfig { min_probes: 101, ..ok.clone() }), "min_probes");
        assert_eq!(field(TraceConfig { growth: 1.0, ..ok.clone() }), "growth");
        assert!(ok.validated().is_ok());
    }
}
