//! The mixing matrix of a network of agents.

use super::Graph;
use crate::{Error, Result};

/// Agents that a network may have: its spectrum takes a hundred products of matrices of this size.
pub const MOST_AGENTS: usize = 256;

/// How far a weight or a sum of weights that was read may be from what it has to be.
const ROUNDING: f64 = 1e-6;

/// The weights with which agents mix: agent k takes the share `a_kl` of agent l. The matrix is symmetric, its rows and columns add
/// up to 1, and repeated mixing brings all agents to their mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixing {
    rows: Vec<Vec<f64>>,
}

impl Mixing {
    /// Metropolis weights over a graph: neighbours k and l take `1 / (1 + max(deg k, deg l))` of each other and keep the rest.
    ///
    /// W. K. Hastings, "Monte Carlo sampling methods using Markov chains", Biometrika 57 (1970); as mixing weights: L. Xiao,
    /// S. Boyd, S. Lall, "A scheme for robust distributed sensor fusion based on average consensus", IPSN 2005.
    ///
    /// # Errors
    /// A number of agents that the graph does not have, or above [`MOST_AGENTS`].
    pub fn metropolis(graph: Graph, agents: usize) -> Result<Self> {
        let near = graph.neighbours(agents)?;
        let row = |k: usize| {
            let mut row = vec![0.0; agents];
            near[k].iter().for_each(|&l| row[l] = 1.0 / (1 + near[k].len().max(near[l].len())) as f64);
            row[k] = 1.0 - row.iter().sum::<f64>();
            row
        };
        Self::of((0..agents).map(row).collect())
    }

    /// A matrix as text: a line an agent, numbers with spaces or commas between them, `#` before remarks.
    ///
    /// # Errors
    /// What is no number; those of [`Self::of`].
    pub fn parse(text: &str) -> Result<Self> {
        let number = |word: &str| {
            word.parse::<f64>().map_err(|_| Error::Sizes(format!("`{}` is no number", word.escape_debug())))
        };
        let words = |line: &str| -> Result<Vec<f64>> {
            let words = line.split(|c: char| c == ',' || c.is_whitespace());
            words.filter(|word| !word.is_empty()).map(number).collect()
        };
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let rows: Vec<Vec<f64>> = lines.map(words).collect::<Result<_>>()?;
        Self::of(rows.into_iter().filter(|row| !row.is_empty()).collect())
    }

    /// A matrix by its rows.
    ///
    /// # Errors
    /// A matrix that is not square, not symmetric, has a negative weight or a row that does not add up to 1; agents that mixing
    /// never brings together; more than [`MOST_AGENTS`].
    pub fn of(rows: Vec<Vec<f64>>) -> Result<Self> {
        let (n, refused) = (rows.len(), |why: String| Err(Error::Sizes(why)));
        if n == 0 || n > MOST_AGENTS {
            return refused(format!("{n} agents: a network has from 1 to {MOST_AGENTS}"));
        }
        for (k, row) in rows.iter().enumerate() {
            if row.len() != n {
                return refused(format!("row {} of {n} has {} weights: the matrix is square", k + 1, row.len()));
            }
            if let Some((l, a)) = row.iter().enumerate().find(|(_, a)| !(0.0..=1.0 + ROUNDING).contains(*a)) {
                return refused(format!("the weight in row {}, column {} is {a}: weights lie in 0..1", k + 1, l + 1));
            }
            if let Some(l) = (0..k).find(|&l| (row[l] - rows[l][k]).abs() > ROUNDING) {
                let (there, here) = (rows[l][k], row[l]);
                let at =
                    format!("row {}, column {} is {here}, row {}, column {} is {there}", k + 1, l + 1, l + 1, k + 1);
                return refused(format!("{at}: the matrix is symmetric"));
            }
            let sum: f64 = row.iter().sum();
            if (sum - 1.0).abs() > ROUNDING {
                return refused(format!("row {} adds up to {sum}: each row adds up to 1, give more digits", k + 1));
            }
        }
        let made = Self { rows };
        if let Some(k) = made.unreached() {
            return refused(format!("no path leads from agent 1 to agent {}: connect them", k + 1));
        }
        if n > 1 && made.spectral_gap() < 1e-9 {
            return refused("mixing swaps two halves for ever (an eigenvalue is -1): let agents keep a share".into());
        }
        Ok(made)
    }

    /// An agent that no path of weights leads to from the first one.
    fn unreached(&self) -> Option<usize> {
        let (mut reached, mut next) = (vec![false; self.agents()], vec![0]);
        while let Some(k) = next.pop() {
            if !std::mem::replace(&mut reached[k], true) {
                next.extend((0..self.agents()).filter(|&l| self.rows[k][l] > 0.0));
            }
        }
        reached.iter().position(|reached| !reached)
    }

    /// How many agents there are.
    pub fn agents(&self) -> usize {
        self.rows.len()
    }

    /// The share of agent `l` that agent `k` takes.
    pub fn weight(&self, k: usize, l: usize) -> f64 {
        self.rows[k][l]
    }

    /// The other agents that agent `k` takes a share of, with their weights, in the order of agents.
    pub fn others(&self, k: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.rows[k].iter().copied().enumerate().filter(move |(l, a)| *l != k && *a > 0.0)
    }

    /// How fast mixing brings agents together: 1 less the largest absolute eigenvalue but that of the mean. A mixture leaves
    /// at most this eigenvalue of the agents' distance to their mean. Costs some fifty products of matrices.
    pub fn spectral_gap(&self) -> f64 {
        let mean = 1.0 / self.agents() as f64;
        1.0 - largest(self.rows.iter().map(|row| row.iter().map(|a| a - mean).collect()).collect())
    }

