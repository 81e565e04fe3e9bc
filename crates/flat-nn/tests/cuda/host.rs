//! The kernels' sources compiled for the host, and launches carried out there.

use flat_kernels::cuda::launch::{BLOCK, Launch, Real, Source};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

unsafe extern "C" {
    fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *mut c_char;
}
const RTLD_NOW: c_int = 2;

/// Whether there is a compiler; where not, the reason is printed.
pub fn compiler() -> bool {
    let found = Command::new("g++").arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        println!("skipped: no g++ on the PATH to compile the kernels for the host with");
    }
    found
}

/// A handle of `dlopen`, and nothing that belongs to a thread.
#[derive(Clone, Copy)]
struct Library(*mut c_void);
// SAFETY: the loader's functions may be called from any thread.
unsafe impl Send for Library {}

fn symbol(library: Library, name: &str) -> *mut c_void {
    let name = CString::new(name).expect("a C name");
    // SAFETY: an open library and a string.
    let found = unsafe { dlsym(library.0, name.as_ptr()) };
    assert!(!found.is_null(), "no symbol {name:?}");
    found
}

/// Compiles a source with the host's threads, and opens it.
fn compile(source: &Source) -> Library {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (cpp, so): (PathBuf, PathBuf) = (dir.path().join("kernels.cpp"), dir.path().join("kernels.so"));
    std::fs::write(&cpp, format!("{}\n{}", include_str!("host.h"), source.text)).expect("a temporary file");
    // contraction is off as for nvrtc; optimised, because the loops are emulated thread by thread
    let flags = ["-x", "c++", "-std=c++17", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-w"];
    let run = Command::new("g++").args(flags).arg(&cpp).arg("-o").arg(&so).output().expect("g++");
    assert!(run.status.success(), "{}: {}", source.name, String::from_utf8_lossy(&run.stderr));
    let path = CString::new(so.to_str().expect("a UTF-8 path")).expect("a path");
    // SAFETY: a library without constructors; it stays open.
    let library = unsafe { dlopen(path.as_ptr(), RTLD_NOW) };
    // SAFETY: dlopen has just failed, so that there is a message.
    assert!(!library.is_null(), "{:?}", unsafe { CStr::from_ptr(dlerror()) });
    Library(library)
}

/// Carries out launches of a source's kernels, one after another.
///
/// # Safety
/// As of a launch on a device: the addresses must be those of what the kernels expect.
pub unsafe fn run(source: &Source, launches: &[Launch]) {
    static OPEN: Mutex<Option<HashMap<String, Library>>> = Mutex::new(None);
    // the threads of the host share their variables: one launch at a time
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let library = *open.get_or_insert_default().entry(source.name.to_string()).or_insert_with(|| compile(source));
    type FlatLaunch = unsafe extern "C" fn(*mut c_void, c_uint, c_uint, c_uint, *const u64) -> c_int;
    // SAFETY: the function of host.h.
    let flat_launch: FlatLaunch = unsafe { std::mem::transmute(symbol(library, "flat_launch")) };
    for launch in launches.iter().filter(|l| l.grid.iter().all(|n| *n > 0)) {
        let mut args = [0; 20];
        args[..launch.args.len()].copy_from_slice(&launch.args);
        let kernel = symbol(library, &launch.kernel);
        // SAFETY: the caller's.
        let diverged = unsafe { flat_launch(kernel, launch.grid[0], launch.grid[1], BLOCK, args.as_ptr()) };
        assert_eq!(diverged, 0, "{}: not all threads reach the same barriers", launch.kernel);
    }
}

/// f32 or f64 on the host.
pub trait Element: Copy + Default + candle_core::WithDType {
    const REAL: Real;
}
impl Element for f32 {
    const REAL: Real = Real::F32;
}
impl Element for f64 {
    const REAL: Real = Real::F64;
}

/// The address of elements that kernels read.
pub fn at<T>(x: &[T]) -> u64 {
    x.as_ptr() as u64
}

/// The address of elements that kernels write.
pub fn at_mut<T>(x: &mut [T]) -> u64 {
    x.as_mut_ptr() as u64
}

/// Fails where two slices differ by more than `tolerance` of the larger of 1 and the expected number.
pub fn assert_close<T: Element>(what: &str, found: &[T], expected: &[T], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        let (f, e) = (f.to_f64(), e.to_f64());
        assert!(
            (f.is_nan() && e.is_nan()) || (f - e).abs() <= tolerance * e.abs().max(1.0),
            "{what}: {f} instead of {e} at {i}"
        );
    }
}
