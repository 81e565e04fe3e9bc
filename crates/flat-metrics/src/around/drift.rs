//! The slope of the normalised trace along the minima.

use super::range::Range;
use super::surface::Surface;
use crate::objective::Objective;
use crate::observer::Progress;
use crate::operator::LinearOperator;
use crate::statistics::{Estimate, Moments};
use crate::{Error, Result};
use flat_core::{ParamVec, Purpose, Streams};
use serde::Serialize;
use std::ops::ControlFlow;

/// How exactly a number is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Known {
    /// It lies in the interval.
    Interval,
    /// It is at most the upper end; the lower end says nothing.
    AtMost,
    /// It is at least the lower end; the upper end says nothing.
    AtLeast,
}

/// `||P grad trbar||` and trbar, P the projector on the kernel of the Hessian and `trbar = tr(H) / d`.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Slope {
    /// `Interval` where the whole range of the Hessian was reached, `AtMost` (at 95 %) where eigenvectors that were not
    /// reached count as kernel.
    pub known: Known,
    /// The norm by the vectors reached.
    pub value: f64,
    /// Its ends.
    pub interval: [f64; 2],
    /// `tr(H) / d`.
    pub trace: f64,
    /// Its interval: of the arithmetic where the range was reached, of the probes at 95 % otherwise.
    pub trace_interval: [f64; 2],
    /// Displacement of the differences that give third derivatives.
    pub rho: f64,
    /// Probes taken; 0 where the range was reached and nothing is drawn.
    pub probes: u64,
    /// `P grad trbar`.
    #[serde(skip)]
    pub direction: ParamVec,
}

/// Streams of the probes, apart from those of traces and spectra.
const PROBES: u64 = u64::MAX - 4;

/// Eigenvalues between `zero` and this many times it may be zero or not.
const AMBIGUOUS: f64 = 100.0;

/// Eigenvectors are taken off a bound where their residual is at most this fraction of their eigenvalue.
const SETTLED: f64 = 1e-3;

/// Where third derivatives are taken: by differences of Hessian-vector products at `x +- rho q`.
pub(crate) struct At<'a, 's, O: ?Sized> {
    pub(crate) surface: &'a mut Surface<'s, O>,
    pub(crate) hessian: &'a mut dyn LinearOperator,
    pub(crate) x: &'a ParamVec,
    pub(crate) rho: f64,
}

impl<O: Objective + ?Sized> At<'_, '_, O> {
    /// The default displacement: the cube root of the relative rounding of a product, in units of the size of x. It balances
    /// the rounding against the square that a central difference errs by.
    pub(crate) fn usual_rho(x: &ParamVec, range: &Range) -> Result<f64> {
        let epsilon = if x.dtype() == candle_core::DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let scale = range.scale();
        let relative = if scale > 0.0 { range.noise / scale } else { epsilon };
        Ok(relative.max(epsilon).cbrt() * x.norm()?.max(1e-3))
    }

