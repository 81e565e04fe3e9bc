//! The ranks of a run, as its parts see them: sums, numbers and words for all.

use crate::tree::pieces;
use crate::{Alone, Communicator, Error, Lent, Result, Tree, on_device};
use candle_core::Device;
use flat_core::ParamVec;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The order in which ranks add up vectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SumOrder {
    /// A tree over the parts of the batch: the same bits for any number of ranks.
    #[default]
    Tree,
    /// The engine's own, whose bits depend on the number of ranks.
    Engine,
}

/// The ranks of a run: an engine, and the time spent on it. Clones are of the same ranks.
#[derive(Debug, Clone)]
pub struct Ranks {
    engine: Arc<dyn Communicator>,
    order: SumOrder,
    nanoseconds: Arc<AtomicU64>,
}

impl Default for Ranks {
    fn default() -> Self {
        Self::new(Arc::new(Alone))
    }
}

impl Ranks {
    /// Those of an engine.
    pub fn new(engine: Arc<dyn Communicator>) -> Self {
        Self { engine, order: SumOrder::Tree, nanoseconds: Arc::default() }
    }

    /// The same, adding up in this order.
    #[must_use]
    pub fn adding(self, order: SumOrder) -> Self {
        Self { order, ..self }
    }

    /// The engine.
    pub fn engine(&self) -> &dyn Communicator {
        self.engine.as_ref()
    }

    /// Which one this is.
    pub fn rank(&self) -> usize {
        self.engine.rank()
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.engine.size()
    }

    /// Whether there is one alone.
    pub fn is_alone(&self) -> bool {
        self.size() == 1
    }

