//! Sums of vectors that lie on a device, exchanged there.

use crate::tree::pieces;
use crate::{Error, Result, Tree};
use candle_core::{DType, Tensor};
use flat_core::ParamVec;
use std::ops::Range;

/// Exchanges of rows of numbers that lie on a device, without passing through main memory. Every call is collective.
pub trait OnDevice: Send + Sync {
    /// Sends rows of this type to other ranks, and receives rows of so many numbers from them, all at once; what was received, in the order of
    /// `into`. Two rows from one rank to another arrive in the order in which they are given.
    ///
    /// # Errors
    /// What the engine reports; candle's.
    fn exchange(&self, dtype: DType, out: &[(usize, Tensor)], into: &[(usize, usize)]) -> Result<Vec<Tensor>>;

    /// The sum of a row over all ranks, in the engine's own order, whose bits depend on the number of ranks.
    ///
    /// # Errors
    /// As [`Self::exchange`].
    fn sum_in_any_order(&self, row: &Tensor) -> Result<Tensor>;
}

/// The sum of the nodes of all ranks, with the bits that main memory gives: every rank adds up a piece of the vector in the order of
/// the tree, and gives its sum to all. This rank is one of `size`.
pub(crate) fn tree_sum(
    (rank, size): (usize, usize),
    engine: &dyn OnDevice,
    tree: Tree,
    own: &[ParamVec],
) -> Result<ParamVec> {
    let held: Vec<Vec<Range<usize>>> = (0..size).map(|rank| tree.nodes(&tree.of_rank(rank, size))).collect();
    let (nodes, layout, dtype) = (held.concat(), own[0].layout().clone(), own[0].space().dtype);
    let pieces = pieces(layout.len(), size);
    let mine = &pieces[rank];
    // each rank begins with its neighbour, so that not all send to the first at once
    let others = || (1..size).map(|step| (rank + step) % size);
    let mut out = Vec::new();
    for to in others().filter(|to| !pieces[*to].is_empty()) {
        for x in &own[..held[rank].len()] {
            out.push((to, piece(x, &pieces[to])?));
        }
    }
    let mut into = Vec::new();
    for from in others().filter(|_| !mine.is_empty()) {
        into.extend(held[from].iter().map(|_| (from, mine.len())));
    }
    let mut arrived = engine.exchange(dtype, &out, &into)?.into_iter();
    let mut whole: Vec<Option<Tensor>> = vec![None; size];
    if !mine.is_empty() {
        let mut of_rank: Vec<Vec<Tensor>> = vec![Vec::new(); size];
        of_rank[rank] = own[..held[rank].len()].iter().map(|x| piece(x, mine)).collect::<Result<_>>()?;
        others().for_each(|from| of_rank[from] = arrived.by_ref().take(held[from].len()).collect());
        whole[rank] = Some(added_up(tree, &nodes, of_rank.concat())?);
    }
    let out: Vec<_> = whole[rank].iter().flat_map(|sum| others().map(move |to| (to, sum.clone()))).collect();
    let senders: Vec<usize> = others().filter(|from| !pieces[*from].is_empty()).collect();
    let into: Vec<_> = senders.iter().map(|&from| (from, pieces[from].len())).collect();
    for (from, sum) in senders.into_iter().zip(engine.exchange(dtype, &out, &into)?) {
        whole[from] = Some(sum);
    }
    let sums: Vec<Tensor> = whole.into_iter().flatten().collect();
    Ok(ParamVec::from_tensor(layout, Tensor::cat(&sums, 0).map_err(flat_core::Error::from)?)?)
}

/// The sum of this rank's vectors over all ranks, in the engine's own order.
pub(crate) fn engine_sum(engine: &dyn OnDevice, own: Vec<ParamVec>) -> Result<ParamVec> {
    let mut own = own.into_iter();
    let mut sum = own.next().ok_or_else(|| Error::Sizes("a sum over no parts".into()))?;
    own.try_for_each(|more| sum.add_scaled(1.0, &more))?;
    Ok(ParamVec::from_tensor(sum.layout().clone(), engine.sum_in_any_order(sum.as_tensor())?)?)
}

/// A piece of a vector.
fn piece(x: &ParamVec, range: &Range<usize>) -> Result<Tensor> {
    Ok(x.as_tensor().narrow(0, range.start, range.len()).map_err(flat_core::Error::from)?)
}

