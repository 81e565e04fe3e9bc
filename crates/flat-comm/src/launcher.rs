//! What a launcher (`mpirun`, `mpiexec`, `srun`) says in the environment of the processes that it starts.

use std::fmt;
use std::process::Command;

/// A family of launchers: it says which MPI belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LauncherKind {
    /// Open MPI's `mpirun`.
    OpenMpi,
    /// The launcher of MPICH and its kin, Intel's MPI among them.
    Mpich,
    /// Slurm's `srun`.
    Slurm,
    /// Another one that speaks PMIx.
    Pmix,
}

impl fmt::Display for LauncherKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenMpi => "mpirun of Open MPI",
            Self::Mpich => "mpiexec of MPICH",
            Self::Slurm => "srun",
            Self::Pmix => "a launcher with PMIx",
        })
    }
}

/// The place of this process among those that a launcher started, as its environment tells. Nothing of MPI is opened for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// Who started the process.
    pub kind: LauncherKind,
    /// How many processes were started, where the environment says so.
    pub size: Option<usize>,
    /// Which of them this is.
    pub rank: Option<usize>,
    /// Which of those on this machine this is: the number of its GPU.
    pub local_rank: Option<usize>,
    /// How many of them are on this machine.
    pub local_size: Option<usize>,
}

/// The variables of a kind of launcher, in the order of [`Launcher`]'s fields. The kind is that of the first line whose rank is there.
const LAUNCHERS: [(LauncherKind, [&str; 4]); 4] = [
    (
        LauncherKind::OpenMpi,
        ["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"],
    ),
    (LauncherKind::Mpich, ["PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"]),
    // of a step: a batch script has SLURM_NTASKS and SLURM_PROCID, too, and is one process all the same
    (LauncherKind::Slurm, ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID", ""]),
    (LauncherKind::Pmix, ["", "PMIX_RANK", "", ""]),
];

/// Beginnings of the names of variables by which an MPI finds its launcher.
const PREFIXES: [&str; 7] = ["OMPI_", "PMIX_", "PMI_", "MPI_LOCAL", "HYDI_", "SLURM_STEP", "PRTE_"];

impl Launcher {
    /// The launcher of this process, or `None` where nobody launched more than the process itself.
    pub fn of_environment() -> Option<Self> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// The launcher that variables tell of.
    fn read(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| variable(name).and_then(|text| text.trim().parse::<usize>().ok());
        let found = LAUNCHERS.iter().find_map(|(kind, [size, rank, local_rank, local_size])| {
            let rank = number(rank)?;
            // a step of Slurm's says its size; without one, its variables are those of a script
            let size = number(size);
            (size.is_some() || *kind != LauncherKind::Slurm).then(|| Self {
                kind: *kind,
                size,
                rank: Some(rank),
                local_rank: number(local_rank),
                local_size: number(local_size),
            })
        })?;
        (found.size != Some(1)).then_some(found)
    }

    /// Which of the GPUs that this process sees is its own. A launcher that shows each process one GPU leaves no choice; more processes
    /// than GPUs share them.
    pub fn own_gpu(&self, gpus: usize) -> usize {
        // without a place on its machine, ranks are taken to fill one machine after another
        self.local_rank.or(self.rank).unwrap_or(0) % gpus.max(1)
    }

    /// How many processes were started; two at least where the environment leaves it open.
    pub fn least_size(&self) -> usize {
        self.size.unwrap_or(2)
    }

    /// The variable that every rank has, and the launcher has not.
    pub(crate) fn rank_variable(&self) -> &'static str {
        let of = |kind: LauncherKind| LAUNCHERS.iter().find(|(k, _)| *k == kind).map_or("", |(_, [_, rank, ..])| rank);
        of(self.kind)
    }

    /// Takes the launcher's variables from a process that is to be started, which would believe itself to be this rank otherwise.
    pub fn hide_from(command: &mut Command) -> &mut Command {
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix))) {
                command.env_remove(name);
            }
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Option<Launcher> {
        Launcher::read(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_string()))
    }

    #[test]
    fn every_launcher_is_told_by_its_variables() {
        let open = [
            ("OMPI_COMM_WORLD_SIZE", "4"),
            ("OMPI_COMM_WORLD_RANK", "3"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
            ("PMIX_RANK", "3"),
            ("SLURM_NTASKS", "9"),
            ("SLURM_PROCID", "0"),
        ];
        let expected = Launcher {
            kind: LauncherKind::OpenMpi,
            size: Some(4),
            rank: Some(3),
            local_rank: Some(1),
            local_size: Some(2),
        };
        assert_eq!(read(&open), Some(expected));
        let mpich = [("PMI_SIZE", "2"), ("PMI_RANK", "1"), ("MPI_LOCALRANKID", "1"), ("MPI_LOCALNRANKS", "2")];
        assert!(
            read(&mpich).is_some_and(|l| (l.kind, l.size, l.local_size) == (LauncherKind::Mpich, Some(2), Some(2)))
        );
        let slurm = [("SLURM_STEP_NUM_TASKS", "8"), ("SLURM_PROCID", "5"), ("SLURM_LOCALID", "1")];
        assert!(
            read(&slurm).is_some_and(|l| (l.kind, l.rank, l.local_rank) == (LauncherKind::Slurm, Some(5), Some(1)))
        );
        let pmix = read(&[("PMIX_RANK", "0")]);
        assert!(pmix.is_some_and(|l| l.kind == LauncherKind::Pmix && l.least_size() == 2));
    }

    #[test]
    fn every_process_of_a_machine_has_a_gpu_of_its_own_as_far_as_they_go() {
        let of = |place: &str, gpus: usize| {
            let variables = [("SLURM_STEP_NUM_TASKS", "8"), ("SLURM_PROCID", "5"), ("SLURM_LOCALID", place)];
            read(&variables).map(|launcher| launcher.own_gpu(gpus))
        };
        assert_eq!([of("0", 4), of("1", 4), of("3", 4)], [Some(0), Some(1), Some(3)]);
        assert_eq!([of("1", 1), of("5", 4), of("2", 0)], [Some(0), Some(1), Some(0)]);
        let pmix = read(&[("PMIX_RANK", "3")]);
        assert_eq!(pmix.map(|launcher| launcher.own_gpu(2)), Some(1), "it says no place on the machine");
    }

    #[test]
    fn one_process_has_no_launcher_nor_has_a_batch_script() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("OMPI_COMM_WORLD_SIZE", "1"), ("OMPI_COMM_WORLD_RANK", "0")]), None);
        assert_eq!(read(&[("SLURM_NTASKS", "4"), ("SLURM_PROCID", "0")]), None, "sbatch without srun");
        assert_eq!(read(&[("OMPI_COMM_WORLD_RANK", "no number")]), None);
    }
}
