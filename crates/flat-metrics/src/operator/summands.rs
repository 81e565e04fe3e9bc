//! The sum of the vectors of batches, as a tree over them, which ranks compute for each other.

use crate::{Error, Result};
use flat_comm::{Error as CommError, Growing, Ranks, Tree};
use flat_core::{ParamVec, Space};
use std::ops::Range;

/// The vectors of this rank's parts, with a number each, of one sum or several.
pub(super) struct Summands {
    own: Range<usize>,
    /// One a sum.
    vectors: Vec<Growing<ParamVec>>,
    /// Those of a part together.
    numbers: Vec<f64>,
}

/// How the parts of a rank ended, as a number for the others.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Well = 0,
    Interrupted = 1,
    Failed = 2,
}

impl Summands {
    /// The parts of this rank, to be pushed in their order.
    pub(super) fn own(&self) -> Range<usize> {
        self.own.clone()
    }

    /// Takes the next part, a vector and a number for each sum: `weight` times the vector is added up, the number is kept.
    ///
    /// # Errors
    /// candle's.
    pub(super) fn push(&mut self, weight: f64, part: Vec<(ParamVec, f64)>) -> Result<()> {
        for (vectors, (mut x, number)) in self.vectors.iter_mut().zip(part) {
            x.scale(weight)?;
            vectors.push(x, |sum, more| sum.add_scaled(1.0, &more))?;
            self.numbers.push(number);
        }
        Ok(())
    }
}

/// Adds up the vectors of `parts` for so many sums, whose bits do not depend on the number of ranks, and joins their numbers.
/// `compute` pushes those of this rank. Holds as many vectors a sum as the tree is deep.
///
/// # Errors
/// Those of `compute`; where that of another rank failed, [`CommError::Differ`], or [`Error::Interrupted`] as there; the engine's.
pub(super) fn summed(
    ranks: &Ranks,
    (parts, sums): (usize, usize),
    space: &Space,
    compute: impl FnOnce(&mut Summands) -> Result<()>,
) -> Result<Vec<(ParamVec, Vec<f64>)>> {
    let (tree, own) = (Tree::over(parts), ranks.own(parts));
    let vectors = (0..sums).map(|_| Growing::from(tree, own.start)).collect();
    let mut summands = Summands { own, vectors, numbers: Vec::new() };
    let computed = compute(&mut summands);
    let end = match &computed {
        Ok(()) => End::Well,
        Err(Error::Interrupted) => End::Interrupted,
        Err(_) => End::Failed,
    };
    let ends = ranks.gather(ranks.size(), 1, &[f64::from(end as u8)])?;
    computed?;
    let any = |end: End| ends.contains(&f64::from(end as u8));
    if any(End::Failed) {
        return Err(CommError::Differ("another rank could not compute its part of a product".into()).into());
    }
    if any(End::Interrupted) {
        return Err(Error::Interrupted);
    }
    let numbers = ranks.gather(parts, sums, &summands.numbers)?;
    let sum = |(k, vectors): (usize, Growing<ParamVec>)| {
        let sum = ranks.sum(tree, vectors.nodes().collect(), || ParamVec::zeros(space))?;
        Ok((sum, numbers.iter().skip(k).step_by(sums).copied().collect()))
    };
    summands.vectors.into_iter().enumerate().map(sum).collect()
}

#[cfg(test)]
mod tests {
    use crate::operator::{BatchProduct, Curvature};
    use crate::{
        ClosureObjective, DifferenceHessian, HutchPlusPlus, Lanczos, LanczosConfig, LinearOperator, Objective,
        Progress, Result, Silent, TraceConfig, XTrace,
    };
    use candle_core::{Device, Tensor, Var};
    use flat_comm::{Error as CommError, Ranks, Threads};
    use flat_core::{ParamVec, Params, Purpose, Streams};
    use std::ops::ControlFlow;

    /// For batch i the diagonal matrix of `cos(i + j) + x_j`, and the projector to one direction.
    struct Made;

    impl<O: Objective + ?Sized> BatchProduct<O> for Made {
        fn name(&self) -> String {
            "made".into()
        }

        fn products(&self, objective: &O, i: usize, directions: &[&ParamVec]) -> Result<Vec<ParamVec>> {
            let space = objective.params().space();
            let x = objective.params().read()?.to_f64()?;
            let u = ParamVec::gaussian(space, 1.0, &Streams::new(5).at(Purpose::Test, i as u64))?;
            let product = |v: &&ParamVec| {
                let mut product = v.to_f64()?;
                product.iter_mut().enumerate().for_each(|(j, p)| *p *= ((i + j) as f64).cos() + x[j]);
                Ok(ParamVec::from_f64(space, product)?.plus(u.dot(v)?, &u)?)
            };
            directions.iter().map(product).collect()
        }
    }

    const BATCHES: usize = 7;