    /// The smallest eigenvalue. Consensus is stable for rates below 1 plus this, over the largest curvature. Costs as
    /// [`Self::spectral_gap`].
    pub fn smallest_eigenvalue(&self) -> f64 {
        let shifted = |(k, row): (usize, &Vec<f64>)| {
            row.iter().enumerate().map(|(l, a)| f64::from(u8::from(k == l)) - a).collect()
        };
        1.0 - largest(self.rows.iter().enumerate().map(shifted).collect())
    }
}

/// The largest absolute eigenvalue of a symmetric matrix: the limit of the n-th root of the norm of its n-th power, for n = 2^50.
/// The norm is off by a factor of at most the square root of the dimension, of which that root is 1 to all digits.
fn largest(mut a: Vec<Vec<f64>>) -> f64 {
    const SQUARINGS: i32 = 50;
    let mut log = 0.0;
    for squaring in 0..=SQUARINGS {
        let norm = a.iter().flatten().map(|x| x * x).sum::<f64>().sqrt();
        if norm == 0.0 {
            return 0.0;
        }
        log += norm.ln() / 2f64.powi(squaring);
        a.iter_mut().flatten().for_each(|x| *x /= norm);
        a = square(&a);
    }
    log.exp()
}

fn square(a: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let row = |of: &Vec<f64>| {
        let mut out = vec![0.0; of.len()];
        for (x, row) in of.iter().zip(a).filter(|(x, _)| **x != 0.0) {
            out.iter_mut().zip(row).for_each(|(out, y)| *out += x * y);
        }
        out
    };
    a.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    #[test]
    fn spectral_gaps_are_those_of_closed_forms() -> Result<()> {
        for n in [3usize, 4, 5, 16, 33] {
            let cosines = |k: usize| (1.0 + 2.0 * (TAU * k as f64 / n as f64).cos()) / 3.0;
            let second = (1..n).map(|k| cosines(k).abs()).fold(0.0, f64::max);
            let ring = Mixing::metropolis(Graph::Ring, n)?;
            assert!((ring.spectral_gap() - (1.0 - second)).abs() < 1e-12, "ring of {n}");
            let smallest = (0..n).map(cosines).fold(1.0, f64::min);
            assert!((ring.smallest_eigenvalue() - smallest).abs() < 1e-12, "ring of {n}");
        }
        // an agent keeps 1 / (d + 1) and its eigenvalues are (1 + d - 2 j) / (1 + d)
        for d in 1..=6 {
            let of = |j: f64| (1.0 + f64::from(d) - 2.0 * j) / (1.0 + f64::from(d));
            let cube = Mixing::metropolis(Graph::Hypercube, 1 << d)?;
            let second = of(1.0).abs().max(of(f64::from(d)).abs());
            assert!((cube.spectral_gap() - (1.0 - second)).abs() < 1e-12, "{d} dimensions");
            assert!((cube.smallest_eigenvalue() - of(f64::from(d))).abs() < 1e-12, "{d} dimensions");
        }
        assert!((Mixing::metropolis(Graph::Full, 12)?.spectral_gap() - 1.0).abs() < 1e-12);
        assert!((Mixing::metropolis(Graph::Ring, 16)?.spectral_gap() - 0.0507).abs() < 1e-4);
        Ok(())
    }

    #[test]
    fn every_graph_has_weights_that_a_matrix_that_was_read_may_have() -> Result<()> {
        for graph in Graph::ALL {
            for agents in [1, 2, 4, 16, 64] {
                let made = Mixing::metropolis(*graph, agents)?;
                let near = graph.neighbours(agents)?;
                assert_eq!(near.len(), agents);
                for (k, near) in near.iter().enumerate() {
                    let sum: f64 = (0..agents).map(|l| made.weight(l, k)).sum();
                    assert!((sum - 1.0).abs() < 1e-14, "{graph} of {agents}, column {k}");
                    assert!(made.others(k).map(|(l, _)| l).eq(near.iter().copied()), "{graph} of {agents}");
                    assert!((0..agents).all(|l| made.weight(k, l) == made.weight(l, k) || k == l));
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_matrix_is_read_and_a_wrong_one_is_refused_with_the_place() -> Result<()> {
        let read = Mixing::parse("# two agents\n0.75, 0.25\n0.25 0.75\n")?;
        assert_eq!((read.agents(), read.weight(0, 1)), (2, 0.25));
        assert!((read.spectral_gap() - 0.5).abs() < 1e-12);
        for (text, why) in [
            ("", "0 agents"),
            ("1 0\n0", "row 2 of 2 has 1 weights"),
            ("0.5 0.5\n0.4 0.6", "row 2, column 1 is 0.4"),
            ("0.5 0.4\n0.4 0.5", "row 1 adds up to 0.9"),
            ("1.5 -0.5\n-0.5 1.5", "row 1, column 1 is 1.5"),
            ("1 0\n0 1", "no path leads from agent 1 to agent 2"),
            ("0 1\n1 0", "an eigenvalue is -1"),
            ("0.5 half", "`half` is no number"),
            ("NaN 1\n1 0", "row 1, column 1 is NaN"),
        ] {
            let text = Mixing::parse(text).expect_err(why).to_string();
            assert!(text.contains(why), "{text}");
        }
        assert!(Mixing::metropolis(Graph::Ring, 257).is_err());
        Ok(())
    }
}
