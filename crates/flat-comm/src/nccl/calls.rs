//! The functions of NCCL that are used, of a library that is opened at run time.

use crate::{Error, Result};
use libloading::os::unix::{Library as Shared, RTLD_LOCAL, RTLD_NOW};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Mutex, PoisonError};

/// Names under which the library is looked for.
const NAMES: [&str; 2] = ["libnccl.so.2", "libnccl.so"];
/// Bytes of the number that the first rank makes and all join by.
pub(super) const UNIQUE_ID: usize = 128;
/// NCCL's number for a sum.
const SUM: c_int = 0;

/// A number that NCCL moves and adds up.
pub(super) trait Number {
    /// NCCL's number of the type.
    const KIND: c_int;
}

impl Number for f32 {
    const KIND: c_int = 7;
}

impl Number for f64 {
    const KIND: c_int = 8;
}

#[repr(C)]
#[derive(Clone, Copy)]
struct UniqueId([u8; UNIQUE_ID]);

/// `ncclComm_t`.
type Handle = *mut c_void;

/// Numbers on a device, and the stream on which they are moved.
#[derive(Clone, Copy)]
pub(super) struct Wire {
    pub address: u64,
    pub count: usize,
    pub kind: c_int,
    pub stream: *mut c_void,
}

struct Functions {
    get_unique_id: unsafe extern "C" fn(*mut UniqueId) -> c_int,
    comm_init_rank: unsafe extern "C" fn(*mut Handle, c_int, UniqueId, c_int) -> c_int,
    group_start: unsafe extern "C" fn() -> c_int,
    group_end: unsafe extern "C" fn() -> c_int,
    send: unsafe extern "C" fn(*const c_void, usize, c_int, c_int, Handle, *mut c_void) -> c_int,
    recv: unsafe extern "C" fn(*mut c_void, usize, c_int, c_int, Handle, *mut c_void) -> c_int,
    all_reduce: unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Handle, *mut c_void) -> c_int,
    error_string: unsafe extern "C" fn(c_int) -> *const c_char,
}

/// An open NCCL.
pub(super) struct Library {
    functions: Functions,
    /// Open as long as its functions are called.
    _shared: Shared,
}

impl Library {
    /// Opens it where the loader looks.
    ///
    /// # Errors
    /// [`Error::NoEngine`] where none opens.
    pub(super) fn open() -> Result<Self> {
        let mut faults = Vec::new();
        for name in NAMES {
            // SAFETY: the initialisers of NCCL set up the library alone.
            match unsafe { Shared::open(Some(name), RTLD_NOW | RTLD_LOCAL) } {
                Ok(shared) => {
                    // SAFETY: a library of this name has NCCL's functions with NCCL's signatures.
                    let functions = unsafe { Functions::of(&shared)? };
                    return Ok(Self { functions, _shared: shared });
                }
                Err(e) => faults.push(e.to_string()),
            }
        }
        Err(Error::NoEngine(format!(
            "no NCCL opens ({}): install libnccl2, or build without the feature nccl",
            faults.join("; ")
        )))
    }

    /// A number for the ranks to join by.
    ///
    /// # Errors
    /// What NCCL reports.
    pub(super) fn unique_id(&self) -> Result<[u8; UNIQUE_ID]> {
        let mut id = UniqueId([0; UNIQUE_ID]);
        // SAFETY: it writes the bytes of an id.
        self.said("ncclGetUniqueId", unsafe { (self.functions.get_unique_id)(&raw mut id) })?;
        Ok(id.0)
    }

    fn said(&self, call: &'static str, code: c_int) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: NCCL gives a constant text, ended by 0, for any number.
        let what = unsafe { CStr::from_ptr((self.functions.error_string)(code)) }.to_string_lossy().into_owned();
        Err(fault(call, what))
    }
}

