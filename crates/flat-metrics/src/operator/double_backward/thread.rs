//! The thread on which backward passes keep their graphs.
//!
//! candle detaches the gradients it computes, unless `CANDLE_GRAD_DO_NOT_DETACH` is set in the environment. Every thread
//! reads the variable once, at its first backward pass. Training must not run with it (every graph would be kept), so
//! second-order work runs on one thread of its own, the only one that ever reads the variable as set.

use crate::{Error, Result};
use candle_core::{Device, Tensor, Var};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread::{self, ThreadId};

const SWITCH: &str = "CANDLE_GRAD_DO_NOT_DETACH";

/// Stack of the thread. candle walks and drops graphs recursively, and the graph of a gradient is deep. The pages are
/// only used as far as the recursion goes.
const STACK: usize = if cfg!(target_pointer_width = "64") { 256 << 20 } else { 16 << 20 };

type Job = Box<dyn FnOnce() + Send + 'static>;

static THREAD: OnceLock<DoubleBackwardThread> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

/// The one thread of the process whose backward passes keep their graphs, on which [`crate::DoubleBackwardHessian`]
/// works.
///
/// Starting it means setting an environment variable for a moment, which is sound only while no other thread of the
/// process can be reading the environment outside Rust's standard library. So call [`DoubleBackwardThread::start`] first thing in
/// `main`, before any thread exists; it lives as long as the process, idle and without cost until used.
#[derive(Debug)]
pub struct DoubleBackwardThread {
    jobs: mpsc::Sender<Job>,
    id: ThreadId,
}

impl DoubleBackwardThread {
    /// The thread, started if need be.
    ///
    /// It can be started when `CANDLE_GRAD_DO_NOT_DETACH` is set already (for the whole process: then every thread
    /// keeps its graphs), when the process has no other thread (Linux can tell), and on Windows, where changing the
    /// environment is always sound.
    ///
    /// # Errors
    /// [`Error::DoubleBackward`] otherwise, with the remedy.
    pub fn start() -> Result<&'static Self> {
        Self::start_if(|| {
            if switched_on() || cfg!(windows) || alone() {
                return Ok(());
            }
            Err(Error::DoubleBackward(format!(
                "its thread must be started while the process has no other: call DoubleBackwardThread::start() first thing in \
                 main, or run with {SWITCH}=1, or use TangentHessian, which needs no switch"
            )))
        })
    }

    /// The thread, started if need be, on the caller's word.
    ///
    /// # Safety
    /// While the call runs, no other thread may read or write the environment except through `std::env`: no C library
    /// that calls `getenv` at that time (a CUDA driver being initialised, a name lookup, a time zone conversion).
    ///
    /// # Errors
    /// The operating system refused a thread, or candle ignored the switch.
    pub unsafe fn start_unchecked() -> Result<&'static Self> {
        Self::start_if(|| Ok(()))
    }

    fn start_if(allowed: impl FnOnce() -> Result<()>) -> Result<&'static Self> {
        let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tape) = THREAD.get() {
            return Ok(tape);
        }
        allowed()?;
        let tape = if switched_on() {
            Self::spawn()
        } else {
            let before = std::env::var_os(SWITCH);
            // SAFETY: `allowed` (or, in `start_unchecked`, the caller) established that no other thread accesses the
            // environment except through `std::env`, which locks: this thread is the only one, or the platform is
            // Windows. The thread spawned in between reads it by `std::env::var` alone and has done so when `spawn`
            // returns. `STARTING` keeps two calls of this function apart.
            unsafe { std::env::set_var(SWITCH, "1") };
            let tape = Self::spawn();
            // SAFETY: as above; the new thread now waits for work and reads the environment no more.
            unsafe {
                match before {
                    Some(value) => std::env::set_var(SWITCH, value),
                    None => std::env::remove_var(SWITCH),
                }
            }
            tape
        }?;
        Ok(THREAD.get_or_init(|| tape))
    }

    fn spawn() -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::sync_channel(1);
        let handle = thread::Builder::new()
            .name("double-backward".into())
            .stack_size(STACK)
            .spawn(move || {
                let _ = tell.send(keeps_graphs());
                queue.into_iter().for_each(|job| job());
            })
            .map_err(|e| Error::DoubleBackward(format!("no thread could be started: {e}")))?;
        match told.recv() {
            Ok(Ok(true)) => Ok(Self { jobs, id: handle.thread().id() }),
            Ok(Ok(false)) => Err(Error::DoubleBackward(format!("this version of candle ignores {SWITCH}"))),
            Ok(Err(e)) => Err(e.into()),
            Err(_) => Err(Error::DoubleBackward("its thread ended before it was ready".into())),
        }
    }

    /// Runs `work` there and waits for the result; a panic in `work` goes on in the caller.
    ///
    /// # Errors
    /// [`Error::DoubleBackward`] if the thread has ended.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R> {
        if thread::current().id() == self.id {
            return Ok(work());
        }
        let (done, wait) = mpsc::sync_channel(1);
        let errand = Errand { work, done };
        let job: Box<dyn FnOnce() + Send + '_> = Box::new(move || errand.perform());
        // SAFETY: only the lifetime changes. This function returns, or unwinds, only after `wait.recv()` has: then
        // either `work` was called, and so consumed, before its result was sent, or the errand was dropped, `work`
        // first, then `done`, by the order of the fields. In both cases nothing borrowed is left in the other thread;
        // what it still drops is the sending half of a channel that owns its memory. Nothing between here and `recv`
        // panics; where `send` fails, the job comes back in the error and is dropped here.
        let job: Job = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Job>(job) };
        drop(self.jobs.send(job));
        match wait.recv() {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(Error::DoubleBackward("its thread has ended".into())),
        }
    }
}

/// Work and where its result goes. `work` must be dropped before `done`: keep the order of the fields.
struct Errand<W, R> {
    work: W,
    done: mpsc::SyncSender<std::result::Result<R, Box<dyn Any + Send>>>,
}

impl<R, W: FnOnce() -> R> Errand<W, R> {
    fn perform(self) {
        let Self { work, done } = self;
        let result = catch_unwind(AssertUnwindSafe(work));
        let _ = done.send(result);
    }
}

fn switched_on() -> bool {
    std::env::var(SWITCH).is_ok_and(|s| !s.is_empty() && s != "0")
}

/// Whether this thread is the only one of the process, as far as the system can tell.
fn alone() -> bool {
    cfg!(target_os = "linux") && std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// Whether the second derivative of x^3 at 3 comes out on this thread: 18. The first backward pass reads the switch.
fn keeps_graphs() -> candle_core::Result<bool> {
    let x = Var::from_tensor(&Tensor::new(3.0f64, &Device::Cpu)?)?;
    let first = (x.sqr()? * x.as_tensor())?.backward()?;
    let Some(slope) = first.get(x.as_tensor()) else { return Ok(false) };
    let second = slope.backward()?;
    match second.get(x.as_tensor()) {
        Some(curvature) => Ok(curvature.to_scalar::<f64>()? == 18.0),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_other_threads_the_safe_start_refuses_and_says_what_to_do() {
        if cfg!(windows) || switched_on() {
            return;
        }
        let (stop, wait) = mpsc::channel::<()>();
        let other = thread::spawn(move || wait.recv().is_ok());
        let message = DoubleBackwardThread::start().expect_err("there is another thread").to_string();
        assert!(message.contains("DoubleBackwardThread::start() first thing in main"), "{message}");
        assert!(stop.send(()).is_ok());
        assert!(other.join().is_ok());
    }
}
