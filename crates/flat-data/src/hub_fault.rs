//! What a hub can do wrong, each with its remedy.

use std::time::Duration;

/// Why a file could not be had from the hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubFault {
    /// An address that is no place to ask.
    #[error("HF_ENDPOINT {endpoint:?}: {problem}; give https://HOST, or unset it for https://huggingface.co")]
    Endpoint {
        /// The address.
        endpoint: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Nobody is there.
    #[error("{host} cannot be reached: {reason}; check the network and its proxies, or name a mirror with HF_ENDPOINT")]
    Unreachable {
        /// The host asked.
        host: String,
        /// What the system says.
        reason: String,
    },
    /// The server does not prove who it is.
    #[error(
        "{host} does not prove who it is: {reason}; check the machine's clock and certificates, or whether a proxy stands between"
    )]
    Tls {
        /// The host asked.
        host: String,
        /// What the TLS client says.
        reason: String,
    },
    /// It took too long.
    #[error("{host} {what} within {}; try again later, wait longer with {flag}, or name a mirror with HF_ENDPOINT", seconds(*.after))]
    Timeout {
        /// The host asked.
        host: String,
        /// What did not happen.
        what: &'static str,
        /// The time given.
        after: Duration,
        /// The flag that gives more.
        flag: &'static str,
    },
    /// The server answers with a status that is no file.
    #[error("{host} answers with status {status}{}; {}", asked_to_wait(.retry_after), status_remedy(*.status))]
    Status {
        /// The host asked.
        host: String,
        /// The status.
        status: u16,
        /// The time after which it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The server sends the request to a place that is not asked.
    #[error("{host} redirects {problem}; nothing was fetched from there: name another mirror with HF_ENDPOINT")]
    Redirect {
        /// The host asked.
        host: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The answer is longer than the file.
    #[error("{host} sends {found}, where the file has {limit} bytes at most; name another mirror with HF_ENDPOINT")]
    TooLong {
        /// The host asked.
        host: String,
        /// What it sends.
        found: String,
        /// The most that are taken.
        limit: u64,
    },
    /// The answer ends before its announced end, or breaks off.
    #[error("the connection to {host} broke off after {bytes} bytes: {reason}; try again")]
    Broken {
        /// The host asked.
        host: String,
        /// What came before.
        bytes: u64,
        /// What the client says.
        reason: String,
    },
    /// The answer is no right answer to the request.
    #[error("{host} gives an answer that cannot be used: {reason}; name another mirror with HF_ENDPOINT")]
    Answer {
        /// The host asked.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is none that a data set is read from.
    #[error(
        "what came is not the known file: {reason}; it was deleted: name another mirror with HF_ENDPOINT, or a folder of your own with --data-dir"
    )]
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// The file is another one than is known.
    #[error(
        "what came is not the known file: {what} {found}, not {expected}; it was deleted: name another mirror with HF_ENDPOINT, or a folder of your own with --data-dir"
    )]
    Other {
        /// What was compared.
        what: &'static str,
        /// The sha256 of what came.
        found: String,
        /// The known sha256.
        expected: String,
    },
}

/// Longest text of a server or of the network that an error quotes, characters.
#[cfg(feature = "hub")]
const MAX_QUOTE: usize = 160;

impl HubFault {
    /// Whether it may pass: another request is worth its while.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Broken { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            Self::Endpoint { .. }
            | Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::Timeout { .. }
            | Self::Redirect { .. }
            | Self::TooLong { .. }
            | Self::Answer { .. }
            | Self::Unreadable { .. }
            | Self::Other { .. } => false,
        }
    }
}

/// Text from outside as an error shows it: short, and without what a terminal would obey.
#[cfg(feature = "hub")]
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(MAX_QUOTE).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_QUOTE).is_some() { shown + "..." } else { shown }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

fn asked_to_wait(retry_after: &Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |after| format!(" and wants to be asked again after {}", seconds(after)))
}

fn status_remedy(status: u16) -> &'static str {
    match status {
        401 | 403 => "it lets nobody in without leave: name another mirror with HF_ENDPOINT, or take a right HF_TOKEN",
        404 | 410 => "it does not have the file: name another mirror with HF_ENDPOINT",
        429 => "it is asked too often: try again later",
        500..=599 => "it has a trouble of its own: try again later, or name another mirror with HF_ENDPOINT",
        _ => "only 200 brings a file: name another mirror with HF_ENDPOINT",
    }
}

#[cfg(all(test, feature = "hub"))]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_short_and_obeyed_by_no_terminal() {
        assert_eq!(quoted("a\u{1b}[2Jb\n\0"), "a\\u{1b}[2Jb\\n\\0");
        assert!(quoted(&"x".repeat(100_000)).len() < 200);
    }
}
