//! The functions of MPI that are used, over the type of a handle.

use super::abi::Constants;
use super::library::{Opened, function};
use crate::{Error, Lent, Result};
use std::ffi::{c_char, c_int, c_void};
use std::ops::Range;

/// Bytes of a message at most: counts are `int`s, and longer messages are cut.
const LONGEST: usize = 1 << 30;
/// The tag of all messages: two between the same ranks do not overtake one another.
const TAG: c_int = 0;

/// A message to send: to whom, and its bytes.
pub(super) type Send<'a> = (usize, &'a [u8]);
/// A message to receive: from whom, and where to.
pub(super) type Receive<'a> = (usize, &'a mut [u8]);

/// What [`super::Mpi`] asks of an MPI, whatever its handles are. One thread at a time may call.
pub(super) trait Wire: std::marker::Send + Sync {
    fn init(&self) -> Result<()>;
    fn rank(&self) -> Result<usize>;
    fn size(&self) -> Result<usize>;
    fn version(&self) -> Result<String>;
    fn messages(&self, out: &[Send<'_>], into: &mut [Receive<'_>]) -> Result<()>;
    fn all_gather(&self, all: &mut [u8], parts: &[Range<usize>]) -> Result<()>;
    fn broadcast(&self, bytes: &mut [u8], from: usize) -> Result<()>;
    fn sum(&self, x: Lent<'_>) -> Result<()>;
    fn abort(&self, code: i32);
    fn finalize(&self) -> Result<()>;
}

/// Declares the table of functions and how it is read from a library.
macro_rules! functions {
    ($($name:ident: $symbol:literal ($($argument:ty),*);)*) => {
        struct Functions<H> {
            $($name: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl<H: Copy> Functions<H> {
            /// # Safety
            /// `H` is how the library represents handles.
            unsafe fn of(library: &Opened) -> Result<Self> {
                // SAFETY: the signatures are those of the standard, with `H` for a handle; the caller keeps the library.
                Ok(Self { $($name: unsafe { function(library, $symbol)? },)* })
            }
        }
    };
}

functions! {
    init_thread: c"MPI_Init_thread" (*mut c_int, *mut *mut *mut c_char, c_int, *mut c_int);
    comm_rank: c"MPI_Comm_rank" (H, *mut c_int);
    comm_size: c"MPI_Comm_size" (H, *mut c_int);
    library_version: c"MPI_Get_library_version" (*mut c_char, *mut c_int);
    isend: c"MPI_Isend" (*const c_void, c_int, H, c_int, c_int, H, *mut H);
    irecv: c"MPI_Irecv" (*mut c_void, c_int, H, c_int, c_int, H, *mut H);
    waitall: c"MPI_Waitall" (c_int, *mut H, *mut c_void);
    allgatherv: c"MPI_Allgatherv" (*const c_void, c_int, H, *mut c_void, *const c_int, *const c_int, H, H);
    bcast: c"MPI_Bcast" (*mut c_void, c_int, H, c_int, H);
    allreduce: c"MPI_Allreduce" (*const c_void, *mut c_void, c_int, H, H, H);
    abort: c"MPI_Abort" (H, c_int);
    finalize: c"MPI_Finalize" ();
}

/// An MPI whose handles are `H`s.
pub(super) struct Calls<H> {
    functions: Functions<H>,
    constants: Constants<H>,
    name: String,
    /// Open as long as the functions are there. An MPI leaves threads and handlers behind, so that it is never closed.
    _library: std::mem::ManuallyDrop<Opened>,
}

impl<H: Copy> Calls<H> {
    /// # Safety
    /// `H` and `constants` are those of the library's binary interface.
    pub(super) unsafe fn new(library: Opened, constants: Constants<H>) -> Result<Self> {
        // SAFETY: the caller's; the library is kept for ever.
        let functions = unsafe { Functions::of(&library)? };
        let name = library.name.clone();
        Ok(Self { functions, constants, name, _library: std::mem::ManuallyDrop::new(library) })
    }

    /// An error of a call that did not return 0. By default MPI ends all ranks before it returns one.
    fn check(&self, call: &'static str, code: c_int) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        Err(Error::Engine { engine: self.name.clone(), call, what: format!("error {code}") })
    }

    fn in_place(&self) -> *const c_void {
        std::ptr::without_provenance(self.constants.in_place)
    }
}

/// A rank as MPI counts them; there are never more than fit.
fn int(n: usize) -> c_int {
    c_int::try_from(n).unwrap_or(c_int::MAX)
}

impl<H: Copy + std::marker::Send + Sync> Wire for Calls<H> {
    fn init(&self) -> Result<()> {
        let (mut provided, none) = (0, std::ptr::null_mut::<*mut *mut c_char>());
        // SAFETY: the standard allows no arguments; `provided` is written.
        let code =
            unsafe { (self.functions.init_thread)(none.cast(), none, self.constants.serialized, &raw mut provided) };
        self.check("MPI_Init_thread", code)?;
        if provided < self.constants.serialized {
            let what = "it allows calls from one thread alone; take a build with threads".into();
            return Err(Error::Engine { engine: self.name.clone(), call: "MPI_Init_thread", what });
        }
        Ok(())
    }

    fn rank(&self) -> Result<usize> {
        let mut rank = 0;
        // SAFETY: `rank` is written.
        self.check("MPI_Comm_rank", unsafe { (self.functions.comm_rank)(self.constants.world, &raw mut rank) })?;
        Ok(usize::try_from(rank).unwrap_or(0))
    }

    fn size(&self) -> Result<usize> {
        let mut size = 0;
        // SAFETY: `size` is written.
        self.check("MPI_Comm_size", unsafe { (self.functions.comm_size)(self.constants.world, &raw mut size) })?;
        Ok(usize::try_from(size).unwrap_or(1))
    }

    fn version(&self) -> Result<String> {
        // MPI_MAX_LIBRARY_VERSION_STRING is 8192 in MPICH, 256 in Open MPI
        let (mut text, mut length) = (vec![0u8; 1 << 14], 0);
        // SAFETY: no MPI writes more than 8192 bytes.
        let code = unsafe { (self.functions.library_version)(text.as_mut_ptr().cast(), &raw mut length) };
        self.check("MPI_Get_library_version", code)?;
        text.truncate(usize::try_from(length).unwrap_or(0));
        Ok(String::from_utf8_lossy(&text).trim_end_matches('\0').to_string())
    }

    fn messages(&self, out: &[Send<'_>], into: &mut [Receive<'_>]) -> Result<()> {
        let Constants { world, byte, request, .. } = self.constants;
        let mut requests = Vec::with_capacity(out.len() + into.len());
        // all rooms first, so that no message has to wait in a buffer of the library
        for (from, bytes) in into.iter_mut() {
            for piece in bytes.chunks_mut(LONGEST) {
                let mut made = request;
                let (at, count) = (piece.as_mut_ptr().cast(), int(piece.len()));
                // SAFETY: the piece is borrowed for writing until all requests are done below.
                let code = unsafe { (self.functions.irecv)(at, count, byte, int(*from), TAG, world, &raw mut made) };
                self.check("MPI_Irecv", code)?;
                requests.push(made);
            }
        }
        for (to, bytes) in out {
            for piece in bytes.chunks(LONGEST) {
                let mut made = request;
                let (at, count) = (piece.as_ptr().cast(), int(piece.len()));
                // SAFETY: the piece is borrowed until all requests are done below.
                let code = unsafe { (self.functions.isend)(at, count, byte, int(*to), TAG, world, &raw mut made) };
                self.check("MPI_Isend", code)?;
                requests.push(made);
            }
        }
        let statuses = std::ptr::without_provenance_mut(self.constants.no_statuses);
        // SAFETY: as many requests as the count says, each made above; nobody asks for statuses.
        let code = unsafe { (self.functions.waitall)(int(requests.len()), requests.as_mut_ptr(), statuses) };
        self.check("MPI_Waitall", code)
    }

    fn all_gather(&self, all: &mut [u8], parts: &[Range<usize>]) -> Result<()> {
        if c_int::try_from(all.len()).is_err() {
            // places are `int`s, too
            return parts.iter().enumerate().try_for_each(|(rank, part)| self.broadcast(&mut all[part.clone()], rank));
        }
        let (counts, places): (Vec<c_int>, Vec<c_int>) =
            parts.iter().map(|part| (int(part.len()), int(part.start))).unzip();
        let Constants { world, byte, .. } = self.constants;
        // SAFETY: the parts lie within `all`, which is borrowed for writing; counts and places are as many as there are ranks.
        let code = unsafe {
            (self.functions.allgatherv)(
                self.in_place(),
                0,
                byte,
                all.as_mut_ptr().cast(),
                counts.as_ptr(),
                places.as_ptr(),
                byte,
                world,
            )
        };
        self.check("MPI_Allgatherv", code)
    }

    fn broadcast(&self, bytes: &mut [u8], from: usize) -> Result<()> {
        let Constants { world, byte, .. } = self.constants;
        bytes.chunks_mut(LONGEST).try_for_each(|piece| {
            let (at, count) = (piece.as_mut_ptr().cast(), int(piece.len()));
            // SAFETY: the piece is borrowed for writing.
            self.check("MPI_Bcast", unsafe { (self.functions.bcast)(at, count, byte, int(from), world) })
        })
    }

    fn sum(&self, x: Lent<'_>) -> Result<()> {
        let Constants { world, float, double, sum, .. } = self.constants;
        let (at, len, size, kind) = match x {
            Lent::F32(x) => (x.as_mut_ptr().cast::<u8>(), x.len(), size_of::<f32>(), float),
            Lent::F64(x) => (x.as_mut_ptr().cast::<u8>(), x.len(), size_of::<f64>(), double),
        };
        let longest = LONGEST / size;
        (0..len).step_by(longest).try_for_each(|begin| {
            let count = int(longest.min(len - begin));
            // SAFETY: `begin + count` is at most the length of the slice, which is borrowed for writing.
            let code = unsafe {
                let at = at.add(begin * size).cast();
                (self.functions.allreduce)(self.in_place(), at, count, kind, sum, world)
            };
            self.check("MPI_Allreduce", code)
        })
    }

    fn abort(&self, code: i32) {
        // SAFETY: ends the process; where it returns, the caller ends it.
        unsafe { (self.functions.abort)(self.constants.world, code) };
    }

    fn finalize(&self) -> Result<()> {
        // SAFETY: called once, by the thread that has the only leave to call.
        self.check("MPI_Finalize", unsafe { (self.functions.finalize)() })
    }
}
