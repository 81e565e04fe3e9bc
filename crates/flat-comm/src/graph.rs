//! Networks of agents: who is whose neighbour, with which weights neighbours mix, and how agents lie on ranks.

mod mixing;
mod neighbours;

pub use mixing::{MOST_AGENTS, Mixing};
pub use neighbours::Neighbours;

use crate::{Error, Result};
use flat_core::named;

named! {
    /// Graphs of agents by name.
    pub enum Graph, "graph" {
        /// Each agent has the one before and the one after it.
        Ring = "ring" | "cycle",
        /// Agents lie in a rectangle, as near to a square as goes, with up to four neighbours each.
        Grid = "grid",
        /// Agents are the corners of a cube, of as many dimensions as two is multiplied to give their number.
        Hypercube = "hypercube" | "cube",
        /// Agents 1, 2, 4, ... places apart are neighbours, both ways round.
        Exponential = "exponential",
        /// Everybody is everybody's neighbour.
        Full = "full" | "complete",
    }
}

impl Graph {
    /// The neighbours of each of so many agents, in the order of the agents.
    ///
    /// # Errors
    /// A number of agents that the graph does not have.
    pub fn neighbours(self, agents: usize) -> Result<Vec<Vec<usize>>> {
        let refused = |why: String| Err(Error::Sizes(why));
        let columns = (1..=agents).take_while(|c| c * c <= agents).filter(|c| agents.is_multiple_of(*c)).last();
        let columns = agents / columns.unwrap_or(1);
        match self {
            Self::Hypercube if !agents.is_power_of_two() => {
                return refused(format!("a hypercube has a power of two of corners, not {agents}"));
            }
            Self::Grid if agents > 3 && columns == agents => {
                return refused(format!("{agents} is a prime number, so that its grid would be a line"));
            }
            _ => {}
        }
        let apart = || (0..).map(|j| 1usize << j).take_while(|apart| *apart < agents);
        let of = |k: usize| -> Vec<usize> {
            let others: Vec<usize> = match self {
                Self::Ring => vec![(k + 1) % agents, (k + agents - 1) % agents],
                Self::Grid => {
                    let (row, column) = (k / columns, k % columns);
                    let beside = [(column > 0, k.wrapping_sub(1)), (column + 1 < columns, k + 1)];
                    let above = [(row > 0, k.wrapping_sub(columns)), (k + columns < agents, k + columns)];
                    beside.into_iter().chain(above).filter(|(there, _)| *there).map(|(_, l)| l).collect()
                }
                Self::Hypercube => apart().map(|bit| k ^ bit).collect(),
                Self::Exponential => apart().flat_map(|j| [(k + j) % agents, (k + agents - j) % agents]).collect(),
                Self::Full => (0..agents).collect(),
            };
            let others: std::collections::BTreeSet<usize> = others.into_iter().filter(|l| *l != k).collect();
            others.into_iter().collect()
        };
        Ok((0..agents).map(of).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_have_the_neighbours_that_their_names_say() -> Result<()> {
        assert_eq!(Graph::Ring.neighbours(4)?, [[1, 3], [0, 2], [1, 3], [0, 2]]);
        assert_eq!(Graph::Ring.neighbours(2)?, [[1], [0]]);
        assert_eq!(Graph::Grid.neighbours(6)?[1], [0, 2, 4], "two rows of three");
        assert_eq!(Graph::Grid.neighbours(16)?.iter().map(Vec::len).sum::<usize>(), 2 * 24);
        assert_eq!(Graph::Hypercube.neighbours(8)?[5], [1, 4, 7]);
        assert_eq!(Graph::Exponential.neighbours(8)?[0], [1, 2, 4, 6, 7]);
        assert_eq!(Graph::Full.neighbours(3)?, [[1, 2], [0, 2], [0, 1]]);
        for graph in Graph::ALL {
            assert_eq!(graph.neighbours(1)?, [[0usize; 0]], "{graph} of one agent");
        }
        Ok(())
    }

    #[test]
    fn a_graph_that_so_many_agents_cannot_make_is_refused() {
        assert!(Graph::Hypercube.neighbours(12).is_err_and(|e| e.to_string().contains("power of two")));
        assert!(Graph::Grid.neighbours(7).is_err_and(|e| e.to_string().contains("prime")));
    }
}