    /// `D^3 f [q, q]` by a difference of displacement `rho`, and the mean of the two products.
    fn third(
        &mut self,
        q: &ParamVec,
        rho: f64,
        watch: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<(ParamVec, ParamVec)> {
        self.surface.go(&self.x.plus(rho, q)?)?;
        let plus = self.hessian.product(q, &mut |_: &Progress| watch())?.product;
        self.surface.go(&self.x.plus(-rho, q)?)?;
        let minus = self.hessian.product(q, &mut |_: &Progress| watch())?.product;
        let (mut odd, mut even) = (plus.plus(-1.0, &minus)?, plus);
        odd.scale(0.5 / rho)?;
        even.add_scaled(1.0, &minus)?;
        even.scale(0.5)?;
        Ok((odd, even))
    }

    /// The slope with the whole range known: `P grad tr(H) = P sum_i D^3 f [q_i, q_i]` over its eigenvectors alone.
    ///
    /// At a local minimum no third derivative has all three directions in the kernel, for it would lead below the minimum:
    /// the kernel's own vectors add nothing along the kernel. Four products an eigenvector, at rho and rho / 2, extrapolated
    /// to 0 (Richardson). The interval holds the size of the extrapolation, the rounding of the products, and eigenvalues
    /// that may be zero or not.
    pub(crate) fn exact(mut self, range: &Range, watch: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<Slope> {
        let (space, d) = (self.x.space(), self.x.layout().len() as f64);
        let (mut wide, mut narrow, mut rounding) = (ParamVec::zeros(&space)?, ParamVec::zeros(&space)?, 0.0f64);
        let (mut trace, mut trace_error) = (0.0, 0.0);
        for (i, pair) in range.significant().enumerate() {
            let (q, rho) = (range.vector(pair)?, self.rho);
            wide.add_scaled(1.0, &self.third(&q, rho, &mut || watch(i as u64))?.0)?;
            narrow.add_scaled(1.0, &self.third(&q, rho / 2.0, &mut || watch(i as u64))?.0)?;
            // independent from vector to vector
            rounding = rounding.hypot(4.0 * range.noise / rho);
            trace += pair.value;
            trace_error += pair.residual();
        }
        self.surface.go(self.x)?;
        // those that count as zero
        trace_error += range.zero * (d - range.significant().count() as f64);
        let mut sum = narrow.scaled(4.0 / 3.0)?;
        sum.add_scaled(-1.0 / 3.0, &wide)?;
        let direction = range.project(&sum, range.zero)?.scaled(1.0 / d)?;
        let most = range.project(&sum, AMBIGUOUS * range.zero)?.norm()?;
        let bend = range.project(&sum.plus(-1.0, &narrow)?, AMBIGUOUS * range.zero)?.norm()?;
        let (value, error) = (direction.norm()?, (bend + rounding) / d);
        Ok(Slope {
            known: Known::Interval,
            value,
            interval: [(value - error).max(0.0), most / d + error],
            trace: trace / d,
            trace_interval: [(trace - trace_error) / d, (trace + trace_error) / d],
            rho: self.rho,
            probes: 0,
            direction,
        })
    }

    /// A bound of the slope with part of the range known: for u uniform on the sphere, `D^3 f [u, u]` has the mean
    /// `grad trbar`, whose part orthogonal to the eigenvectors found is at least as long as that in the kernel. Two products
    /// a probe.
    pub(crate) fn bound(
        mut self,
        range: &Range,
        probes: u64,
        streams: &Streams,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Slope> {
        let (space, rho) = (self.x.space(), self.rho);
        let (mut rows, mut forms) = (Vec::new(), Moments::default());
        for k in 0..probes {
            let u = ParamVec::sphere(&space, &streams.at2(Purpose::Probe, PROBES, k))?;
            let (odd, even) = self.third(&u, rho, &mut || watch(k))?;
            forms.push(u.dot(&even)?);
            rows.push(odd);
        }
        self.surface.go(self.x)?;
        let whole = squared_norm(&rows)?;
        // what the error of an eigenvector takes off the kernel is in the bound
        let mut taken = 0.0f64;
        for pair in range.significant().filter(|r| r.residual() <= SETTLED * r.value.abs()) {
            let q = range.vector(pair)?;
            taken = taken.hypot(pair.residual() / pair.value);
            for (k, w) in rows.iter_mut().enumerate() {
                if watch(k as u64).is_break() {
                    return Err(Error::Interrupted);
                }
                let along = q.dot(w)?;
                w.add_scaled(-along, &q)?;
            }
        }
        let squared = squared_norm(&rows)?;
        let upper = |e: &Estimate| e.ci95.map_or(f64::INFINITY, |c| c[1].max(0.0).sqrt());
        let mut direction = ParamVec::zeros(&space)?;
        for w in &rows {
            direction.add_scaled(1.0 / rows.len() as f64, w)?;
        }
        let trace = forms.estimate(0.95, 0)?;
        Ok(Slope {
            known: Known::AtMost,
            value: squared.value.max(0.0).sqrt(),
            interval: [0.0, upper(&squared) + taken * upper(&whole)],
            trace: trace.value,
            trace_interval: trace.ci95.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]),
            rho,
            probes,
            direction,
        })
    }
}

/// The squared norm of the expectation of independent vectors: the mean of `<w_i, w_j>` over all pairs of different ones,
/// which is unbiased, with the jackknife's interval (Arvesen 1969, "Jackknifing U-statistics").
fn squared_norm(w: &[ParamVec]) -> Result<Estimate> {
    let n = w.len();
    let mut rows = vec![0.0; n];
    for i in 0..n {
        for j in 0..i {
            let product = w[i].dot(&w[j])?;
            rows[i] += product;
            rows[j] += product;
        }
    }
    let total: f64 = rows.iter().sum();
    let (n, pairs) = (n as f64, |n: f64| n * (n - 1.0));
    let all = total / pairs(n);
    if !all.is_finite() {
        return Err(Error::NonFinite { quantity: "the gradient of the trace".into(), value: all });
    }
    let mut moments = Moments::default();
    for row in &rows {
        moments.push(n * all - (n - 1.0) * (total - 2.0 * row) / pairs(n - 1.0));
    }
    moments.estimate(0.95, 0)
}