impl Functions {
    /// # Safety
    /// The library is NCCL.
    unsafe fn of(shared: &Shared) -> Result<Self> {
        macro_rules! function {
            ($name:literal) => {{
                // SAFETY: the field has NCCL's signature of the function; the caller keeps the library.
                let symbol = unsafe { shared.get($name) };
                *symbol.map_err(|_| {
                    Error::NoEngine(format!("NCCL lacks {}: install a newer one", $name.to_string_lossy()))
                })?
            }};
        }
        Ok(Self {
            get_unique_id: function!(c"ncclGetUniqueId"),
            comm_init_rank: function!(c"ncclCommInitRank"),
            group_start: function!(c"ncclGroupStart"),
            group_end: function!(c"ncclGroupEnd"),
            send: function!(c"ncclSend"),
            recv: function!(c"ncclRecv"),
            all_reduce: function!(c"ncclAllReduce"),
            error_string: function!(c"ncclGetErrorString"),
        })
    }
}

/// A communicator of NCCL. It is not destroyed before the process ends: that waits for ranks which may be gone.
pub(super) struct Calls {
    library: Library,
    handle: Handle,
    /// One thread at a time calls.
    turn: Mutex<()>,
}

// SAFETY: NCCL's communicator may be used by any thread, and `turn` lets one at a time.
unsafe impl Send for Calls {}
// SAFETY: as above.
unsafe impl Sync for Calls {}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NCCL")
    }
}

impl Calls {
    /// Joins the ranks with this id, on the device of the present thread.
    ///
    /// # Errors
    /// What NCCL reports.
    pub(super) fn begin(library: Library, id: [u8; UNIQUE_ID], rank: usize, size: usize) -> Result<Self> {
        let mut handle: Handle = std::ptr::null_mut();
        // SAFETY: it writes a handle; the id is that of the first rank.
        let code =
            unsafe { (library.functions.comm_init_rank)(&raw mut handle, size as c_int, UniqueId(id), rank as c_int) };
        library.said("ncclCommInitRank", code)?;
        Ok(Self { library, handle, turn: Mutex::new(()) })
    }

    /// Carries out messages all at once.
    ///
    /// # Errors
    /// Those of `messages`; what NCCL reports.
    pub(super) fn group(&self, messages: impl FnOnce() -> Result<()>) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let functions = &self.library.functions;
        // SAFETY: opens a group of calls of this thread, which the next call closes whatever happens between.
        self.library.said("ncclGroupStart", unsafe { (functions.group_start)() })?;
        let given = messages();
        // SAFETY: closes it.
        let ended = self.library.said("ncclGroupEnd", unsafe { (functions.group_end)() });
        given.and(ended)
    }

    /// Sends numbers to a rank, within a group.
    ///
    /// # Safety
    /// They lie on the communicator's device until the stream has come past.
    ///
    /// # Errors
    /// What NCCL reports.
    pub(super) unsafe fn send(&self, x: Wire, to: usize) -> Result<()> {
        let address = x.address as *const c_void;
        // SAFETY: the caller's.
        let code =
            unsafe { (self.library.functions.send)(address, x.count, x.kind, to as c_int, self.handle, x.stream) };
        self.library.said("ncclSend", code)
    }

    /// Receives numbers from a rank, within a group.
    ///
    /// # Safety
    /// There is room for them on the communicator's device, untouched by others until the stream has come past.
    ///
    /// # Errors
    /// What NCCL reports.
    pub(super) unsafe fn receive(&self, x: Wire, from: usize) -> Result<()> {
        let address = x.address as *mut c_void;
        // SAFETY: the caller's.
        let code =
            unsafe { (self.library.functions.recv)(address, x.count, x.kind, from as c_int, self.handle, x.stream) };
        self.library.said("ncclRecv", code)
    }

    /// Puts the sum over all ranks at another address.
    ///
    /// # Safety
    /// As for [`Self::send`] and [`Self::receive`].
    ///
    /// # Errors
    /// What NCCL reports.
    pub(super) unsafe fn sum(&self, x: Wire, to: u64) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, to) = (x.address as *const c_void, to as *mut c_void);
        // SAFETY: the caller's.
        let code =
            unsafe { (self.library.functions.all_reduce)(from, to, x.count, x.kind, SUM, self.handle, x.stream) };
        self.library.said("ncclAllReduce", code)
    }
}

/// What NCCL, or CUDA on its behalf, reports.
pub(super) fn fault(call: &'static str, what: String) -> Error {
    Error::Engine { engine: "NCCL".into(), call, what }
}
