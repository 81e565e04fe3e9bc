//! The cells of a study shared out among ranks.
//!
//! In every round the first rank asks the study which cells it still wants, as far as those that are known tell. Each rank then
//! asks the study itself, and computes those of the wanted cells that are its own. What they found is known in the next round.

use super::{Kept, Study, read};
use crate::provenance::Provenance;
use anyhow::{Result, bail};
use flat_optim::Ranks;
use flat_run::{ranks, signal};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What became of a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made<T> {
    /// All cells are there, and this is what they come to.
    Whole(T),
    /// All cells are there, and the first rank has what they come to.
    ByFirst,
    /// A signal asked to stop.
    Interrupted,
}

/// What a rank knows of the cells, and does about them.
pub(super) struct Share {
    known: BTreeMap<String, Kept>,
    /// Of those, what the other ranks have not heard of.
    news: BTreeMap<String, Kept>,
    pass: Pass,
    /// Whether a cell was given up.
    stopped: bool,
}

/// Why the study is asked.
enum Pass {
    /// To find out which cells it wants; those in its folder are read.
    Plan { wanted: Vec<String> },
    /// To compute these cells.
    Work { own: BTreeSet<String> },
}

/// What a rank tells the others.
#[derive(Serialize, Deserialize)]
struct News {
    /// Cells that it has read or computed.
    cells: BTreeMap<String, Kept>,
    /// Cells that it wants.
    wanted: Vec<String>,
    /// Whether a signal asked it to stop.
    stops: bool,
}

impl Share {
    /// That of this rank; `None` where it is alone.
    pub(super) fn of_this_rank() -> Option<Self> {
        let pass = Pass::Plan { wanted: Vec::new() };
        let begun = || Self { known: BTreeMap::new(), news: BTreeMap::new(), pass, stopped: false };
        (!ranks::here().is_alone()).then(begun)
    }

    /// A cell that the ranks know.
    pub(super) fn known(&self, key: &str) -> Option<&Kept> {
        self.known.get(key)
    }

    /// Whether this rank reads cells rather than computes them.
    pub(super) fn reads(&self) -> bool {
        matches!(self.pass, Pass::Plan { .. })
    }

    /// Whether this rank computes a cell that is not known.
    pub(super) fn takes(&mut self, key: &str) -> bool {
        match &mut self.pass {
            Pass::Plan { wanted } => {
                if !wanted.iter().any(|known| known == key) {
                    wanted.push(key.to_string());
                }
                false
            }
            Pass::Work { own } => own.remove(key),
        }
    }

    /// Notes that a signal ended the computation of a cell.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Keeps what this rank has read or computed.
    pub(super) fn note(&mut self, key: &str, kept: &Kept) {
        self.news.insert(key.to_string(), kept.clone());
        if self.reads() {
            self.known.insert(key.to_string(), kept.clone());
        }
    }

    /// What there is to tell after a pass.
    fn news(&mut self) -> Result<Vec<u8>> {
        let wanted = match &mut self.pass {
            Pass::Plan { wanted } => std::mem::take(wanted),
            // what was to be computed and was not
            Pass::Work { own } => std::mem::take(own).into_iter().collect(),
        };
        let news = News { cells: std::mem::take(&mut self.news), wanted, stops: self.stopped || signal::asked() };
        Ok(serde_json::to_vec(&news)?)
    }
}

/// Makes sure that a rank that is not the first sees the folder that the first has begun.
///
/// # Errors
/// Another disk.
pub(super) fn sees(root: &Path, whole: &Provenance) -> Result<()> {
    match read::<Provenance>(&root.join("study.json")) {
        Ok(found) if found == *whole => Ok(()),
        _ => bail!(
            "--out {}: this rank does not find there what the first one began; give all ranks the same flags, and a folder on a \
             disk that all see",
            root.display()
        ),
    }
}

impl Study<'_> {
    /// What `of` finds for each of the items, in their order; `None` where it found nothing for one of them. Items must not depend on
    /// one another: over ranks each is asked for, so that their cells are computed side by side.
    ///
    /// # Errors
    /// Those of `of`.
    pub(crate) fn all<I, T>(
        &mut self,
        items: impl IntoIterator<Item = I>,
        mut of: impl FnMut(&mut Self, I) -> Result<Option<T>>,
    ) -> Result<Option<Vec<T>>> {
        let mut all = Some(Vec::new());
        for item in items {
            match (of(self, item)?, &mut all) {
                (Some(found), Some(all)) => all.push(found),
                (Some(_), None) => {}
                (None, _) if self.share.is_none() => return Ok(None),
                (None, all) => *all = None,
            }
        }
        Ok(all)
    }

    /// Asks a study for what its cells come to; over ranks again and again, until all of them are known.
    ///
    /// # Errors
    /// Those of `ask`; a rank that is gone.
    pub(crate) fn make<T>(&mut self, mut ask: impl FnMut(&mut Self) -> Result<Option<T>>) -> Result<Made<T>> {
        let ranks = ranks::here();
        if self.share.is_none() {
            return Ok(ask(self)?.map_or(Made::Interrupted, Made::Whole));
        }
        loop {
            let (made, plan) = match ranks.is_first() {
                true => self.pass(Pass::Plan { wanted: Vec::new() }, &mut ask)?,
                false => (None, Vec::new()),
            };
            let plan = ranks.tell(plan)?;
            let (wanted, stops) = self.learn(&plan)?;
            if stops {
                return Ok(Made::Interrupted);
            }
            if wanted.is_empty() {
                return Ok(made.map_or(Made::ByFirst, Made::Whole));
            }
            let own = wanted.into_iter().skip(ranks.rank()).step_by(ranks.size()).collect();
            let (_, news) = self.pass(Pass::Work { own }, &mut ask)?;
            ranks.meet()?;
            let mut stopped = false;
            for (rank, news) in ranks.hear(&news)?.iter().enumerate() {
                let (left, stops) = self.learn(news)?;
                stopped |= stops;
                if let Some(key) = left.first().filter(|_| !stops) {
                    bail!("cell {key}: rank {rank} did not compute it");
                }
            }
            if stopped {
                return Ok(Made::Interrupted);
            }
        }
    }

    /// Asks once, counting cells anew; and what there is to tell of it.
    fn pass<T>(
        &mut self,
        pass: Pass,
        ask: &mut impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<(Option<T>, Vec<u8>)> {
        if let Some(share) = &mut self.share {
            share.pass = pass;
        }
        (self.planned, self.done, self.bar) = (0, 0, None);
        self.cells.rows.clear();
        // its settings and its cells are those of one process
        let made = ranks::with(Ranks::default(), || ask(self))?;
        self.bar = None;
        let news = self.share.as_mut().map(Share::news).transpose()?;
        Ok((made, news.unwrap_or_default()))
    }

    /// Takes up what a rank tells: which cells it wants, and whether it stops.
    fn learn(&mut self, news: &[u8]) -> Result<(Vec<String>, bool)> {
        let News { cells, wanted, stops } = serde_json::from_slice(news)?;
        self.share.iter_mut().for_each(|share| share.known.extend(cells.clone()));
        Ok((wanted, stops))
    }
}

#[cfg(test)]
mod tests;
