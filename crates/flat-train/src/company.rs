//! The other processes that a launcher (`mpirun`, `mpiexec`, `srun`) started with this one.

use crate::args::{Command, MpiChoice};
use crate::exit::{self, Outcome};
use anyhow::Result;
use flat_comm::launcher::Launcher;
use flat_comm::mpi::Mpi;
use flat_comm::{Communicator as _, Ranks};
use flat_run::ranks::AnotherFailed;
use flat_run::{BadFlag, Usage, usage};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// This process among those of its launcher.
pub(crate) struct Company {
    launcher: Option<Launcher>,
    mpi: Option<Arc<Mpi>>,
}

impl Company {
    /// What the launcher says; nothing is opened yet.
    pub(crate) fn of_environment() -> Self {
        Self { launcher: Launcher::of_environment(), mpi: None }
    }

    /// Threads that fall to this process; `None` where nobody launched it.
    pub(crate) fn threads(&self) -> Option<usize> {
        self.launcher.as_ref().map(flat_comm::threads_of_a_rank)
    }

    /// Opens the launcher's MPI and joins the other processes. A program that nobody launched is alone.
    ///
    /// # Errors
    /// `--mpi off` under a launcher; no MPI.
    pub(crate) fn join(&mut self, choice: MpiChoice, limit: f64) -> Result<Ranks> {
        let Some(launcher) = &self.launcher else { return Ok(Ranks::default()) };
        if choice == MpiChoice::Off {
            let kind = launcher.kind;
            let many = launcher.size.map_or("several".into(), |n| n.to_string());
            return Err(usage(format!(
                "--mpi off: {kind} started {many} processes, and each would do the same once more: start one, or leave out --mpi off"
            )));
        }
        let mpi = Mpi::begin(launcher, Duration::from_secs_f64(limit))?;
        self.mpi = Some(mpi.clone());
        #[cfg(feature = "nccl")]
        let mpi = Arc::new(flat_comm::nccl::Nccl::beside(mpi));
        Ok(Ranks::new(mpi))
    }

    /// Whether this process has a part in the command: most are the first one's alone.
    pub(crate) fn takes_part(ranks: &Ranks, command: &Command) -> bool {
        ranks.is_first() || command.is_shared_out()
    }

    /// Ends: with the others after work that went well, and all of them at once after an error.
    pub(crate) fn leave(self, result: Result<Outcome>) -> ExitCode {
        let Some(mpi) = self.mpi else { return exit::status(result) };
        // wrong usage is wrong on every rank
        let said = |e: &anyhow::Error| {
            e.chain().any(|c| c.is::<AnotherFailed>() || mpi.rank() > 0 && (c.is::<Usage>() || c.is::<BadFlag>()))
        };
        let silent = result.as_ref().is_err_and(said);
        let failed = result.is_err();
        let prefix = if mpi.rank() == 0 { String::new() } else { format!("rank {}: ", mpi.rank()) };
        let status = if silent { exit::SILENT } else { exit::status_of(result, &prefix) };
        if silent {
            // the rank that failed says why, and ends all
            std::thread::sleep(Duration::from_secs(5));
        }
        if failed {
            mpi.abort(status.into());
        }
        match mpi.finish() {
            Ok(()) => ExitCode::from(status),
            Err(e) => exit::status(Err(e.into())),
        }
    }
}