    /// Ran with the loss of a small nonlinear model over seven batches of different sizes.
    fn over_batches<T>(work: impl FnOnce(&ClosureObjective) -> Result<T>) -> Result<T> {
        let start: Vec<f32> = (0..12).map(|i| (i as f32 * 0.7).sin()).collect();
        let var = Var::from_tensor(&Tensor::new(start, &Device::Cpu)?)?;
        let params = Params::new([("x".to_string(), var.clone())])?;
        let sizes = (0..BATCHES).map(|i| 1 + i % 3).collect();
        let objective = ClosureObjective::new(params, sizes, move |i| {
            let scales: Vec<f32> = (0..12).map(|j| ((i * 12 + j) as f32 * 1.3).cos()).collect();
            let scaled = (var.as_tensor() * Tensor::new(scales, &Device::Cpu)?)?;
            scaled.sum_all()?.sqr()? + scaled.sin()?.exp()?.sum_all()?
        })?;
        work(&objective)
    }

    /// What every one of so many ranks finds.
    fn by_ranks<T: Send>(size: usize, work: impl Fn(&ClosureObjective) -> Result<T> + Sync) -> Vec<Result<T>> {
        Threads::run(size, |engine| flat_comm::with(Ranks::new(engine), || over_batches(&work)))
    }

    #[test]
    fn a_product_over_ranks_has_the_bits_of_one_process() -> Result<()> {
        let product = |objective: &ClosureObjective| {
            let v = ParamVec::gaussian(objective.params().space(), 1.0, &Streams::new(3).at(Purpose::Test, 0))?;
            let zero = ParamVec::zeros(objective.params().space())?;
            let mut bits = Vec::new();
            let hessians: [&mut dyn LinearOperator; 2] =
                [&mut Curvature::of_unchecked(objective, Made), &mut DifferenceHessian::new(objective)?];
            for hessian in hessians {
                for v in [&v, &zero] {
                    let found = hessian.product_over(&flat_comm::here(), v, &mut Silent)?;
                    bits.push((found.product.to_f64()?, found.batches));
                }
            }
            Ok(bits)
        };
        let expected = over_batches(product)?;
        assert!(expected[0].1.len() == BATCHES && expected[2].1.len() == BATCHES);
        for size in [1, 2, 3, 8] {
            for found in by_ranks(size, product) {
                assert_eq!(found?, expected, "{size} ranks");
            }
        }
        Ok(())
    }

    #[test]
    fn eigenpairs_and_sketched_traces_over_ranks_are_those_of_one_process_and_cost_as_much() -> Result<()> {
        let measured = |objective: &ClosureObjective| {
            let mut hessian = Curvature::of_unchecked(objective, Made);
            let streams = Streams::new(3);
            let pairs = Lanczos::new(LanczosConfig { top: 2, bottom: 1, ..LanczosConfig::default() })?;
            let pairs = pairs.run(&mut hessian, &streams, &mut Silent)?;
            let probes = TraceConfig { max_probes: 8, ..TraceConfig::default() };
            let plus = HutchPlusPlus::new(probes.clone())?.run(&mut hessian, &streams, &mut Silent)?;
            let cross = XTrace::new(probes)?.run(&mut hessian, &streams, &mut Silent)?;
            let cost = [pairs.effort.matvecs, plus.effort.matvecs, cross.effort.matvecs];
            let values =
                pairs.result.top.iter().chain(&pairs.result.bottom).map(|pair| pair.value).collect::<Vec<f64>>();
            Ok((values, plus.result.trace, cross.result.trace, cost))
        };
        let expected = over_batches(measured)?;
        for size in [2, 3, 8] {
            for found in by_ranks(size, measured) {
                assert_eq!(found?, expected, "{size} ranks");
            }
        }
        Ok(())
    }

    #[test]
    fn a_rank_that_stops_or_fails_within_a_product_takes_the_others_along() {
        for fails in [false, true] {
            let out = by_ranks(3, |objective| {
                let mut hessian = Curvature::of_unchecked(objective, Made);
                let v = ParamVec::gaussian(objective.params().space(), 1.0, &Streams::new(3).at(Purpose::Test, 0))?;
                let last = flat_comm::here().rank() == 2;
                if fails && last {
                    let theta = ParamVec::zeros(objective.params().space())?.plus(f64::NAN, &v)?;
                    objective.params().write(&theta)?;
                }
                let stop =
                    |_: &Progress| if last && !fails { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
                // an error of a rank's work would end the others before they have heard of it
                Ok(hessian.product_over(&flat_comm::here(), &v, &mut { stop }).map(drop))
            });
            let out: Vec<Result<()>> = out.into_iter().flatten().collect();
            assert_eq!(out.len(), 3);
            let said = |e: &Result<()>| match e {
                Err(crate::Error::Interrupted) => !fails,
                Err(crate::Error::Comm(CommError::Differ(text))) => fails && text.contains("another rank"),
                _ => false,
            };
            assert!(out[..2].iter().all(said), "{out:?}");
            match fails {
                true => assert!(matches!(out[2], Err(crate::Error::NonFinite { .. })), "{out:?}"),
                false => assert!(said(&out[2]), "{out:?}"),
            }
        }
    }
}
