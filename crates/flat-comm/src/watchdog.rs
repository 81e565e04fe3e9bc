//! A watchdog: a thread that notices when an exchange does not come to its end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The step that the process is in, which messages about a rank that waits name.
static STEP: AtomicU64 = AtomicU64::new(0);

/// Says in which step of training this process is, for the message of a watchdog.
pub fn note_step(step: u64) {
    STEP.store(step, Ordering::Relaxed);
}

/// The step that [`note_step`] said last.
pub fn noted_step() -> u64 {
    STEP.load(Ordering::Relaxed)
}

/// What is waited for, and since how many looks of the thread.
#[derive(Debug, Default)]
struct State {
    waiting: Mutex<Option<&'static str>>,
    /// One more with every exchange: a look at another number begins to count anew.
    exchanges: AtomicU64,
    over: AtomicBool,
}

/// Calls a function where an exchange takes longer than a time limit.
///
/// Time counts while the process runs: an hour in which the whole job was stopped, or the machine asleep, is none.
#[derive(Debug)]
pub struct Watchdog {
    state: Arc<State>,
}

impl Watchdog {
    /// Begins to watch. `bite` gets what is waited for, and how long.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub fn new(limit: Duration, bite: impl Fn(&str, Duration) + Send + 'static) -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let own = state.clone();
        let look = (limit / 20).clamp(Duration::from_millis(1), Duration::from_secs(1));
        thread::Builder::new().name("watchdog".into()).spawn(move || {
            let (mut waited, mut seen, mut last) = (Duration::ZERO, 0, Instant::now());
            while !own.over.load(Ordering::Relaxed) {
                thread::sleep(look);
                // a thread that was stopped, too, has looked once: what it did not see does not count
                let passed = last.elapsed().min(2 * look);
                last = Instant::now();
                let exchange = own.exchanges.load(Ordering::Acquire);
                let waiting = *own.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                match waiting {
                    Some(what) if exchange == seen => {
                        waited += passed;
                        if waited >= limit {
                            bite(what, waited);
                            waited = Duration::ZERO;
                        }
                    }
                    _ => waited = Duration::ZERO,
                }
                seen = exchange;
            }
        })?;
        Ok(Self { state })
    }

    /// Watches over what is done, which `what` describes.
    pub fn over<T>(&self, what: &'static str, work: impl FnOnce() -> T) -> T {
        self.state.exchanges.fetch_add(1, Ordering::Release);
        *self.state.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
        let out = work();
        *self.state.waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
        out
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_wait_beyond_the_limit_is_told_with_what_is_waited_for() -> std::io::Result<()> {
        let (tell, told) = channel();
        let dog = Watchdog::new(Duration::from_millis(50), move |what, waited| {
            drop(tell.send((what.to_string(), waited)));
        })?;
        let what = dog.over("the sum of rank 3", || told.recv_timeout(Duration::from_secs(20)));
        let Ok((what, waited)) = what else { panic!("no word of the watchdog") };
        assert_eq!(what, "the sum of rank 3");
        assert!(waited >= Duration::from_millis(50), "{waited:?}");
        Ok(())
    }

    #[test]
    fn many_short_waits_and_long_work_between_them_are_none() -> std::io::Result<()> {
        let (tell, told) = channel();
        let dog = Watchdog::new(Duration::from_millis(400), move |what, _| drop(tell.send(what.to_string())))?;
        for _ in 0..40 {
            dog.over("a short one", || thread::sleep(Duration::from_millis(15)));
        }
        thread::sleep(Duration::from_millis(600));
        assert!(told.try_recv().is_err(), "600 ms of short waits, and as long a work");
        Ok(())
    }
}
