//! The states of agents that lie on other ranks, brought to the first one.

use crate::store::checkpoint::AgentState;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use flat_comm::{Incoming, Outgoing, Ranks};
use std::collections::BTreeMap;

/// The states of all agents on the first rank, in their order; elsewhere those of its own, which begin with agent `first`. A state
/// crosses once.
///
/// # Errors
/// A rank that is gone; candle's.
pub fn on_first(ranks: &Ranks, first: usize, own: Vec<AgentState>) -> Result<Vec<AgentState>> {
    if ranks.is_alone() {
        return Ok(own);
    }
    let bytes = if ranks.is_first() { Vec::new() } else { written(first, &own)? };
    let lengths = ranks.gather(ranks.size(), 1, &[bytes.len() as f64])?;
    let mut rooms: Vec<(usize, Vec<u8>)> = match ranks.is_first() {
        true => (1..ranks.size()).map(|rank| (rank, vec![0; lengths[rank] as usize])).collect(),
        false => Vec::new(),
    };
    let mut into: Vec<Incoming<'_>> = rooms.iter_mut().map(|(rank, bytes)| Incoming { from: *rank, bytes }).collect();
    let out = [Outgoing { to: 0, bytes: &bytes }];
    ranks.engine().exchange(if ranks.is_first() { &[] } else { &out }, &mut into)?;
    let mut all: BTreeMap<usize, AgentState> = own.into_iter().enumerate().map(|(i, of)| (first + i, of)).collect();
    for (rank, bytes) in rooms {
        read(&bytes, &mut all).with_context(|| format!("the agents of rank {rank}"))?;
    }
    Ok(all.into_values().collect())
}

/// Parts of a state by letters.
const MODEL: &str = "m";
const OPTIMIZER: &str = "o";

fn written(first: usize, own: &[AgentState]) -> Result<Vec<u8>> {
    let named = |(i, of): (usize, &AgentState)| -> Vec<(String, Tensor)> {
        let part = |letter: &'static str, part: &BTreeMap<String, Tensor>| -> Vec<(String, Tensor)> {
            part.iter().map(|(name, tensor)| (format!("{}.{letter}.{name}", first + i), tensor.clone())).collect()
        };
        [part(MODEL, &of.model), part(OPTIMIZER, &of.optimizer)].concat()
    };
    let tensors: Vec<(String, Tensor)> = own.iter().enumerate().flat_map(named).collect();
    Ok(safetensors::serialize(tensors.iter().map(|(name, tensor)| (name, tensor)), None)?)
}

fn read(bytes: &[u8], all: &mut BTreeMap<usize, AgentState>) -> Result<()> {
    for (full, tensor) in candle_core::safetensors::load_buffer(bytes, &Device::Cpu)? {
        let mut words = full.splitn(3, '.');
        let (Some(Ok(agent)), Some(part), Some(name)) = (words.next().map(str::parse), words.next(), words.next())
        else {
            anyhow::bail!("`{full}` is nothing of an agent");
        };
        let of: &mut AgentState = all.entry(agent).or_default();
        let into = if part == MODEL { &mut of.model } else { &mut of.optimizer };
        into.insert(name.to_string(), tensor);
    }
    Ok(())
}
