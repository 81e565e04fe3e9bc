//! Quadratures that ranks compute for each other.

use crate::linalg::Quadrature;
use crate::{Error, Result};
use flat_comm::{Error as CommError, Ranks};
use std::ops::Range;

/// Computes those of a range of probes, each on one rank; every rank gets all of them, in their order, with the products that
/// each cost another rank: one a node.
pub(super) fn computed(
    ranks: &Ranks,
    probes: Range<u64>,
    compute: impl FnOnce(Range<u64>) -> Result<Vec<Quadrature>>,
) -> Result<Vec<(Quadrature, u64)>> {
    if ranks.is_alone() {
        return Ok(compute(probes)?.into_iter().map(|quadrature| (quadrature, 0)).collect());
    }
    let count = (probes.end - probes.start) as usize;
    let own = ranks.own(count);
    let found = compute(probes.start + own.start as u64..probes.start + own.end as u64);
    // one that failed gives what is no quadrature, and the others stop at it
    let numbers: Vec<f64> = match &found {
        Ok(found) => found.iter().flat_map(to_numbers).collect(),
        Err(_) => vec![f64::NAN],
    };
    let all = ranks.join(&numbers)?;
    found?;
    let (mut rest, mut computed) = (&all[..], Vec::new());
    for i in 0..count {
        let failed = || Error::from(CommError::Differ("another rank could not compute its quadrature".into()));
        let (quadrature, after) = of_numbers(rest).ok_or_else(failed)?;
        let elsewhere = if own.contains(&i) { 0 } else { quadrature.nodes.len() as u64 };
        computed.push((quadrature, elsewhere));
        rest = after;
    }
    Ok(computed)
}

/// A quadrature as numbers: how many nodes it has, its nodes and its weights.
fn to_numbers(Quadrature { nodes, weights }: &Quadrature) -> Vec<f64> {
    [nodes.len() as f64].into_iter().chain(nodes.iter().copied()).chain(weights.iter().copied()).collect()
}

/// The first quadrature of numbers, and the numbers after it.
fn of_numbers(numbers: &[f64]) -> Option<(Quadrature, &[f64])> {
    let [nodes, rest @ ..] = numbers else { return None };
    if nodes.is_nan() {
        return None;
    }
    let (nodes, rest) = rest.split_at_checked(*nodes as usize)?;
    let (weights, rest) = rest.split_at_checked(nodes.len())?;
    Some((Quadrature { nodes: nodes.to_vec(), weights: weights.to_vec() }, rest))
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
