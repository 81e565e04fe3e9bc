//! Slices of the loss along one or two directions.

use crate::{Error, Result};
use flat_core::{ParamVec, Params, Restore, Stream};

/// A direction in parameter space and where along it to look.
#[derive(Debug)]
pub struct Axis {
    /// The direction, in which the coordinate 1 is one of its lengths away.
    pub direction: ParamVec,
    /// The coordinates, in ascending order.
    pub coordinates: Vec<f64>,
}

impl Axis {
    /// `points` coordinates evenly from `span[0]` to `span[1]`. A symmetric span with an odd number holds 0 exactly.
    ///
    /// # Errors
    /// Fewer than two points; a span that is empty or not finite.
    pub fn new(direction: ParamVec, span: [f64; 2], points: usize) -> Result<Self> {
        let [lo, hi] = span;
        if !(lo.is_finite() && hi.is_finite() && lo < hi) {
            let remedy = "give two finite numbers, the smaller first";
            return Err(Error::BadConfig { field: "span", value: format!("{lo} to {hi}"), remedy });
        }
        if points < 2 {
            let remedy = "a slice needs at least 2 points";
            return Err(Error::BadConfig { field: "points", value: points.to_string(), remedy });
        }
        let last = (points - 1) as f64;
        // from both ends, so that a symmetric span gives symmetric coordinates
        let at = |i: usize| (lo * (last - i as f64) + hi * i as f64) / last;
        Ok(Self { direction, coordinates: (0..points).map(at).collect() })
    }
}

/// Evaluates something, such as loss and accuracy, at `theta + a x + b y` for all coordinates a of `x` and b of `y`: `x`
/// varies fastest. The parameters are theta bit for bit afterwards: after success, error and panic. One evaluation a point.
///
/// # Errors
/// Directions of another layout; those of `evaluate`, which end it.
pub fn slice<V, E: From<Error>>(
    params: &Params,
    x: &Axis,
    y: Option<&Axis>,
    evaluate: &mut dyn FnMut() -> std::result::Result<V, E>,
) -> std::result::Result<Vec<V>, E> {
    let theta = params.read().map_err(Error::from)?;
    let there = Restore::replace(params, &theta, &theta).map_err(Error::from)?;
    let rows: &[f64] = y.map_or(&[0.0], |y| &y.coordinates);
    let mut out = Vec::with_capacity(rows.len() * x.coordinates.len());
    for &b in rows {
        let origin = match y {
            Some(y) => theta.plus(b, &y.direction),
            None => theta.duplicate(),
        };
        let origin = origin.map_err(Error::from)?;
        for &a in &x.coordinates {
            let point = origin.plus(a, &x.direction).map_err(Error::from)?;
            there.set(&point).map_err(Error::from)?;
            out.push(evaluate()?);
        }
    }
    there.finish().map_err(Error::from)?;
    Ok(out)
}

/// A Gaussian direction scaled filter by filter to the norms of theta (Li, Xu, Taylor, Studer & Goldstein 2018, arXiv
/// 1712.09913, section 4). A filter is one of a convolution or a row of a matrix. Biases and gains, of one dimension
/// or none, do not move.
///
/// # Errors
/// candle's.
pub fn filter_normalized(theta: &ParamVec, stream: &Stream) -> Result<ParamVec> {
    let weights = theta.to_f64()?;
    let mut direction = stream.normals(weights.len());
    let norm = |x: &[f64]| x.iter().map(|v| v * v).sum::<f64>().sqrt();
    for entry in theta.layout().entries() {
        let range = entry.offset..entry.offset + entry.len;
        if entry.shape.rank() < 2 || entry.len == 0 {
            direction[range].fill(0.0);
            continue;
        }
        let filter = (entry.len / entry.shape.dims()[0]).max(1);
        for (d, w) in direction[range.clone()].chunks_mut(filter).zip(weights[range].chunks(filter)) {
            let scale = norm(w) / norm(d).max(f64::MIN_POSITIVE);
            d.iter_mut().for_each(|x| *x *= scale);
        }
    }
    Ok(ParamVec::from_f64(&theta.space(), direction)?)
}
