//! How long a download waits for what.

use std::time::Duration;

/// The time-outs of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the name to resolve, the connection to stand and TLS to agree.
    pub connect: Duration,
    /// For the answer's status and headers, from there on.
    pub answer: Duration,
    /// A body that brings fewer than 1,024 bytes a second over this time has stalled.
    pub stall: Duration,
    /// For a file, with all redirects and further attempts.
    pub total: Duration,
    /// Before the second attempt where a fault may pass; four times that before the third.
    pub pause: Duration,
}

impl Default for Patience {
    /// 10 s to connect, 20 s for an answer, 20 s without bytes, two hours a file, pauses of 1 and 4 s.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(20),
            stall: Duration::from_secs(20),
            total: Duration::from_secs(7200),
            pause: Duration::from_secs(1),
        }
    }
}

/// More than anyone waits, and less than a clock counts.
const MAX: Duration = Duration::from_secs(100_000_000);

impl Patience {
    /// This long at most for a connection, for an answer and without bytes; `total` for a file.
    pub fn within(wait: Duration, total: Duration) -> Self {
        let default = Self::default();
        Self { connect: wait.min(default.connect), answer: wait, stall: wait, total, pause: wait.min(default.pause) }
    }

    /// With no time above what a clock can add.
    pub(super) fn bounded(self) -> Self {
        let Self { connect, answer, stall, total, pause } = self;
        let [connect, answer, stall, total, pause] = [connect, answer, stall, total, pause].map(|time| time.min(MAX));
        Self { connect, answer, stall, total, pause }
    }
}
