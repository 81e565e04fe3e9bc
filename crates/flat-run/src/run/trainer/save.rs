//! What a run saves: checkpoints to go on from, and the weights that it hands out. Neither takes the place of a good one where
//! loading would refuse it.

use super::{Ended, Trainer};
use crate::settings::{own, pixels};
use crate::signal;
use crate::store::checkpoint::{self, AgentState, Checkpoint};
use anyhow::Result;
use candle_core::Tensor;
use flat_nn::TensorFile;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// Tensors by their names.
type State = BTreeMap<String, Tensor>;

/// Why a state is no checkpoint to go on from.
#[derive(Debug)]
pub(super) enum Fault {
    /// The step before it was skipped.
    Skipped,
    /// Reading would refuse it for this reason.
    Flaw(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Skipped => f.write_str("its loss or gradient was not finite"),
            Self::Flaw(flaw) => f.write_str(flaw),
        }
    }
}

impl Trainer<'_> {
    /// Stops here, with a checkpoint or with the one that is left.
    pub(super) fn stop(&mut self) -> Result<Ended> {
        if let Some(why) = self.save()? {
            let left = self.last_checkpoint_step.map_or("none".into(), |step| format!("that after step {step}"));
            self.bar = None;
            self.ui.warn(format!(
                "step {} gives no checkpoint: {why}; the last good one stays: {left}",
                self.progress.step
            ));
        }
        Ok(Ended::Interrupted)
    }

    /// Writes a checkpoint and deletes the oldest, unless nothing good could be gone on from here: where the last step was
    /// skipped and where the state is not finite, the checkpoints before stay as they are.
    pub(super) fn save(&mut self) -> Result<Option<Fault>> {
        self.read_steps()?;
        if self.last.as_ref().is_some_and(|report| report.skipped.is_some()) {
            return Ok(Some(Fault::Skipped));
        }
        self.follow_statistics()?;
        self.compare_ranks(1)?;
        self.progress.journal_bytes = self.journal.synced_length()?;
        self.progress.wall_s = self.wall();
        self.session_start = Instant::now();
        let (model, optimizer, agents) = self.state()?;
        let checkpoint = Checkpoint {
            model,
            optimizer,
            agents,
            progress: self.progress.clone(),
            fingerprint: Some(self.fingerprint.clone()),
            checked: false,
        };
        if let Some(flaw) = checkpoint.flaw()? {
            return Ok(Some(Fault::Flaw(flaw)));
        }
        if self.dir.is_own() {
            self.write(&checkpoint)?;
        }
        self.saved(self.progress.step);
        Ok(None)
    }

    fn write(&self, checkpoint: &Checkpoint) -> Result<()> {
        let (folder, step) = (self.dir.checkpoints(), self.progress.step);
        let (file, begun) = (checkpoint::file(&folder, step), Instant::now());
        checkpoint.write(&file)?;
        let (bytes, s) = (file.metadata().map_or(0, |file| file.len()), begun.elapsed().as_secs_f64());
        tracing::info!(step, file = %file.display(), bytes, s, "checkpoint written");
        checkpoint::prune(&folder, self.config.keep_checkpoints)?;
        if step > 0 {
            checkpoint::remove_first(&folder)?;
        }
        Ok(())
    }

    /// The model, the optimizer and the agents as a checkpoint has them.
    fn state(&mut self) -> Result<(State, State, Vec<AgentState>)> {
        let Some(agents) = &mut self.agents else {
            return Ok((self.model.state()?, self.optimizer.state()?, Vec::new()));
        };
        let (network, own) = agents.state(&self.model)?;
        agents.put_mean(&self.model)?;
        Ok((self.model.state()?, network, own))
    }

    /// The metadata of a weights file of the run, beside its model: normalisation of the pixels, names of the classes.
    ///
    /// # Errors
    /// None in practice.
    pub fn metadata(&self) -> Result<BTreeMap<String, String>> {
        let mut all = pixels::to_metadata(&pixels::of_run(self.config)?);
        all.extend(own::to_metadata(self.config));
        Ok(all)
    }

    /// Notes that the checkpoint after this step is the newest.
    pub(super) fn saved(&mut self, step: u64) {
        self.last_checkpoint_step = Some(step);
        let dir = self.dir.root().display();
        signal::leaves(format!("the checkpoint after step {step} is in {dir}, later steps are lost"));
    }

    /// Writes the weights that the run hands out; false, with no file, where they are not finite and so could not be read again.
    /// `None` where a signal asked to stop.
    ///
    /// # Errors
    /// The disk is full; candle's.
    pub fn save_model(&mut self, file: &Path) -> Result<Option<bool>> {
        self.with_final_weights(|t| {
            let good = TensorFile::not_finite(&t.model.state()?)?.is_none();
            if good && t.dir.is_own() {
                t.model.save(file, &t.metadata()?)?;
            }
            Ok(Some(good))
        })
    }
}
