//! A file from the hub: redirects, further attempts, and the limits of time and length.

use std::ops::ControlFlow;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::address::Address;
use super::exchange::{self, Head, Part, Parts};
use super::patience::Patience;
use super::staged::Staged;
use super::{FetchEvent, Transfer, Watch};
use crate::{Error, HubFault, Pinned, PinnedFile};

/// Redirects that are followed for a file.
const MAX_REDIRECTS: usize = 5;
/// Requests for a file, where faults may pass.
const ATTEMPTS: u32 = 3;
/// Longest wait that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);
/// Fewer bytes a second than this, over the time of [`Patience::stall`], are a stall.
const MIN_RATE: f64 = 1024.0;
/// How often whoever watches is asked whether to go on.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// A file to have, and from where.
pub(super) struct Download<'a> {
    pub endpoint: Option<&'a str>,
    pub token: Option<&'a str>,
    pub pinned: &'a Pinned,
    pub file: &'a PinnedFile,
    /// What the file is called where progress is told.
    pub name: &'a str,
    pub patience: Patience,
}

/// Why there is no file.
pub(super) enum Stop {
    /// The hub's fault.
    Fault(HubFault),
    /// An error of this machine, or whoever watches does not want to go on.
    Error(Box<Error>),
}

impl From<HubFault> for Stop {
    fn from(fault: HubFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(Box::new(error))
    }
}

impl Download<'_> {
    /// Writes the file to `staged`; what it holds is still to be checked.
    pub fn run(&self, staged: &mut Staged, watch: Watch) -> Result<(), Stop> {
        let end = Instant::now() + self.patience.total;
        let (mut pause, mut attempt) = (self.patience.pause, 1);
        loop {
            staged.restart()?;
            let fault = match self.attempt(staged, end, watch) {
                Err(Stop::Fault(fault)) if fault.may_pass() && attempt < ATTEMPTS => fault,
                result => return result,
            };
            let after = match &fault {
                HubFault::Status { retry_after: Some(after), .. } if *after > MAX_RETRY_AFTER => {
                    return Err(fault.into());
                }
                HubFault::Status { retry_after: Some(after), .. } => *after,
                _ => pause,
            };
            if Instant::now() + after > end {
                return Err(fault.into());
            }
            tracing::info!(file = self.name, attempt, %fault, ?after, "the hub is asked once more");
            go_on(watch(FetchEvent::Again { fault: &fault, after }))?;
            let until = Instant::now() + after;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                self.tell(0, None, watch)?;
                std::thread::sleep(left.min(TICK));
            }
            (pause, attempt) = (4 * pause, attempt + 1);
        }
    }

    /// Follows redirects to the file, and takes it.
    fn attempt(&self, staged: &mut Staged, end: Instant, watch: Watch) -> Result<(), Stop> {
        let mut at = Address::of(self.endpoint, self.pinned, self.file)?;
        for _ in 0..=MAX_REDIRECTS {
            tracing::debug!(
                file = self.name,
                host = at.host(),
                token = self.token.is_some() && at.takes_token(),
                "request"
            );
            let parts = exchange::start(&at, self.token, self.patience)?;
            let head = self.head(&at, &parts, end, watch)?;
            let host = at.host().to_string();
            tracing::debug!(file = self.name, host, status = head.status, bytes = head.length, "answer");
            at = match (head.status, &head.location) {
                (200, _) => return self.body(&at, &head, &parts, staged, end, watch),
                (301 | 302 | 303 | 307 | 308, Some(location)) => at.redirected(location)?,
                (status, _) => return Err(HubFault::Status { host, status, retry_after: head.retry_after }.into()),
            };
        }
        let problem = format!("more than {MAX_REDIRECTS} times");
        Err(HubFault::Redirect { host: at.host().into(), problem }.into())
    }

    /// Status and headers.
    fn head(&self, at: &Address, parts: &Parts, end: Instant, watch: Watch) -> Result<Head, Stop> {
        let patience = self.patience;
        let until = Instant::now() + patience.connect + patience.answer;
        loop {
            match parts.recv_timeout(TICK) {
                Ok(Ok(Part::Head(head))) => return Ok(head),
                Ok(Ok(Part::Bytes(_) | Part::End)) => return Err(ended(at, 0, EARLY)),
                Ok(Err(fault)) => return Err(fault.into()),
                Err(RecvTimeoutError::Disconnected) => return Err(ended(at, 0, CLIENT)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.tell(0, None, watch)?;
            let host = at.host().to_string();
            match Instant::now() {
                now if now > end => return Err(exchange::total_timeout(host, patience).into()),
                now if now > until => return Err(exchange::answer_timeout(host, patience).into()),
                _ => {}
            }
        }
    }

    /// The bytes of the file.
    fn body(
        &self,
        at: &Address,
        head: &Head,
        parts: &Parts,
        staged: &mut Staged,
        end: Instant,
        watch: Watch,
    ) -> Result<(), Stop> {
        let (patience, limit) = (self.patience, self.file.limit);
        let host = || at.host().to_string();
        if let Some(coding) = &head.encoding {
            let reason = format!("a body in the coding {}, where none was asked for", crate::hub_fault::quoted(coding));
            return Err(HubFault::Answer { host: host(), reason }.into());
        }
        let too_long = |found| Stop::from(HubFault::TooLong { host: host(), found, limit });
        if let Some(length) = head.length.filter(|length| *length > limit) {
            return Err(too_long(format!("{length} bytes")));
        }
        let mut done = 0u64;
        let (mut since, mut before) = (Instant::now(), 0);
        loop {
            match parts.recv_timeout(TICK) {
                Ok(Ok(Part::Bytes(bytes))) => {
                    done += bytes.len() as u64;
                    if done > limit {
                        return Err(too_long("more".into()));
                    }
                    staged.write(&bytes)?;
                }
                Ok(Ok(Part::End)) => match head.length {
                    Some(length) if length != done => return Err(ended(at, done, EARLY)),
                    _ => return self.tell(done, Some(done), watch),
                },
                Ok(Ok(Part::Head(_))) | Err(RecvTimeoutError::Disconnected) => return Err(ended(at, done, CLIENT)),
                Ok(Err(fault)) => return Err(fault.into()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.tell(done, head.length, watch)?;
            let now = Instant::now();
            if now > end {
                return Err(exchange::total_timeout(host(), patience).into());
            }
            if now - since > patience.stall {
                if ((done - before) as f64) < MIN_RATE * (now - since).as_secs_f64() {
                    return Err(exchange::stall_timeout(host(), patience).into());
                }
                (since, before) = (now, done);
            }
        }
    }

    fn tell(&self, done: u64, total: Option<u64>, watch: Watch) -> Result<(), Stop> {
        let transfer = Transfer { file: self.name.to_string(), done, total: total.unwrap_or(0) };
        go_on(watch(FetchEvent::Transfer(&transfer))).map_err(Stop::from)
    }
}

/// The error of who does not want to go on.
pub(super) fn go_on(answer: ControlFlow<()>) -> Result<(), Error> {
    if answer.is_break() { Err(Error::Interrupted) } else { Ok(()) }
}

/// The answer is shorter than announced.
const EARLY: &str = "it ended early";
/// The client's thread is gone without a word.
const CLIENT: &str = "the client broke down";

fn ended(at: &Address, bytes: u64, reason: &str) -> Stop {
    HubFault::Broken { host: at.host().into(), bytes, reason: reason.into() }.into()
}
