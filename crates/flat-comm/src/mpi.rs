//! MPI: the library is opened when the program runs, whichever it is.

mod abi;
mod calls;
mod library;

use crate::launcher::Launcher;
use crate::watchdog::{Watchdog, noted_step};
use crate::{Communicator, Error, Incoming, Lent, Outgoing, Result};
use abi::Abi;
use calls::{Calls, Wire};
pub use library::LIBRARY_VARIABLE;
use library::Opened;
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// The exit code of a job whose ranks waited too long.
const TIMED_OUT: i32 = 124;
/// The exit code of a program that panicked.
const PANICKED: i32 = 101;
/// How long an engine that was told to end all has for it.
const LAST_WORD: Duration = Duration::from_secs(5);

/// The ranks of an MPI. Begun once in a process, and ended by [`Mpi::finish`] after a clean run alone.
///
/// A rank that ends in another way ends all: by a panic, at whose hook MPI is told to; by an error, where [`Communicator::abort`] is the
/// caller's; by a value that is dropped without [`Mpi::finish`]; and by an exchange that takes longer than the time limit.
pub struct Mpi {
    wire: Arc<dyn Wire>,
    rank: usize,
    size: usize,
    name: String,
    /// One thread at a time calls.
    turn: Mutex<()>,
    watchdog: Watchdog,
    finished: AtomicBool,
}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {} ({})", self.rank, self.size, self.name)
    }
}

/// Whether a process has begun an MPI: the standard allows it once.
static BEGUN: AtomicBool = AtomicBool::new(false);

impl Mpi {
    /// Opens the launcher's MPI and joins the other ranks. An exchange of more than `limit` ends all ranks.
    ///
    /// # Errors
    /// [`Error::NoEngine`] where no library opens, or where it is not the launcher's; a second call; what MPI reports.
    pub fn begin(launcher: &Launcher, limit: Duration) -> Result<Arc<Self>> {
        if BEGUN.swap(true, Ordering::SeqCst) {
            return Err(Error::NoEngine("MPI can be begun once in a process".into()));
        }
        let library = Opened::find(launcher)?;
        let opened_by = library.name.clone();
        let wire: Arc<dyn Wire> = match Abi::of(&library) {
            Abi::OpenMpi => {
                let constants = abi::open_mpi(&library)?;
                // SAFETY: the library exports Open MPI's objects.
                Arc::new(unsafe { Calls::new(library, constants)? })
            }
            // SAFETY: the library has the name and the symbol of the standard's interface.
            Abi::Standard => Arc::new(unsafe { Calls::new(library, abi::STANDARD)? }),
            // SAFETY: a library of MPI without either of them is MPICH's kin.
            Abi::Mpich => Arc::new(unsafe { Calls::new(library, abi::MPICH)? }),
        };
        wire.init()?;
        let (rank, size) = (wire.rank()?, wire.size()?);
        let version = wire.version()?;
        let name = version.split([',', '\n']).next().unwrap_or_default().split_whitespace();
        let name = name.collect::<Vec<_>>().join(" ").replace("Version:", "");
        if let Some(started) = launcher.size.filter(|started| *started != size) {
            return Err(Error::NoEngine(format!(
                "{} started {started} processes, and {opened_by} ({name}) sees {size}: it is not the launcher's; name \
                 the launcher's library by {LIBRARY_VARIABLE}",
                launcher.kind
            )));
        }
        let bite = {
            let wire = wire.clone();
            move |what: &str, waited: Duration| {
                let seconds = waited.as_secs_f64();
                say(&format!(
                    "rank {rank} of {size} has waited {seconds:.0} s for other ranks in {what}, after step {}: a rank stands \
                     still or is gone; all end (--mpi-timeout)",
                    noted_step()
                ));
                end_all(&wire, TIMED_OUT)
            }
        };
        let no_thread = |e: std::io::Error| Error::NoEngine(format!("the watchdog cannot be started: {e}"));
        let watchdog = Watchdog::new(limit, bite).map_err(no_thread)?;
        end_all_on_panic(&wire, rank);
        Ok(Arc::new(Self { wire, rank, size, name, turn: Mutex::new(()), watchdog, finished: AtomicBool::new(false) }))
    }

    /// Leaves the other ranks, after a run that was clean on all: it waits for them to come here, too.
    ///
    /// # Errors
    /// What MPI reports.
    pub fn finish(&self) -> Result<()> {
        let _turn = self.turn();
        if self.finished.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        // a rank without a part in the command waits here for as long as that takes
        self.wire.finalize()
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does work of MPI, watched and in turn.
    fn exchange_of<T>(&self, what: &'static str, work: impl FnOnce(&dyn Wire) -> Result<T>) -> Result<T> {
        let _turn = self.turn();
        self.watchdog.over(what, || work(self.wire.as_ref()))
    }
}

/// Says it to whoever reads; that nobody does is no reason not to end.
fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "error: {text}"));
}

