//! The agents of a network on the ranks that hold them.

use super::Mixing;
use crate::{Error, Growing, Incoming, Lent, Outgoing, Ranks, Result, Tree};
use flat_core::{ParamVec, Space};
use std::collections::BTreeMap;
use std::ops::Range;

/// A network of agents whose vectors lie on ranks, each with the same share of them. Every sum is taken in an order of the agents, so
/// that no bit depends on how many ranks there are.
#[derive(Debug, Clone)]
pub struct Neighbours {
    mixing: Mixing,
    ranks: Ranks,
}

impl Neighbours {
    /// A network over these ranks.
    ///
    /// # Errors
    /// More ranks than agents.
    pub fn new(mixing: Mixing, ranks: Ranks) -> Result<Self> {
        if ranks.size() > mixing.agents() {
            let (agents, ranks) = (mixing.agents(), ranks.size());
            return Err(Error::Sizes(format!(
                "{agents} agents on {ranks} ranks: start at most as many ranks as agents"
            )));
        }
        Ok(Self { mixing, ranks })
    }

    /// The weights.
    pub fn mixing(&self) -> &Mixing {
        &self.mixing
    }

    /// The ranks.
    pub fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// The agents of this rank.
    pub fn own(&self) -> Range<usize> {
        self.ranks.own(self.mixing.agents())
    }

    fn tree(&self) -> Tree {
        Tree::over(self.mixing.agents())
    }

    fn of(&self, rank: usize) -> Range<usize> {
        self.tree().of_rank(rank, self.ranks.size())
    }

    fn owner(&self, agent: usize) -> usize {
        (0..self.ranks.size()).find(|rank| self.of(*rank).contains(&agent)).unwrap_or_default()
    }

    /// Adds the sum over l of `a_kl (of_l - of_k)` to `into_k`, for every agent k of this rank. The vectors are those of this rank's
    /// agents in their order. Where `into` is `of`, that is the mixture; where all agents are the same, nothing changes at all.
    /// An exchange of a vector an edge between ranks; two passes over memory a neighbour.
    ///
    /// # Errors
    /// A rank that is gone; vectors of different spaces; candle's.
    pub fn mix(&self, into: &mut [ParamVec], of: &mut [ParamVec]) -> Result<()> {
        let (own, theirs) = (self.own(), self.received(of)?);
        for (k, into) in own.clone().zip(into) {
            for (l, weight) in self.mixing.others(k) {
                let vector = theirs.get(&l).unwrap_or_else(|| &of[l - own.start]);
                into.add_scaled(weight, &vector.plus(-1.0, &of[k - own.start])?)?;
            }
        }
        Ok(())
    }

    /// The vectors of other ranks' agents that this rank's mix with.
    fn received(&self, of: &mut [ParamVec]) -> Result<BTreeMap<usize, ParamVec>> {
        let (own, me) = (self.own(), self.ranks.rank());
        let Some(space) = of.first().map(ParamVec::space).filter(|_| !self.ranks.is_alone()) else {
            return Ok(BTreeMap::new());
        };
        let wanted = |rank: usize, l: usize| self.of(rank).any(|k| k != l && self.mixing.weight(k, l) > 0.0);
        let mut sent = Vec::new();
        for (l, vector) in own.clone().zip(of) {
            let to: Vec<usize> = (0..self.ranks.size()).filter(|&rank| rank != me && wanted(rank, l)).collect();
            if !to.is_empty() {
                sent.push((to, bytes(vector)?));
            }
        }
        let out: Vec<Outgoing<'_>> =
            sent.iter().flat_map(|(to, bytes)| to.iter().map(|&to| Outgoing { to, bytes })).collect();
        let length = space.layout.len() * space.dtype.size_in_bytes();
        let others = (0..self.mixing.agents()).filter(|l| !own.contains(l) && wanted(me, *l));
        let mut rooms: BTreeMap<usize, Vec<u8>> = others.map(|l| (l, vec![0; length])).collect();
        let mut into: Vec<Incoming<'_>> =
            rooms.iter_mut().map(|(l, bytes)| Incoming { from: self.owner(*l), bytes }).collect();
        self.ranks.timed(|| self.ranks.engine().exchange(&out, &mut into))?;
        rooms.into_iter().map(|(l, bytes)| Ok((l, vector(&space, &bytes)?))).collect()
    }

    /// The mean of all agents, on every rank. Two passes over memory an agent, and a sum over ranks.
    ///
    /// # Errors
    /// As [`Self::mix`].
    pub fn mean(&self, of: &[ParamVec]) -> Result<ParamVec> {
        let mut sum = Growing::from(self.tree(), self.own().start);
        of.iter().try_for_each(|x| sum.push(x.duplicate()?, |a, b| a.add_scaled(1.0, &b)))?;
        let space = of.first().map(ParamVec::space).ok_or_else(|| Error::Sizes("a rank without agents".into()))?;
        let mut mean = self.ranks.sum(self.tree(), sum.nodes().collect(), || ParamVec::zeros(&space))?;
        mean.scale(1.0 / self.mixing.agents() as f64)?;
        Ok(mean)
    }

    /// `each` numbers of every agent in the order of agents, of which this rank gives those of its own.
    ///
    /// # Errors
    /// A rank that is gone.
    pub fn numbers(&self, each: usize, own: &[f64]) -> Result<Vec<f64>> {
        self.ranks.gather(self.mixing.agents(), each, own)
    }
}

