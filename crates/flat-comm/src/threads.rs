//! Ranks that are threads of one process: what several processes do, without an engine.

use crate::{Communicator, Error, Incoming, Lent, Outgoing, Result};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A rank that is a thread.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    table: Arc<Table>,
}

/// Where ranks lay down what others take up.
#[derive(Debug)]
struct Table {
    size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Messages by sender and receiver.
    queues: Vec<VecDeque<Vec<u8>>>,
    /// The exit code of the rank that ended all.
    aborted: Option<i32>,
}

/// Ends the others where a rank ends without having said that it is done.
struct Guard<'a>(&'a Threads, bool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.end_all(1);
        }
    }
}

impl Threads {
    /// Runs `work` as `size` ranks, and returns what they return, in their order. Where one fails or panics, the exchanges of the
    /// others fail with [`Error::Aborted`].
    ///
    /// # Panics
    /// Where a rank panics.
    pub fn run<T: Send, E: Send>(
        size: usize,
        work: impl Fn(Arc<dyn Communicator>) -> std::result::Result<T, E> + Sync,
    ) -> Vec<std::result::Result<T, E>> {
        let state = State { queues: (0..size * size).map(|_| VecDeque::new()).collect(), aborted: None };
        let table = Arc::new(Table { size, state: Mutex::new(state), changed: Condvar::new() });
        std::thread::scope(|scope| {
            let begin = |rank| {
                let (table, work) = (table.clone(), &work);
                scope.spawn(move || {
                    let own = Self { rank, table: table.clone() };
                    let mut guard = Guard(&own, false);
                    let out = work(Arc::new(Self { rank, table }));
                    guard.1 = out.is_ok();
                    out
                })
            };
            let ranks: Vec<_> = (0..size).map(begin).collect();
            ranks.into_iter().map(|rank| rank.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.table.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_all(&self, code: i32) {
        self.state().aborted.get_or_insert(code);
        self.table.changed.notify_all();
    }

    fn send(&self, to: usize, bytes: &[u8]) {
        self.state().queues[self.rank * self.table.size + to].push_back(bytes.to_vec());
        self.table.changed.notify_all();
    }

    fn receive(&self, from: usize, bytes: &mut [u8]) -> Result<()> {
        let mut state = self.state();
        loop {
            if let Some(message) = state.queues[from * self.table.size + self.rank].pop_front() {
                if message.len() != bytes.len() {
                    let text = format!("rank {from} sent {} bytes, {} were expected", message.len(), bytes.len());
                    return Err(Error::Differ(text));
                }
                bytes.copy_from_slice(&message);
                return Ok(());
            }
            if let Some(code) = state.aborted {
                return Err(Error::Aborted { code });
            }
            state = self.table.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Communicator for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.table.size
    }

    fn name(&self) -> String {
        "threads of one process".into()
    }

    fn all_to_all(&self, mine: &[u8], to: &[Range<usize>], theirs: &mut [u8], from: &[Range<usize>]) -> Result<()> {
        to.iter().enumerate().for_each(|(rank, part)| self.send(rank, &mine[part.clone()]));
        from.iter().enumerate().try_for_each(|(rank, part)| self.receive(rank, &mut theirs[part.clone()]))
    }

    fn all_gather(&self, all: &mut [u8], parts: &[Range<usize>]) -> Result<()> {
        let others = || (0..self.size()).filter(|&rank| rank != self.rank);
        others().for_each(|rank| self.send(rank, &all[parts[self.rank].clone()]));
        others().try_for_each(|rank| self.receive(rank, &mut all[parts[rank].clone()]))
    }

    fn broadcast(&self, bytes: &mut [u8], from: usize) -> Result<()> {
        if self.rank != from {
            return self.receive(from, bytes);
        }
        (0..self.size()).filter(|&rank| rank != from).for_each(|rank| self.send(rank, bytes));
        Ok(())
    }

    fn exchange(&self, out: &[Outgoing<'_>], into: &mut [Incoming<'_>]) -> Result<()> {
        out.iter().for_each(|message| self.send(message.to, message.bytes));
        into.iter_mut().try_for_each(|room| self.receive(room.from, room.bytes))
    }

    fn sum_in_any_order(&self, _: Lent<'_>) -> Result<()> {
        Err(Error::NoSum { engine: self.name() })
    }

    fn meet(&self) -> Result<()> {
        let each: Vec<Range<usize>> = (0..self.size()).map(|rank| rank..rank + 1).collect();
        self.all_gather(&mut vec![0; self.size()], &each)
    }

    fn abort(&self, code: i32) -> ! {
        self.end_all(code);
        std::panic::resume_unwind(Box::new(format!("rank {} ended all with exit code {code}", self.rank)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_in_their_order_and_a_rank_that_fails_ends_the_others() {
        let out = Threads::run(3, |comm| {
            let rank = comm.rank();
            let next = (rank + 1) % 3;
            let (mut first, mut second) = ([0u8; 2], [0u8]);
            let out = [Outgoing { to: next, bytes: &[rank as u8, 7] }, Outgoing { to: next, bytes: &[9] }];
            let from = (rank + 2) % 3;
            comm.exchange(&out, &mut [Incoming { from, bytes: &mut first }, Incoming { from, bytes: &mut second }])?;
            assert_eq!((first, second), ([from as u8, 7], [9]));
            if rank == 1 {
                return Err(Error::Sizes("found by rank 1 alone".into()));
            }
            comm.all_gather(&mut [0; 3], &[0..1, 1..2, 2..3])
        });
        assert!(matches!(out[1], Err(Error::Sizes(_))));
        assert!(matches!(out[0], Err(Error::Aborted { code: 1 })) && matches!(out[2], Err(Error::Aborted { .. })));
    }

    #[test]
    fn everybody_gets_what_is_theirs() {
        let out = Threads::run(4, |comm| {
            let rank = comm.rank();
            let mine: Vec<u8> = (0..4).map(|to| (10 * rank + to) as u8).collect();
            let each = [0..1, 1..2, 2..3, 3..4];
            let mut theirs = vec![0; 4];
            comm.all_to_all(&mine, &each, &mut theirs, &each)?;
            assert_eq!(theirs, (0..4).map(|from| (10 * from + rank) as u8).collect::<Vec<_>>());
            let mut all = vec![0; 4];
            all[rank] = rank as u8 + 1;
            comm.all_gather(&mut all, &each)?;
            let mut told = [if rank == 2 { 5 } else { 0 }];
            comm.broadcast(&mut told, 2)?;
            Ok::<_, Error>((all, told))
        });
        assert!(out.iter().all(|o| matches!(o, Ok((all, [5])) if *all == [1, 2, 3, 4])));
    }
}
