//! The verdict of a certificate, from its numbers.

use super::judgement::{Reason, SpectrumReport, Verdict};
use crate::around::drift::{Known, Slope};
use crate::around::flow::FlowReport;
use crate::measured::Stop;

/// An eigenvalue that may have been missed is at most this fraction of the largest, for a local minimum.
const MISSED: f64 = 1e-6;

/// What the verdict rests on.
pub(super) struct Evidence<'a> {
    pub(super) eps: f64,
    pub(super) flow: &'a FlowReport,
    pub(super) distance: [f64; 2],
    pub(super) spectrum: Option<&'a SpectrumReport>,
    pub(super) slope: Option<&'a Slope>,
    pub(super) eps_prime: Option<[f64; 2]>,
    pub(super) interrupted: bool,
}

impl SpectrumReport {
    /// A Rayleigh quotient below zero by more than the doubt: no residual is needed, for the smallest eigenvalue
    /// is at most that.
    pub(super) fn negative(&self) -> bool {
        self.smallest[0] < -self.doubt
    }
}

/// The verdict and why.
pub(super) fn judge(e: &Evidence<'_>) -> (Verdict, Reason) {
    let undecided = |why: String| (Verdict::Undecided, Reason::new(why));
    let raise =
        |why: &str, setting, rest| (Verdict::Undecided, Reason { why: why.into(), setting: Some(setting), rest });
    let eps = e.eps;
    if e.interrupted {
        return undecided("interrupted: the numbers are those reached by then".into());
    }
    if e.flow.stop != Stop::Arrived {
        return match e.flow.stop {
            Stop::Rounding => undecided("rounding ended the flow before it arrived: use f64".into()),
            _ => raise("the flow did not arrive: raise ", "max_gradients", ", or there is no minimiser to reach"),
        };
    }
    let Some(spectrum) = e.spectrum else { return undecided("the spectrum at the limit is not known".into()) };
    let [low, residual] = spectrum.smallest;
    if spectrum.negative() {
        let why = format!("the Hessian at the limit has the eigenvalue {low:.3e} +- {residual:.1e} or one below");
        return (Verdict::NotAMinimum, Reason::new(why));
    }
    if e.distance[0] > eps {
        return (Verdict::NotFlat, Reason::new(format!("the distance to Phi(x) is above eps = {eps}")));
    }
    if !spectrum.complete {
        let least = spectrum.smallest_at_least.map_or("not bounded".into(), |x| format!("at least {x:.1e} (95 %)"));
        let why = format!(
            "{} products did not reach the whole range of the Hessian: the smallest eigenvalue is {least}, the slope a \
             bound from above; raise ",
            spectrum.matvecs
        );
        return raise(&why, "max_matvecs", "");
    }
    let top = spectrum.largest.first().map_or(0.0, |[value, _]| value.abs());
    // a value and its residual, each within the doubt; an eigenvalue missed is too small to matter
    let allowed = (2.0 * spectrum.doubt).max(MISSED * top);
    if spectrum.smallest_at_least.is_none_or(|least| least < -allowed) {
        return undecided(format!("the smallest eigenvalue {low:.1e} +- {residual:.1e} is not told from negative"));
    }
    let (Some(slope), Some(prime)) = (e.slope, e.eps_prime) else {
        return undecided("the slope of the trace is not known".into());
    };
    if slope.known == Known::Interval && slope.interval[0] > prime[1] {
        return (Verdict::NotFlat, Reason::new(format!("the projected gradient is above eps' = {:.4e}", prime[1])));
    }
    if e.distance[1] <= eps && slope.interval[1] <= prime[0] {
        let why = format!(
            "distance and projected gradient are below ({eps}, {:.4e}) at a local minimum to second order",
            prime[0]
        );
        return (Verdict::Flat, Reason::new(why));
    }
    match e.distance[1] > eps {
        true => raise("the interval of the distance holds eps: a smaller ", "rel_tol", " may decide"),
        false => undecided("the interval of the projected gradient holds eps'".into()),
    }
}
