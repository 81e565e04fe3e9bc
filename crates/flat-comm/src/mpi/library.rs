//! The dynamic library of an MPI: where it is looked for, and its symbols.

use crate::launcher::{Launcher, LauncherKind};
use crate::{Error, Result};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::ffi::{CStr, c_void};
use std::path::{Path, PathBuf};

/// The variable that names the library, instead of those that are tried.
pub const LIBRARY_VARIABLE: &str = "FLAT_MPI_LIBRARY";

/// Names of the standard's interface, of Open MPI, and of MPICH and its kin.
const STANDARD: [&str; 3] = ["libmpi_abi.so.1", "libmpi_abi.so.0", "libmpi_abi.so"];
const OPEN_MPI: [&str; 2] = ["libmpi.so.40", "libmpi.40.dylib"];
const MPICH: [&str; 3] = ["libmpi.so.12", "libmpich.so.12", "libmpi.12.dylib"];

/// An open library.
pub(super) struct Opened {
    library: Library,
    /// What it was opened by.
    pub name: String,
}

impl Opened {
    /// The library that the environment names, or else the launcher's: beside it, or where the loader looks.
    ///
    /// # Errors
    /// [`Error::NoEngine`] where none opens.
    pub(super) fn find(launcher: &Launcher) -> Result<Self> {
        if let Some(given) = std::env::var_os(LIBRARY_VARIABLE) {
            let name = given.to_string_lossy().into_owned();
            return Self::open(&name).map_err(|why| Error::NoEngine(format!("{LIBRARY_VARIABLE}={name}: {why}")));
        }
        let names = names(launcher.kind);
        let beside = beside_launcher();
        let candidates = names.iter().flat_map(|name| {
            let beside = beside.iter().map(|folder| folder.join(name)).filter(|file| file.exists());
            beside.map(|file| file.to_string_lossy().into_owned()).collect::<Vec<_>>()
        });
        let mut faults = Vec::new();
        for name in candidates.chain(names.iter().map(ToString::to_string)) {
            match Self::open(&name) {
                Ok(opened) => return Ok(opened),
                Err(why) => faults.push(why),
            }
        }
        Err(Error::NoEngine(format!(
            "{} started this process, but no library of MPI opens ({}): install the launcher's, or name it by \
             {LIBRARY_VARIABLE}",
            launcher.kind,
            faults.join("; ")
        )))
    }

    fn open(name: &str) -> std::result::Result<Self, String> {
        // SAFETY: the initialisers of an MPI library set up the library alone. Its plugins need its symbols: RTLD_GLOBAL.
        unsafe { Library::open(Some(name), RTLD_NOW | RTLD_GLOBAL) }
            .map(|library| Self { library, name: name.into() })
            .map_err(|e| match std::error::Error::source(&e) {
                Some(why) => why.to_string(),
                None => e.to_string(),
            })
    }

    fn absent(&self, name: &CStr) -> Error {
        Error::NoEngine(format!(
            "{} has no {}: name another library of MPI by {LIBRARY_VARIABLE}",
            self.name,
            name.to_string_lossy()
        ))
    }
}

/// Which names are tried, in this order.
fn names(kind: LauncherKind) -> Vec<&'static str> {
    let (open, mpich, standard) = (&OPEN_MPI[..], &MPICH[..], &STANDARD[..]);
    // `srun --mpi=pmi2` sets PMI_RANK, and is MPICH's then
    let slurm_for_mpich = kind == LauncherKind::Slurm && std::env::var_os("PMI_RANK").is_some();
    match kind {
        LauncherKind::OpenMpi => [open, standard].concat(),
        LauncherKind::Mpich => [mpich, standard].concat(),
        LauncherKind::Slurm if slurm_for_mpich => [mpich, standard, open].concat(),
        LauncherKind::Slurm | LauncherKind::Pmix => [open, standard, mpich].concat(),
    }
}

/// The folder of libraries beside that of the program which started this one: a launcher out of a Python environment, or of a
/// folder in a home, has its own library there.
fn beside_launcher() -> Option<PathBuf> {
    let parent = std::os::unix::process::parent_id();
    let program = std::fs::read_link(format!("/proc/{parent}/exe")).ok()?;
    program.parent().and_then(Path::parent).map(|prefix| prefix.join("lib"))
}

/// The address of a symbol.
///
/// # Errors
/// [`Error::NoEngine`] where it is absent.
pub(super) fn symbol_address(library: &Opened, name: &CStr) -> Result<*mut c_void> {
    // SAFETY: only the address is taken, as a pointer to anything.
    let symbol = unsafe { library.library.get::<*mut c_void>(name) }.map_err(|_| library.absent(name))?;
    Ok(symbol.into_raw())
}

/// A function of the library.
///
/// # Safety
/// `F` is the type of a pointer to a function, with the signature that the symbol has; the library stays open while it is called.
///
/// # Errors
/// [`Error::NoEngine`] where it is absent.
pub(super) unsafe fn function<F: Copy>(library: &Opened, name: &CStr) -> Result<F> {
    // SAFETY: the caller's.
    let symbol = unsafe { library.library.get::<F>(name) }.map_err(|_| library.absent(name))?;
    Ok(*symbol)
}
