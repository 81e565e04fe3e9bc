//! Quadratures that ranks compute for each other.

use crate::linalg::Quadrature;
use crate::{Error, Result};
use flat_comm::{Error as CommError, Ranks};
use std::ops::Range;

/// Computes those of a range of probes, each on one rank; every rank gets all of them, in their order, with the products that
/// each cost another rank. `compute` says what one cost this rank.
pub(super) fn computed(
    ranks: &Ranks,
    probes: Range<u64>,
    steps: usize,
    mut compute: impl FnMut(u64) -> Result<(Quadrature, u64)>,
) -> Result<Vec<(Quadrature, u64)>> {
    if ranks.is_alone() {
        return probes.map(|k| Ok((compute(k)?.0, 0))).collect();
    }
    let count = (probes.end - probes.start) as usize;
    let own = ranks.own(count);
    let found: Result<Vec<_>> = own.clone().map(|i| compute(probes.start + i as u64)).collect();
    // nodes, products, and both halves of a rule of at most `steps` nodes
    let width = 2 + 2 * steps;
    let mut numbers = Vec::with_capacity(own.len() * width);
    for i in 0..own.len() {
        match &found {
            Ok(found) => {
                let (Quadrature { nodes, weights }, products) = &found[i];
                numbers.extend([nodes.len() as f64, *products as f64]);
                numbers.extend(nodes.iter().chain(weights));
                numbers.resize(numbers.len().next_multiple_of(width), 0.0);
            }
            Err(_) => numbers.extend(vec![f64::NAN; width]),
        }
    }
    let all = ranks.gather(count, width, &numbers)?;
    found?;
    let read = |(i, of): (usize, &[f64])| {
        if of[0].is_nan() {
            return Err(CommError::Differ("another rank could not compute its quadrature".into()).into());
        }
        let (nodes, weights) = of[2..2 + 2 * of[0] as usize].split_at(of[0] as usize);
        let quadrature = Quadrature { nodes: nodes.to_vec(), weights: weights.to_vec() };
        Ok::<_, Error>((quadrature, if own.contains(&i) { 0 } else { of[1] as u64 }))
    };
    all.chunks(width).enumerate().map(read).collect()
}