/// Ends all ranks. An engine that is in the middle of an exchange of another thread may never return.
fn end_all(wire: &Arc<dyn Wire>, code: i32) -> ! {
    let wire = wire.clone();
    let abort = std::thread::Builder::new().spawn(move || wire.abort(code));
    if abort.is_ok() {
        std::thread::sleep(LAST_WORD);
    }
    // a rank that ends without having left MPI makes the launcher end the others
    // SAFETY: ends the process, whatever other threads do.
    unsafe { libc::_exit(code) }
}

/// Makes a panic of any thread end all ranks, after what is done at panics already.
fn end_all_on_panic(wire: &Arc<dyn Wire>, rank: usize) {
    static WIRE: OnceLock<Arc<dyn Wire>> = OnceLock::new();
    let wire = WIRE.get_or_init(|| wire.clone());
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        say(&format!("rank {rank} panicked after step {}: all end", noted_step()));
        end_all(wire, PANICKED)
    }));
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn all_to_all(&self, mine: &[u8], to: &[Range<usize>], theirs: &mut [u8], from: &[Range<usize>]) -> Result<()> {
        // what a rank gives to itself needs no message
        let own = (to[self.rank].clone(), from[self.rank].clone());
        theirs[own.1].copy_from_slice(&mine[own.0]);
        // each rank begins with its neighbour, so that not all send to the first at once
        let others = || (1..self.size).map(|step| (self.rank + step) % self.size);
        let out: Vec<_> = others().map(|rank| (rank, &mine[to[rank].clone()])).filter(|(_, m)| !m.is_empty()).collect();
        let mut rooms = disjoint(theirs, from)?;
        let mut into: Vec<_> = others().filter_map(|rank| Some((rank, rooms[rank].take()?))).collect();
        self.exchange_of("an all-to-all of pieces", |wire| wire.messages(&out, &mut into))
    }

    fn all_gather(&self, all: &mut [u8], parts: &[Range<usize>]) -> Result<()> {
        self.exchange_of("an all-gather", |wire| wire.all_gather(all, parts))
    }

    fn broadcast(&self, bytes: &mut [u8], from: usize) -> Result<()> {
        self.exchange_of("a broadcast", |wire| wire.broadcast(bytes, from))
    }

    fn exchange(&self, out: &[Outgoing<'_>], into: &mut [Incoming<'_>]) -> Result<()> {
        let out: Vec<_> = out.iter().map(|message| (message.to, message.bytes)).collect();
        let mut into: Vec<_> = into.iter_mut().map(|room| (room.from, &mut *room.bytes)).collect();
        self.exchange_of("messages of neighbours", |wire| wire.messages(&out, &mut into))
    }

    fn sum_in_any_order(&self, x: Lent<'_>) -> Result<()> {
        self.exchange_of("the engine's sum", |wire| wire.sum(x))
    }

    fn meet(&self) -> Result<()> {
        let each: Vec<Range<usize>> = (0..self.size).map(|rank| rank..rank + 1).collect();
        let _turn = self.turn();
        self.wire.all_gather(&mut vec![0; self.size], &each)
    }

    fn abort(&self, code: i32) -> ! {
        end_all(&self.wire, code)
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if !self.finished.load(Ordering::SeqCst) {
            say(&format!("rank {} left before the end of its run: all end", self.rank));
            end_all(&self.wire, 1);
        }
    }
}

/// The parts of a buffer, each for writing; `None` where a part is empty.
///
/// # Errors
/// Parts that overlap or leave the buffer.
fn disjoint<'a>(buffer: &'a mut [u8], parts: &[Range<usize>]) -> Result<Vec<Option<&'a mut [u8]>>> {
    let mut order: Vec<usize> = (0..parts.len()).filter(|&part| !parts[part].is_empty()).collect();
    order.sort_by_key(|&part| parts[part].start);
    let mut out: Vec<Option<&mut [u8]>> = parts.iter().map(|_| None).collect();
    let (mut rest, mut at) = (buffer, 0);
    for part in order {
        let Range { start, end } = parts[part].clone();
        if start < at || end - at > rest.len() {
            return Err(Error::Sizes(format!("parts of a buffer overlap or leave it: {parts:?}")));
        }
        let (piece, more) = rest.split_at_mut(end - at);
        (out[part], rest, at) = (Some(&mut piece[start - at..]), more, end);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_buffer_are_given_out_once() {
        let mut buffer = [0, 1, 2, 3, 4, 5, 6];
        let parts = disjoint(&mut buffer, &[4..6, 0..0, 0..3]).expect("disjoint parts");
        assert_eq!(parts, [Some(&mut [4, 5][..]), None, Some(&mut [0, 1, 2][..])]);
        assert!(disjoint(&mut buffer, &[0..3, 2..4]).is_err());
        assert!(disjoint(&mut buffer, &[0..3, 6..8]).is_err());
    }
}
