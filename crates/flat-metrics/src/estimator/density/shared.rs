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
    mut compute: impl FnMut(u64) -> Result<(Quadrature, u64)>,
) -> Result<Vec<(Quadrature, u64)>> {
    if ranks.is_alone() {
        return probes.map(|k| Ok((compute(k)?.0, 0))).collect();
    }
    let count = (probes.end - probes.start) as usize;
    let own = ranks.own(count);
    let found: Result<Vec<_>> = own.clone().map(|i| compute(probes.start + i as u64)).collect();
    // one that failed gives what is no quadrature, and the others stop at it
    let numbers: Vec<f64> = match &found {
        Ok(found) => found.iter().flat_map(|(quadrature, products)| to_numbers(quadrature, *products)).collect(),
        Err(_) => vec![f64::NAN],
    };
    let all = ranks.join(&numbers)?;
    found?;
    let (mut rest, mut computed) = (&all[..], Vec::new());
    for i in 0..count {
        let failed = || Error::from(CommError::Differ("another rank could not compute its quadrature".into()));
        let (quadrature, products, after) = of_numbers(rest).ok_or_else(failed)?;
        computed.push((quadrature, if own.contains(&i) { 0 } else { products }));
        rest = after;
    }
    Ok(computed)
}

/// A quadrature as numbers: how many nodes it has, what products it cost, its nodes and its weights.
fn to_numbers(Quadrature { nodes, weights }: &Quadrature, products: u64) -> Vec<f64> {
    let head = [nodes.len() as f64, products as f64];
    head.into_iter().chain(nodes.iter().copied()).chain(weights.iter().copied()).collect()
}

/// The first quadrature of numbers, its products, and the numbers after it.
fn of_numbers(numbers: &[f64]) -> Option<(Quadrature, u64, &[f64])> {
    let [nodes, products, rest @ ..] = numbers else { return None };
    if nodes.is_nan() {
        return None;
    }
    let (nodes, rest) = rest.split_at_checked(*nodes as usize)?;
    let (weights, rest) = rest.split_at_checked(nodes.len())?;
    Some((Quadrature { nodes: nodes.to_vec(), weights: weights.to_vec() }, *products as u64, rest))
}

#[cfg(test)]
mod tests {
    use crate::{Dense, DensityConfig, Hutchinson, Silent, SpectralDensity, TraceConfig};
    use flat_comm::{Ranks, Threads};
    use flat_core::Streams;

    /// Moments, quadratures and products of a density, and a trace, on this rank.
    fn measured() -> crate::Result<String> {
        let mut a = Dense::from_fn(12, |i, j| if i == j { 1.0 + i as f64 } else { 0.1 })?;
        let config = DensityConfig { probes: 5, steps: 6, ..DensityConfig::default() };
        let density = SpectralDensity::new(config)?.run(&mut a, &Streams::new(3), &mut Silent)?;
        let trace = Hutchinson::new(TraceConfig::fixed(7))?.run(&mut a, &Streams::new(3), &mut Silent)?;
        let matvecs = (density.effort.matvecs, trace.effort.matvecs);
        Ok(format!("{:?} {:?} {:?} {matvecs:?}", density.moments, density.quadratures, trace.trace))
    }

    #[test]
    fn a_density_and_a_trace_are_those_of_one_process_on_any_number_of_ranks() -> crate::Result<()> {
        let alone = measured()?;
        for size in [2, 3, 8] {
            for found in Threads::run(size, |engine| flat_comm::with(Ranks::new(engine), measured)) {
                assert_eq!(found?, alone, "{size} ranks");
            }
        }
        Ok(())
    }
}
