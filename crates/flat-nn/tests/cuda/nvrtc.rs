//! Every source compiles by nvrtc, with the options that a device's are compiled with.

use flat_core::{Number, Update, recurrence};
use flat_kernels::cuda::launch::{ALL, Real, Source};
use std::ffi::{CStr, CString, c_char, c_int, c_void};

unsafe extern "C" {
    fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

type Create = unsafe extern "C" fn(
    *mut *mut c_void,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(*mut c_void, c_int, *const *const c_char) -> c_int;
type Size = unsafe extern "C" fn(*mut c_void, *mut usize) -> c_int;
type Text = unsafe extern "C" fn(*mut c_void, *mut c_char) -> c_int;

/// The library that `FLAT_NVRTC` names, or the loader's.
fn library() -> Option<*mut c_void> {
    let names = match std::env::var("FLAT_NVRTC") {
        Ok(path) => vec![path],
        Err(_) => ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"].map(String::from).to_vec(),
    };
    names.iter().find_map(|name| {
        let name = CString::new(name.as_str()).ok()?;
        // SAFETY: a string; RTLD_NOW.
        let library = unsafe { dlopen(name.as_ptr(), 2) };
        (!library.is_null()).then_some(library)
    })
}

unsafe fn function<F>(library: *mut c_void, name: &CStr) -> F {
    // SAFETY: an open library; the caller knows the function's type.
    let found = unsafe { dlsym(library, name.as_ptr()) };
    assert!(!found.is_null(), "nvrtc has no {name:?}");
    assert_eq!(size_of::<F>(), size_of::<*mut c_void>());
    // SAFETY: both are pointers.
    unsafe { std::mem::transmute_copy(&found) }
}

/// The PTX of a source, or the compiler's log.
fn compile(library: *mut c_void, source: &Source) -> Result<String, String> {
    let (text, name) = (CString::new(&*source.text).expect("no zero"), CString::new(&*source.name).expect("no zero"));
    let option = CString::new("--fmad=false").expect("no zero");
    let options = [option.as_ptr()];
    let string = |size: &CStr, get: &CStr, program: *mut c_void| {
        let mut len = 0usize;
        // SAFETY: nvrtc's functions of these types, for a program that lives.
        unsafe {
            assert_eq!(function::<Size>(library, size)(program, &mut len), 0);
            let mut text = vec![0u8; len];
            assert_eq!(function::<Text>(library, get)(program, text.as_mut_ptr().cast()), 0);
            String::from_utf8_lossy(&text).trim_end_matches('\0').to_string()
        }
    };
    let mut program = std::ptr::null_mut();
    // SAFETY: nvrtc's functions of these types, strings that live.
    unsafe {
        let created = function::<Create>(library, c"nvrtcCreateProgram")(
            &mut program,
            text.as_ptr(),
            name.as_ptr(),
            0,
            std::ptr::null(),
            std::ptr::null(),
        );
        assert_eq!(created, 0);
        match function::<Compile>(library, c"nvrtcCompileProgram")(program, 1, options.as_ptr()) {
            0 => Ok(string(c"nvrtcGetPTXSize", c"nvrtcGetPTX", program)),
            _ => Err(string(c"nvrtcGetProgramLogSize", c"nvrtcGetProgramLog", program)),
        }
    }
}

/// Every operation of a number.
struct Everything;

impl Update<2, 2> for Everything {
    fn update<E: Number>(&self, w: E, [x, y]: [E; 2], [s, t]: [E; 2]) -> (E, [E; 2]) {
        let s = s * 0.5 + x * 0.25;
        let t = (t.clone() * t + 0.125) / 3.0;
        (w - s.clone() / (t.clone().sqrt() + 1.0) * y, [s, t])
    }
}

#[test]
fn nvrtc_compiles_every_kernel() {
    let Some(library) = library() else {
        assert!(std::env::var("FLAT_NVRTC").is_err(), "FLAT_NVRTC names no library that can be loaded");
        println!("skipped: no libnvrtc on the loader's path; FLAT_NVRTC may name one");
        return;
    };
    let generated = [Real::F32, Real::F64].map(|real| recurrence(&Everything).0.source(real));
    for source in ALL.iter().chain(&generated) {
        let ptx = compile(library, source).unwrap_or_else(|log| panic!("{}: {log}", source.name));
        // the macros that define kernels end in _##NAME
        let wanted = source.text.matches("extern \"C\" __global__").count();
        let defined = ptx.matches(".entry ").count();
        let twice = source.text.matches("_##NAME(").count();
        assert_eq!(defined, wanted + twice, "{}: kernels in the PTX", source.name);
        println!("{}: {defined} kernels, {} bytes of PTX", source.name, ptx.len());
    }
}

#[test]
fn a_source_with_an_error_is_rejected_with_its_line() {
    let Some(library) = library() else {
        println!("skipped: no libnvrtc");
        return;
    };
    let broken = Source { name: "broken".into(), text: "extern \"C\" __global__ void k() { nothing(); }".into() };
    let log = compile(library, &broken).expect_err("an undefined function");
    assert!(log.contains("nothing"), "{log}");
}
