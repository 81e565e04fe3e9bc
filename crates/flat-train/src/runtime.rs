//! Settings of the process: what the allocator does with free pages, how long candle's helper thread spins, and threads.

use std::ffi::{c_int, c_long};

unsafe extern "C" {
    /// Of mimalloc, which the program's allocator links.
    fn mi_option_set(option: c_int, value: c_long);
}

/// `mi_option_purge_delay` of mimalloc's header.
const PURGE_DELAY: c_int = 15;

/// To be called first in `main`; what the environment sets already stays.
///
/// - Free pages stay with the process (`MIMALLOC_PURGE_DELAY=-1`). A step allocates and frees all its activations and
///   gradients; given back in between, their pages are faulted in and cleared again at every step.
/// - candle's helper thread sleeps as soon as it has nothing to do (`CANDLE_BARRIER_POOL_SPIN_LIMIT=1`). Otherwise it spins
///   for some time after every element-wise operation, on a core that the kernels of the layers need.
///
/// # Safety
/// No other thread may have been started: one could read the environment while it is written.
pub unsafe fn prepare() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: sets an integer in mimalloc's table of options, with an index of its header.
        unsafe { mi_option_set(PURGE_DELAY, -1) };
    }
    if std::env::var_os("CANDLE_BARRIER_POOL_SPIN_LIMIT").is_none() {
        // SAFETY: the caller's.
        unsafe { std::env::set_var("CANDLE_BARRIER_POOL_SPIN_LIMIT", "1") };
    }
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Threads that the thread pools of the process will have.
pub(crate) struct Threads {
    /// How many, where they are not as many as there are cores.
    pub number: Option<usize>,
    /// That fewer are started than were asked for.
    pub warning: Option<String>,
}

/// Variables that say the number of threads to the pools, the first of which counts.
const VARIABLES: [&str; 2] = ["RAYON_NUM_THREADS", "RAYON_RS_NUM_CPUS"];

impl Threads {
    /// As many as the flag `--threads` says, or else the environment, or else what falls to this of several processes, but not so many that their start takes longer than
    /// what they do: 4 a core, or 64. Results do not depend on it.
    ///
    /// # Safety
    /// No other thread may have been started: one could read the environment while it is written.
    pub(crate) unsafe fn set(flag: Option<u16>, share: Option<usize>) -> Self {
        let of = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok().filter(|n| *n > 0);
        let variable = VARIABLES.iter().find_map(|name| of(name).map(|n| (format!("{name}={n}"), n)));
        let asked = flag
            .map(|n| (format!("--threads {n}"), usize::from(n)))
            .or(variable)
            .or(share.map(|n| ("a share of the cores".into(), n)));
        let (cores, most) = (cores(), 64.max(4 * cores()));
        let warning = asked.as_ref().filter(|(_, n)| *n > most).map(|(name, _)| {
            format!("{name}: this machine has {cores} cores; {most} threads are started, as more would only cost time")
        });
        let number = asked.map(|(_, n)| n.min(most));
        if let Some(number) = number {
            // SAFETY: the caller's.
            unsafe { std::env::set_var(VARIABLES[0], number.to_string()) };
        }
        Self { number, warning }
    }

    /// Makes an event of it.
    pub(crate) fn tell(&self) {
        tracing::info!(threads = self.number.unwrap_or_else(cores), cores = cores(), "thread pools");
    }
}
