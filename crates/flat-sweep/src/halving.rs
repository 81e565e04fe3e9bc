//! Successive halving: all cells begin, the better ones go on.
//!
//! K. Jamieson & A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization" (AISTATS 2016, arXiv
//! 1502.07943). Runs pause at a rung and go on from their checkpoints; their schedules are those of the whole budget
//! from the first step on, so that a run that gets through is the run without halving, bit for bit. A rung therefore
//! compares runs in the middle of their schedules, which favours settings that are good early.

use anyhow::Result;
use flat_run::usage;
use std::fmt;
use std::str::FromStr;

/// One in `eta` cells goes on at each rung, with `eta` times the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Halving {
    /// Factor of budgets and cells between two rungs, at least 2.
    pub eta: u64,
}

impl FromStr for Halving {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("eta=").unwrap_or(text).parse() {
            Ok(eta) if (2..=1000).contains(&eta) => Ok(Self { eta }),
            _ => Err(usage(format!("--halving {text}: write eta=N with N from 2 to 1000"))),
        }
    }
}

impl fmt::Display for Halving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "eta={}", self.eta)
    }
}

impl Halving {
    /// The divisors of the whole budget at the rungs of `cells` cells, the first and largest first; the last is 1.
    pub(crate) fn rungs(self, cells: usize) -> Vec<u64> {
        let mut rungs = vec![1u64];
        let mut left = cells as u64;
        while left > 1 {
            left = left.div_ceil(self.eta);
            let first = rungs[0];
            rungs.insert(0, first.saturating_mul(self.eta));
        }
        rungs
    }

    /// How many of `cells` cells go on.
    pub(crate) fn kept(self, cells: usize) -> usize {
        cells.div_ceil(self.eta as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_end_at_the_whole_budget_with_one_cell() -> Result<()> {
        let three: Halving = "eta=3".parse()?;
        assert_eq!(three.rungs(9), [9, 3, 1]);
        assert_eq!((three.kept(9), three.kept(3), three.kept(4)), (3, 1, 2));
        assert_eq!(three.rungs(10), [27, 9, 3, 1]);
        assert_eq!(three.rungs(1), [1]);
        let mut cells = 10;
        three.rungs(10)[1..].iter().for_each(|_| cells = three.kept(cells));
        assert_eq!(cells, 1);
        for text in ["eta=1", "3.5", "eta=", "0"] {
            assert!(text.parse::<Halving>().expect_err(text).to_string().contains("--halving"));
        }
        Ok(())
    }
}