    /// Whether this one writes files and speaks.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Time spent in exchanges and waiting for other ranks.
    pub fn spent(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// The parts of this rank, of so many.
    pub fn own(&self, parts: usize) -> Range<usize> {
        Tree::over(parts).of_rank(self.rank(), self.size())
    }

    pub(crate) fn timed<T>(&self, exchange: impl FnOnce() -> Result<T>) -> Result<T> {
        let begun = Instant::now();
        let out = exchange();
        self.nanoseconds.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        out
    }

    /// The sum over all parts of all ranks. `own` holds this one's nodes of the tree ([`crate::Growing::nodes`]) over its parts, those of
    /// [`Self::own`]; `zeros` makes the vector of a rank without any. Bits do not depend on the number of ranks unless
    /// [`SumOrder::Engine`] was asked for.
    ///
    /// Moves `2 (P - 1) / P` times the vector out of a rank and into it, where `P` is the number of ranks.
    ///
    /// # Errors
    /// candle's, the engine's.
    pub fn sum(
        &self,
        tree: Tree,
        mut own: Vec<ParamVec>,
        zeros: impl FnOnce() -> flat_core::Result<ParamVec>,
    ) -> Result<ParamVec> {
        if self.is_alone() {
            return own.pop().filter(|_| own.is_empty()).ok_or_else(|| Error::Sizes("a sum over no parts".into()));
        }
        if own.is_empty() {
            own.push(zeros()?);
        }
        let device = own[0].space().device;
        if !device.is_cpu() {
            return match self.engine.on_device(&device)? {
                None => self.through_host(tree, own, &device),
                Some(there) if self.order == SumOrder::Engine => self.timed(|| on_device::engine_sum(there, own)),
                Some(there) => self.timed(|| on_device::tree_sum((self.rank(), self.size()), there, tree, &own)),
            };
        }
        match self.order {
            SumOrder::Tree => self.timed(|| self.tree_sum(tree, own)),
            SumOrder::Engine => self.timed(|| self.engine_sum(own)),
        }
    }

    /// The sum of vectors on a device whose engine has no exchange there: they come to main memory for it.
    fn through_host(&self, tree: Tree, own: Vec<ParamVec>, device: &Device) -> Result<ParamVec> {
        let moved = |x: &ParamVec, to: &Device| -> Result<ParamVec> {
            let flat = x.as_tensor().to_device(to).map_err(flat_core::Error::from)?;
            Ok(ParamVec::from_tensor(x.layout().clone(), flat)?)
        };
        let own = own.iter().map(|x| moved(x, &Device::Cpu)).collect::<Result<_>>()?;
        moved(&self.sum(tree, own, || Err(flat_core::Error::BadParams("no node".into())))?, device)
    }

    fn engine_sum(&self, own: Vec<ParamVec>) -> Result<ParamVec> {
        let mut own = own.into_iter();
        let mut sum = own.next().ok_or_else(|| Error::Sizes("a sum over no parts".into()))?;
        own.try_for_each(|more| sum.add_scaled(1.0, &more))?;
        sum.lend(|x| self.engine.sum_in_any_order(x))??;
        Ok(sum)
    }

    /// Every rank adds up a piece of each block for all: pieces of all nodes go to their rank, and its sum comes back to all.
    fn tree_sum(&self, tree: Tree, mut own: Vec<ParamVec>) -> Result<ParamVec> {
        let nodes = |rank| tree.nodes(&tree.of_rank(rank, self.size()));
        let held: Vec<Vec<Range<usize>>> = (0..self.size()).map(nodes).collect();
        let rounds = held.iter().map(Vec::len).max().unwrap_or(0);
        let with_a_node = held[self.rank()].len();
        let mut scratch = Scratch { rounds: vec![Vec::new(); rounds] };
        for block in blocks(own[0].layout().len(), self.size()) {
            for round in 0..rounds {
                let gives = |rank: usize| round < held[rank].len();
                // a rank with fewer nodes gives nothing in the last rounds
                let x = &mut own[round.min(with_a_node.saturating_sub(1))];
                x.lend(|x| match x {
                    Lent::F32(x) => scratch.round(self, round, &x[block.clone()], gives),
                    Lent::F64(x) => scratch.round(self, round, &x[block.clone()], gives),
                })??;
            }
            own[0].lend(|x| match x {
                Lent::F32(x) => scratch.add_up(self, tree, &held, &mut x[block]),
                Lent::F64(x) => scratch.add_up(self, tree, &held, &mut x[block]),
            })??;
        }
        own.truncate(1);
        own.pop().ok_or_else(|| Error::Sizes("a sum over no parts".into()))
    }

    /// `each` numbers of every part, of all ranks, in the order of parts; `own` holds those of this rank's parts.
    ///
    /// # Errors
    /// Another number of numbers; the engine's.
    pub fn gather(&self, parts: usize, each: usize, own: &[f64]) -> Result<Vec<f64>> {
        let tree = Tree::over(parts);
        let range = |rank: usize| {
            let parts = tree.of_rank(rank, self.size());
            parts.start * each..parts.end * each
        };
        let mine = range(self.rank());
        if own.len() != mine.len() {
            return Err(Error::Sizes(format!(
                "{} numbers of {} parts, {each} each",
                own.len(),
                mine.len() / each.max(1)
            )));
        }
        let mut all = vec![0.0; parts * each];
        all[mine].copy_from_slice(own);
        if !self.is_alone() {
            let bytes: Vec<_> = (0..self.size()).map(|rank| in_bytes::<f64>(&range(rank))).collect();
            self.timed(|| self.engine.all_gather(bytemuck::cast_slice_mut(&mut all), &bytes))?;
        }
        Ok(all)
    }

    /// Waits until all ranks have come here, for as long as their work takes. An exchange after work of unknown length begins with
    /// it, since a rank that waits too long within an exchange ends all.
    ///
    /// # Errors
    /// The engine's.
    pub fn meet(&self) -> Result<()> {
        self.timed(|| self.engine.meet())
    }

    /// Whether any rank says so.
    ///
    /// # Errors
    /// The engine's.
    pub fn any(&self, own: bool) -> Result<bool> {
        Ok(self.gather(self.size(), 1, &[f64::from(u8::from(own))])?.iter().any(|flag| *flag > 0.0))
    }

    /// What the first rank says, on every rank.
    ///
    /// # Errors
    /// The engine's.
    pub fn tell(&self, own: Vec<u8>) -> Result<Vec<u8>> {
        if self.is_alone() {
            return Ok(own);
        }
        self.timed(|| {
            let mut length = (own.len() as u64).to_le_bytes();
            self.engine.broadcast(&mut length, 0)?;
            let mut bytes = own;
            bytes.resize(u64::from_le_bytes(length) as usize, 0);
            self.engine.broadcast(&mut bytes, 0)?;
            Ok(bytes)
        })
    }

    /// What every rank says, on all of them, in the order of ranks.
    ///
    /// # Errors
    /// The engine's.
    pub fn hear(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        let lengths = self.gather(self.size(), 1, &[own.len() as f64])?;
        let mut ends: Vec<usize> = vec![0];
        lengths.iter().for_each(|length| ends.push(ends[ends.len() - 1] + *length as usize));
        let parts: Vec<Range<usize>> = ends.windows(2).map(|ends| ends[0]..ends[1]).collect();
        let mut all = vec![0; ends[self.size()]];
        all[parts[self.rank()].clone()].copy_from_slice(own);
        if !self.is_alone() {
            self.timed(|| self.engine.all_gather(&mut all, &parts))?;
        }
        Ok(parts.into_iter().map(|part| all[part].to_vec()).collect())
    }

    /// The numbers of all ranks, one after another in the order of ranks; each gives as many as it has. What ranks found of consecutive
    /// [parts](Self::own) comes out in the order of parts.
    ///
    /// # Errors
    /// The engine's.
    pub fn join(&self, own: &[f64]) -> Result<Vec<f64>> {
        let said = self.hear(bytemuck::cast_slice(own))?;
        Ok(said.iter().flat_map(|bytes| bytemuck::pod_collect_to_vec::<u8, f64>(bytes)).collect())
    }

    /// Gives every rank the first one's numbers.
    ///
    /// # Errors
    /// The engine's.
    pub fn follow(&self, x: Lent<'_>) -> Result<()> {
        self.timed(|| match x {
            Lent::F32(x) => self.engine.broadcast(bytemuck::cast_slice_mut(x), 0),
            Lent::F64(x) => self.engine.broadcast(bytemuck::cast_slice_mut(x), 0),
        })
    }

    /// Makes sure that a number is the same on all ranks.
    ///
    /// # Errors
    /// [`Error::Differ`], which names the ranks that differ from the first; the engine's.
    pub fn agree(&self, what: &str, own: u64) -> Result<()> {
        let all = self.gather(self.size(), 1, &[f64::from_bits(own)])?;
        let differ: Vec<String> =
            (0..self.size()).filter(|&r| all[r].to_bits() != all[0].to_bits()).map(|r| r.to_string()).collect();
        match differ.is_empty() {
            true => Ok(()),
            false => Err(Error::Differ(format!("{what} of rank {} is not that of rank 0", differ.join(", ")))),
        }
    }
}

/// A range of numbers as one of bytes.
fn in_bytes<T>(range: &Range<usize>) -> Range<usize> {
    range.start * size_of::<T>()..range.end * size_of::<T>()
}

/// Numbers that are added up.
trait Real: bytemuck::Pod + std::ops::AddAssign {}
impl Real for f32 {}
impl Real for f64 {}

/// Pieces of the nodes of all ranks, that this one adds up: as bytes of rounds, in the order of ranks. The same for every block.
struct Scratch {
    rounds: Vec<Vec<u64>>,
}

impl Scratch {
    /// Gives the pieces of one node of every rank that has one to their ranks.
    fn round<T: Real>(&mut self, ranks: &Ranks, round: usize, x: &[T], gives: impl Fn(usize) -> bool) -> Result<()> {
        let (rank, size) = (ranks.rank(), ranks.size());
        let pieces = pieces(x.len(), size);
        let own = pieces[rank].len();
        let received = &mut self.rounds[round];
        received.resize((own * size * size_of::<T>()).div_ceil(size_of::<u64>()), 0);
        let empty = 0..0;
        // of the first round, this rank's own piece is added up where it is
        let moves = |from: usize, to: usize| gives(from) && (round > 0 || from != to);
        let to: Vec<_> =
            (0..size).map(|r| if moves(rank, r) { in_bytes::<T>(&pieces[r]) } else { empty.clone() }).collect();
        let from: Vec<_> = (0..size)
            .map(|r| if moves(r, rank) { in_bytes::<T>(&(r * own..(r + 1) * own)) } else { empty.clone() })
            .collect();
        ranks.engine.all_to_all(bytemuck::cast_slice(x), &to, bytemuck::cast_slice_mut(received), &from)
    }

