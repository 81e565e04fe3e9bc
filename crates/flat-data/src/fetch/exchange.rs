//! One request and its answer, on a thread of its own that touches no file: whoever waits for it can stop at any time.

use std::io::{ErrorKind, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use ureq::http::{HeaderMap, Response, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Timeout};

use super::address::Address;
use super::patience::Patience;
use crate::HubFault;
use crate::hub_fault::quoted;

/// Bytes of a body that are handed on at a time.
const CHUNK: usize = 1 << 16;
/// Chunks that may wait to be taken.
const WAITING: usize = 4;
/// Longest status line and headers, bytes.
const MAX_HEAD: usize = 1 << 16;

/// Status and headers, as far as they are read: a name for a file is not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub status: u16,
    pub location: Option<String>,
    /// The announced length of the body.
    pub length: Option<u64>,
    /// A coding of the body other than none.
    pub encoding: Option<String>,
    pub retry_after: Option<Duration>,
}

/// A part of the answer.
#[derive(Debug)]
pub(super) enum Part {
    Head(Head),
    Bytes(Vec<u8>),
    End,
}

/// The parts of an answer in order, up to the end or the first fault.
pub(super) type Parts = Receiver<Result<Part, HubFault>>;

/// Sends the request; with `token` where the address may have it.
pub(super) fn start(address: &Address, token: Option<&str>, patience: Patience) -> Result<Parts, HubFault> {
    let (sender, parts) = sync_channel(WAITING);
    let (address, token) = (address.clone(), token.filter(|_| address.takes_token()).map(str::to_string));
    let host = address.host().to_string();
    let run = move || {
        if let Err(fault) = exchange(&address, token.as_deref(), patience, &sender) {
            // nobody listens where the fetch was given up
            let _ = sender.send(Err(fault));
        }
    };
    match thread::Builder::new().name("fetch".into()).spawn(run) {
        Ok(_) => Ok(parts),
        Err(error) => Err(HubFault::Unreachable { host, reason: error.to_string() }),
    }
}

fn exchange(
    address: &Address,
    token: Option<&str>,
    patience: Patience,
    to: &SyncSender<Result<Part, HubFault>>,
) -> Result<(), HubFault> {
    let mut bytes = 0;
    let fault = |error, bytes| fault(address, patience, bytes, error);
    let mut request = agent(address, patience).get(address.uri());
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = request.call().map_err(|error| fault(error, 0))?;
    let head = head(&response).map_err(|reason| HubFault::Answer { host: address.host().into(), reason })?;
    if to.send(Ok(Part::Head(head))).is_err() {
        return Ok(());
    }
    let mut body = response.into_body().into_reader();
    loop {
        let mut chunk = vec![0; CHUNK];
        match body.read(&mut chunk) {
            Ok(0) => {
                let _ = to.send(Ok(Part::End));
                return Ok(());
            }
            Ok(n) => {
                bytes += n as u64;
                chunk.truncate(n);
                if to.send(Ok(Part::Bytes(chunk))).is_err() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(fault(error.into(), bytes)),
        }
    }
}

/// Follows no redirect and inflates nothing; its time-outs end a thread that nobody listens to any more.
fn agent(address: &Address, patience: Patience) -> Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let mut config = Agent::config_builder()
        .tls_config(tls)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .max_response_header_size(MAX_HEAD)
        .max_idle_connections(0)
        .user_agent(concat!("flat-data/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_send_request(Some(patience.answer))
        .timeout_recv_response(Some(patience.answer))
        // whoever listens sees a stall at once; this is for a thread that nobody listens to
        .timeout_per_read(Some(2 * patience.stall))
        .timeout_global(Some(patience.total));
    if address.is_loopback() {
        config = config.proxy(None);
    }
    config.build().new_agent()
}

fn head(response: &Response<Body>) -> Result<Head, String> {
    let headers = response.headers();
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let encoding = text(header::CONTENT_ENCODING).filter(|coding| !coding.trim().eq_ignore_ascii_case("identity"));
    Ok(Head {
        status: response.status().as_u16(),
        location: text(header::LOCATION),
        length: length(headers)?,
        encoding,
        // a date is as good as nothing: three attempts wait for seconds
        retry_after: text(header::RETRY_AFTER).and_then(|after| after.trim().parse().ok()).map(Duration::from_secs),
    })
}

/// The one length that the headers announce.
fn length(headers: &HeaderMap) -> Result<Option<u64>, String> {
    let mut found = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let text = String::from_utf8_lossy(value.as_bytes());
        let length: u64 = text.trim().parse().map_err(|_| format!("a length of {}", quoted(&text)))?;
        if found.is_some_and(|other| other != length) {
            return Err("two lengths".into());
        }
        found = Some(length);
    }
    Ok(found)
}

/// What the client says, as a fault of the host.
fn fault(address: &Address, patience: Patience, bytes: u64, error: ureq::Error) -> HubFault {
    let host = address.host().to_string();
    let reason = quoted(&error.to_string());
    match error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => connect_timeout(host, patience),
        ureq::Error::Timeout(Timeout::Global) => total_timeout(host, patience),
        ureq::Error::Timeout(_) if bytes == 0 => answer_timeout(host, patience),
        ureq::Error::Timeout(_) => stall_timeout(host, patience),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => HubFault::Tls { host, reason },
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => HubFault::Broken { host, bytes, reason },
            // a handshake's
            ErrorKind::InvalidData => HubFault::Tls { host, reason },
            _ => HubFault::Unreachable { host, reason },
        },
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::InvalidProxyUrl => HubFault::Unreachable { host, reason },
        _ => HubFault::Answer { host, reason },
    }
}

pub(super) fn connect_timeout(host: String, patience: Patience) -> HubFault {
    HubFault::Timeout { host, what: "accepts no connection", after: patience.connect, flag: "--timeout" }
}

pub(super) fn answer_timeout(host: String, patience: Patience) -> HubFault {
    HubFault::Timeout { host, what: "does not answer", after: patience.answer, flag: "--timeout" }
}

pub(super) fn stall_timeout(host: String, patience: Patience) -> HubFault {
    HubFault::Timeout { host, what: "sends next to nothing", after: patience.stall, flag: "--timeout" }
}

pub(super) fn total_timeout(host: String, patience: Patience) -> HubFault {
    HubFault::Timeout { host, what: "does not send the file", after: patience.total, flag: "--max-time" }
}
