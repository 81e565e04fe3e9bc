//! The binary interfaces of MPI: how each represents a handle, and the values of the constants that are used.

use super::library::{Opened, symbol_address};
use crate::Result;
use std::ffi::{c_int, c_void};

/// A handle that is a pointer: Open MPI's, and the standard's.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(super) struct Pointer(*mut c_void);

// SAFETY: the pointee is the library's; this program only hands the pointer back to the library.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

/// The representation of handles, and the constants, of one binary interface. Handles of communicators, types, operations and
/// requests have one representation in each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Constants<H> {
    pub world: H,
    pub byte: H,
    pub float: H,
    pub double: H,
    pub sum: H,
    /// To be overwritten by the library before it is read.
    pub request: H,
    /// The address that stands for a buffer which is both input and output.
    pub in_place: usize,
    /// The address that stands for statuses nobody reads.
    pub no_statuses: usize,
    /// The level of threads where one at a time calls.
    pub serialized: c_int,
}

/// Which interface a library has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abi {
    /// Handles are addresses of exported objects.
    OpenMpi,
    /// Handles are numbers of 32 bits: MPICH, Intel's MPI, MVAPICH, Cray's.
    Mpich,
    /// Handles are small constants, the same in every implementation of MPI 5.0.
    Standard,
}

impl Abi {
    /// That of a library, told by a symbol; libraries with two interfaces have a file for each.
    pub(super) fn of(library: &Opened) -> Self {
        if symbol_address(library, c"ompi_mpi_comm_world").is_ok() {
            Self::OpenMpi
        } else if library.name.contains("mpi_abi") && symbol_address(library, c"MPI_Abi_get_version").is_ok() {
            Self::Standard
        } else {
            Self::Mpich
        }
    }
}

/// Of `mpi.h` of Open MPI 4 and 5.
pub(super) fn open_mpi(library: &Opened) -> Result<Constants<Pointer>> {
    let object = |name| symbol_address(library, name).map(Pointer);
    Ok(Constants {
        world: object(c"ompi_mpi_comm_world")?,
        byte: object(c"ompi_mpi_byte")?,
        float: object(c"ompi_mpi_float")?,
        double: object(c"ompi_mpi_double")?,
        sum: object(c"ompi_mpi_op_sum")?,
        request: Pointer(std::ptr::null_mut()),
        in_place: 1,
        no_statuses: 0,
        serialized: 2,
    })
}

/// Of `mpi.h` of MPICH 3 to 5, which its kin share by the ABI initiative of 2013.
pub(super) const MPICH: Constants<c_int> = Constants {
    world: 0x4400_0000,
    byte: 0x4c00_010d,
    float: 0x4c00_040a,
    double: 0x4c00_080b,
    sum: 0x5800_0003,
    request: 0x2c00_0000,
    in_place: usize::MAX,
    no_statuses: 1,
    serialized: 2,
};

/// Of `mpi_abi.h` of MPI 5.0, chapter 20.
pub(super) const STANDARD: Constants<Pointer> = {
    const fn constant(value: usize) -> Pointer {
        Pointer(std::ptr::without_provenance_mut(value))
    }
    Constants {
        world: constant(0x101),
        byte: constant(0x247),
        float: constant(0x210),
        double: constant(0x214),
        sum: constant(0x21),
        request: constant(0x180),
        in_place: 1,
        no_statuses: 0,
        serialized: 2048,
    }
};