    /// Adds the pieces up and gives the sum to all, in `x`.
    fn add_up<T: Real>(&mut self, ranks: &Ranks, tree: Tree, held: &[Vec<Range<usize>>], x: &mut [T]) -> Result<()> {
        let pieces = pieces(x.len(), ranks.size());
        let mine = pieces[ranks.rank()].clone();
        let nodes: Vec<Range<usize>> = held.iter().flatten().cloned().collect();
        // where the piece of each node is: its round, and its rank
        let places: Vec<(usize, usize)> = held
            .iter()
            .enumerate()
            .flat_map(|(rank, nodes)| (0..nodes.len()).map(move |round| (round, rank)))
            .collect();
        let mut pieces_of: Vec<Vec<Option<&mut [T]>>> = self
            .rounds
            .iter_mut()
            .map(|round| bytemuck::cast_slice_mut(&mut round[..]).chunks_mut(mine.len().max(1)).map(Some).collect())
            .collect();
        let take = |(round, rank): (usize, usize)| pieces_of[round].get_mut(rank).and_then(Option::take);
        let mut sums: Vec<Option<&mut [T]>> = places.into_iter().map(take).collect();
        // where the own piece is a summand, every sum that it goes into is put in its place: no copy is made
        let mut at = held[..ranks.rank()].iter().map(Vec::len).sum();
        let mut piece = Some(&mut x[mine]);
        if !held[ranks.rank()].is_empty() {
            sums[at] = piece.take();
        }
        tree.add_up(&nodes, |a, b| {
            let (mut to, mut of) = (sums[a].take(), sums[b].take());
            if at == b {
                at = a;
                std::mem::swap(&mut to, &mut of);
            }
            if let (Some(to), Some(of)) = (&mut to, of) {
                to.iter_mut().zip(of.iter()).for_each(|(to, of)| *to += *of);
            }
            sums[a] = to;
        });
        if let (Some(piece), Some(Some(sum))) = (piece, sums.first()) {
            piece.copy_from_slice(&sum[..piece.len()]);
        }
        let parts: Vec<_> = pieces.iter().map(in_bytes::<T>).collect();
        ranks.engine.all_gather(bytemuck::cast_slice_mut(x), &parts)
    }
}

/// Numbers of a block that a rank adds up. Fewer cost more messages, more leave the cache before they are added up and sent on.
const PIECE: usize = 1 << 17;

/// The blocks of a vector that are summed one after another.
fn blocks(len: usize, ranks: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(PIECE * ranks).map(move |start| start..(start + PIECE * ranks).min(len))
}

#[cfg(test)]
mod tests;