fn bytes(of: &mut ParamVec) -> Result<Vec<u8>> {
    Ok(of.lend(|lent| match lent {
        Lent::F32(x) => bytemuck::cast_slice(x).to_vec(),
        Lent::F64(x) => bytemuck::cast_slice(x).to_vec(),
    })?)
}

fn vector(space: &Space, bytes: &[u8]) -> Result<ParamVec> {
    let mut made = ParamVec::scratch(space)?;
    made.lend(|lent| match lent {
        Lent::F32(x) => bytemuck::cast_slice_mut(x).copy_from_slice(bytes),
        Lent::F64(x) => bytemuck::cast_slice_mut(x).copy_from_slice(bytes),
    })?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Graph, Threads};
    use candle_core::{DType, Device, Shape};
    use flat_core::{Layout, Purpose, Streams};

    fn space(dtype: DType) -> Result<Space> {
        let layout = Layout::new([("w".to_string(), Shape::from((7, 5)))])?;
        Ok(Space { layout: layout.into(), dtype, device: Device::Cpu })
    }

    fn draw(space: &Space, agent: usize) -> Result<ParamVec> {
        Ok(ParamVec::gaussian(space, 1.0, &Streams::new(1).at(Purpose::Test, agent as u64))?)
    }

    fn network(graph: Graph, agents: usize, ranks: Ranks) -> Result<Neighbours> {
        Neighbours::new(Mixing::metropolis(graph, agents)?, ranks)
    }

    /// Mixtures of this rank's agents, the mean of all, and their numbers.
    fn mixed(graph: Graph, agents: usize, dtype: DType, ranks: Ranks) -> Result<[Vec<Vec<f64>>; 2]> {
        let (of, space) = (network(graph, agents, ranks)?, space(dtype)?);
        let draws = || of.own().map(|k| draw(&space, k)).collect::<Result<Vec<_>>>();
        let (mut into, mut from) = (draws()?, draws()?);
        of.mix(&mut into, &mut from)?;
        let numbers = of.numbers(1, &of.own().map(|k| k as f64).collect::<Vec<_>>())?;
        assert_eq!(numbers, (0..agents).map(|k| k as f64).collect::<Vec<_>>());
        let mean = of.mean(&into)?.to_f64()?;
        Ok([into.iter().map(|x| Ok(x.to_f64()?)).collect::<Result<_>>()?, vec![mean]])
    }

    #[test]
    fn mixtures_are_products_with_the_matrix_and_keep_the_mean() -> Result<()> {
        for graph in Graph::ALL {
            let [into, mean] = mixed(*graph, 16, DType::F64, Ranks::default())?;
            let mixing = Mixing::metropolis(*graph, 16)?;
            let space = space(DType::F64)?;
            let from: Vec<Vec<f64>> = (0..16).map(|k| Ok(draw(&space, k)?.to_f64()?)).collect::<Result<_>>()?;
            for i in 0..35 {
                for (k, into) in into.iter().enumerate() {
                    let wanted: f64 = (0..16).map(|l| mixing.weight(k, l) * from[l][i]).sum();
                    // sixteen terms of size 1, a rounding each
                    assert!((into[i] - wanted).abs() < 1e-14, "{graph}, agent {k}");
                }
                let kept = from.iter().map(|x| x[i]).sum::<f64>() / 16.0;
                assert!((mean[0][i] - kept).abs() < 1e-14, "{graph}");
            }
        }
        Ok(())
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_ranks() -> Result<()> {
        for dtype in [DType::F32, DType::F64] {
            for (graph, agents) in [(Graph::Ring, 6), (Graph::Exponential, 7), (Graph::Grid, 8), (Graph::Full, 5)] {
                let [alone, mean] = mixed(graph, agents, dtype, Ranks::default())?;
                for ranks in [1, 2, 3, 5] {
                    let parts = Threads::run(ranks, |engine| mixed(graph, agents, dtype, Ranks::new(engine)));
                    let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
                    assert!(parts.iter().all(|[_, there]| *there == mean), "{graph} of {agents} on {ranks}: the mean");
                    let together: Vec<Vec<f64>> = parts.into_iter().flat_map(|[own, _]| own).collect();
                    assert!(together == alone, "{graph} of {agents} on {ranks}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn agents_that_are_the_same_stay_the_same_bit_for_bit() -> Result<()> {
        let (of, space) = (network(Graph::Ring, 5, Ranks::default())?, space(DType::F32)?);
        let same = || (0..5).map(|_| draw(&space, 9)).collect::<Result<Vec<_>>>();
        let (mut into, mut from) = (same()?, same()?);
        of.mix(&mut into, &mut from)?;
        let before = from[0].to_f64()?;
        assert!(into.iter().all(|x| x.to_f64().is_ok_and(|x| x == before)));
        Ok(())
    }

    #[test]
    fn more_ranks_than_agents_are_refused() {
        let out = Threads::run(3, |engine| network(Graph::Ring, 2, Ranks::new(engine)).map(|_| ()));
        assert!(out.iter().all(|made| made.as_ref().is_err_and(|e| e.to_string().contains("2 agents on 3 ranks"))));
    }
}
