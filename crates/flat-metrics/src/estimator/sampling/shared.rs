//! Samples that ranks draw for each other.

use super::Draw;
use crate::operator::BatchForm;
use crate::{Error, Result};
use flat_comm::{Error as CommError, Ranks};
use std::ops::Range;

/// Draws a range in blocks, each on one rank; also says how many this one drew. Every rank gets all draws, in their order.
pub(super) fn drawn(
    ranks: &Ranks,
    range: Range<u64>,
    block: u64,
    mut draw: impl FnMut(Range<u64>) -> Result<Vec<Draw>>,
) -> Result<(u64, Vec<Draw>)> {
    if ranks.is_alone() {
        return Ok((range.end - range.start, draw(range)?));
    }
    let blocks: Vec<Range<u64>> =
        range.clone().step_by(block as usize).map(|start| start..range.end.min(start + block)).collect();
    let own = ranks.own(blocks.len());
    let found: Result<Vec<Vec<Draw>>> = blocks[own].iter().map(|block| draw(block.clone())).collect();
    // one that failed gives what is no draw, and the others stop at it
    let numbers: Vec<f64> = match &found {
        Ok(found) => found.iter().flatten().flat_map(to_numbers).collect(),
        Err(_) => vec![f64::NAN],
    };
    let all = ranks.join(&numbers)?;
    let count = found?.iter().map(|block| block.len() as u64).sum();
    let (mut rest, mut draws) = (&all[..], Vec::new());
    for _ in range {
        let failed = || Error::from(CommError::Differ("another rank could not draw its probes".into()));
        let (draw, after) = of_numbers(rest).ok_or_else(failed)?;
        draws.push(draw);
        rest = after;
    }
    Ok((count, draws))
}

/// A draw as numbers: how many layers and batches it has, its total, and theirs.
fn to_numbers(draw: &Draw) -> Vec<f64> {
    let counts = [draw.layers.len() as f64, draw.batches.len() as f64, draw.total];
    let batches = draw.batches.iter().flat_map(|b| [b.weight, b.form, b.group as f64]);
    counts.into_iter().chain(draw.layers.iter().copied()).chain(batches).collect()
}

/// The first draw of numbers, and the numbers after it.
fn of_numbers(numbers: &[f64]) -> Option<(Draw, &[f64])> {
    let [layers, batches, total, rest @ ..] = numbers else { return None };
    if layers.is_nan() {
        return None;
    }
    let (layers, rest) = rest.split_at_checked(*layers as usize)?;
    let (batches, rest) = rest.split_at_checked(3 * *batches as usize)?;
    let form = |b: &[f64]| BatchForm { weight: b[0], form: b[1], group: b[2] as usize };
    let draw = Draw { total: *total, layers: layers.to_vec(), batches: batches.chunks(3).map(form).collect() };
    Some((draw, rest))
}