/// The sum of pieces of the nodes, in the order of the tree.
fn added_up(tree: Tree, nodes: &[Range<usize>], pieces: Vec<Tensor>) -> Result<Tensor> {
    let mut values: Vec<Option<candle_core::Result<Tensor>>> =
        pieces.into_iter().map(|piece| Some(Ok(piece))).collect();
    tree.add_up(nodes, |a, b| {
        if let (Some(x), Some(y)) = (values[a].take(), values[b].take()) {
            values[a] = Some(x.and_then(|x| x + y?));
        }
    });
    let sum = values.into_iter().next().flatten().ok_or_else(|| Error::Sizes("a sum over no parts".into()))?;
    Ok(sum.map_err(flat_core::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Communicator, Growing, Incoming, Outgoing, Ranks, Threads};
    use candle_core::Device;
    use flat_core::{Layout, Purpose, Space, Streams};
    use std::sync::Arc;

    /// A device that is main memory, whose rows go as the bytes of another engine.
    struct Host(Arc<dyn Communicator>);

    impl Host {
        fn bytes(row: &Tensor) -> Vec<u8> {
            match row.dtype() {
                DType::F32 => bytemuck::cast_slice(&row.to_vec1::<f32>().expect("a row")).to_vec(),
                _ => bytemuck::cast_slice(&row.to_vec1::<f64>().expect("a row")).to_vec(),
            }
        }
    }

    impl OnDevice for Host {
        fn exchange(&self, dtype: DType, out: &[(usize, Tensor)], into: &[(usize, usize)]) -> Result<Vec<Tensor>> {
            assert!(out.iter().all(|(to, row)| *to != self.0.rank() && row.elem_count() > 0));
            let sent: Vec<(usize, Vec<u8>)> = out.iter().map(|(to, row)| (*to, Self::bytes(row))).collect();
            let mut rooms: Vec<Vec<u8>> = into.iter().map(|(_, len)| vec![0; len * dtype.size_in_bytes()]).collect();
            let outgoing: Vec<_> = sent.iter().map(|(to, bytes)| Outgoing { to: *to, bytes }).collect();
            let mut incoming: Vec<_> =
                into.iter().zip(&mut rooms).map(|((from, _), bytes)| Incoming { from: *from, bytes }).collect();
            self.0.exchange(&outgoing, &mut incoming)?;
            let row = |bytes: &Vec<u8>| match dtype {
                DType::F32 => Tensor::new(bytemuck::pod_collect_to_vec::<u8, f32>(bytes), &Device::Cpu),
                _ => Tensor::new(bytemuck::pod_collect_to_vec::<u8, f64>(bytes), &Device::Cpu),
            };
            Ok(rooms.iter().map(row).collect::<candle_core::Result<_>>().expect("rows"))
        }

        fn sum_in_any_order(&self, _: &Tensor) -> Result<Tensor> {
            Err(Error::NoSum { engine: "a test".into() })
        }
    }

    #[test]
    fn pieces_exchanged_on_a_device_add_up_to_the_bits_of_main_memory() -> Result<()> {
        for (parts, len, dtype) in [(8, 1000, DType::F32), (6, 37, DType::F64), (5, 3, DType::F32), (2, 64, DType::F32)]
        {
            let layout = Layout::new([("x".into(), len.into())])?;
            let space = Space { layout: Arc::new(layout), dtype, device: Device::Cpu };
            let nodes = |ranks: &Ranks| -> Result<Vec<ParamVec>> {
                let (tree, own) = (Tree::over(parts), ranks.own(parts));
                let mut growing = Growing::from(tree, own.start);
                for part in own {
                    let x = ParamVec::gaussian(&space, 1.0, &Streams::new(3).at(Purpose::Test, part as u64))?;
                    growing.push(x, |a, b| a.add_scaled(1.0, &b))?;
                }
                Ok(growing.nodes().collect())
            };
            let alone = Ranks::default();
            let expected = alone.sum(Tree::over(parts), nodes(&alone)?, || ParamVec::zeros(&space))?.to_f64()?;
            for size in [2, 3, 4, 8] {
                let found = Threads::run(size, |engine| {
                    let ranks = Ranks::new(engine.clone());
                    let mut own = nodes(&ranks)?;
                    if own.is_empty() {
                        own.push(ParamVec::zeros(&space)?);
                    }
                    tree_sum((ranks.rank(), size), &Host(engine), Tree::over(parts), &own)?
                        .to_f64()
                        .map_err(Error::from)
                });
                for found in found {
                    assert_eq!(found?, expected, "{parts} parts of {len} over {size} ranks");
                }
            }
        }
        Ok(())
    }
}
