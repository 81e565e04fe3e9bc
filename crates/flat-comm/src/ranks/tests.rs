//! Sums over ranks that are threads, against one process.

use super::*;
use crate::{Growing, Threads};
use candle_core::{DType, Device};
use flat_core::{Layout, Purpose, Space, Streams};

fn space(len: usize, dtype: DType) -> Space {
    let layout = Layout::new([("x".into(), len.into())]).expect("a layout");
    Space { layout: Arc::new(layout), dtype, device: Device::Cpu }
}

fn summed(ranks: &Ranks, parts: usize, space: &Space) -> Result<ParamVec> {
    let tree = Tree::over(parts);
    let own = ranks.own(parts);
    let mut growing = Growing::from(tree, own.start);
    for part in own {
        let x = ParamVec::gaussian(space, 1.0, &Streams::new(3).at(Purpose::Test, part as u64))?;
        growing.push(x, |a, b| a.add_scaled(1.0, &b))?;
    }
    ranks.sum(tree, growing.nodes().collect(), || ParamVec::zeros(space))
}

#[test]
fn a_sum_has_the_same_bits_for_any_number_of_ranks_that_are_threads() -> Result<()> {
    for (parts, len, dtype) in [
        (8, 1000, DType::F32),
        (6, 37, DType::F64),
        (5, 3, DType::F32),
        (1, 40, DType::F32),
        (4, 2 * PIECE + 5, DType::F32),
    ] {
        let space = space(len, dtype);
        let expected = summed(&Ranks::default(), parts, &space)?.to_f64()?;
        for size in [2, 3, 4, 8] {
            for found in Threads::run(size, |engine| summed(&Ranks::new(engine), parts, &space)) {
                assert_eq!(found?.to_f64()?, expected, "{parts} parts of {len} over {size} ranks");
            }
        }
    }
    Ok(())
}

#[test]
fn numbers_and_words_reach_all_and_a_rank_that_differs_is_named() {
    for size in [1, 2, 3, 5] {
        let out = Threads::run(size, |engine| {
            let ranks = Ranks::new(engine);
            let own: Vec<f64> = ranks.own(7).flat_map(|part| [part as f64, -(part as f64)]).collect();
            let all = ranks.gather(7, 2, &own)?;
            assert_eq!(all, (0..7).flat_map(|part| [part as f64, -(part as f64)]).collect::<Vec<_>>());
            let word = if ranks.is_first() { b"runs/one".to_vec() } else { Vec::new() };
            assert_eq!(ranks.tell(word)?, b"runs/one");
            let said = ranks.hear(&vec![7; ranks.rank()])?;
            let own: Vec<f64> = (0..ranks.rank()).map(|i| i as f64).collect();
            let joined: Vec<f64> = (0..size).flat_map(|rank| (0..rank).map(|i| i as f64)).collect();
            assert_eq!(ranks.join(&own)?, joined);
            assert!(said.iter().enumerate().all(|(rank, said)| *said == vec![7; rank]));
            assert!(!ranks.any(false)? && ranks.any(ranks.rank() + 1 == size)?);
            ranks.agree("a seed", 3)?;
            ranks.agree("a version", if ranks.rank() == 2 { u64::MAX } else { 7 })
        });
        // the first to see it ends the others
        let named = |found: &Result<()>| match found {
            Err(Error::Differ(text)) => text == "a version of rank 2 is not that of rank 0",
            _ => false,
        };
        assert_eq!(out.iter().any(named), size > 2);
        assert!(out.iter().all(|found| found.is_err() == (size > 2)));
    }
}
