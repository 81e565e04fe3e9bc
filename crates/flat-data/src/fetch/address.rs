//! Addresses that are asked: https alone, but for a server on the machine itself; and whom the token is for.

use std::net::IpAddr;

use ureq::http::Uri;

use crate::hub_fault::quoted;
use crate::{HubFault, Pinned, PinnedFile};

/// The hub.
const HUB: &str = "huggingface.co";

/// A URL that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address(Uri);

impl Address {
    /// Of a pinned file, at this endpoint or the hub.
    pub fn of(endpoint: Option<&str>, pinned: &Pinned, file: &PinnedFile) -> Result<Self, HubFault> {
        let hub = format!("https://{HUB}");
        let endpoint = endpoint.unwrap_or(&hub);
        let fault = |problem| HubFault::Endpoint { endpoint: quoted(endpoint), problem };
        let Pinned { owner, name, revision, .. } = pinned;
        let base = endpoint.trim_end_matches('/');
        if base.contains(['?', '#']) {
            return Err(fault("it has a query"));
        }
        let url = format!("{base}/datasets/{owner}/{name}/resolve/{revision}/{}", file.path);
        let address = Self::parse(&url).map_err(fault)?;
        match address.is_https() || address.is_loopback() {
            true => Ok(address),
            false => Err(fault("http is for this machine alone")),
        }
    }

    fn parse(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "it is no URL")?;
        match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => Err("it names a user"),
            (Some("http" | "https"), Some(authority))
                if authority.host() == authority.as_str() || uri.port().is_some() =>
            {
                Ok(Self(uri))
            }
            (Some("http" | "https"), Some(_)) => Err("its port is none"),
            _ => Err("it is no URL of http or https"),
        }
    }

    /// Where a redirect from here leads.
    pub fn redirected(&self, location: &str) -> Result<Self, HubFault> {
        let fault = |problem: &str| {
            let problem = format!("to {}: {problem}", quoted(location));
            HubFault::Redirect { host: self.host().into(), problem }
        };
        let location = location.split('#').next().unwrap_or_default();
        let (scheme, authority) = (self.0.scheme_str().unwrap_or_default(), self.0.authority());
        let authority = authority.map_or("", |authority| authority.as_str());
        let has_scheme = location.split(['/', '?']).next().is_some_and(|first| first.contains(':'));
        let url = if has_scheme {
            location.to_string()
        } else if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else if location.starts_with('/') {
            format!("{scheme}://{authority}{location}")
        } else {
            let folder = self.0.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{scheme}://{authority}{folder}/{location}")
        };
        let next = Self::parse(&url).map_err(fault)?;
        // from http of this machine to the same; to anything else by https
        let allowed = next.is_https() || (next.is_loopback() && !self.is_https());
        if allowed { Ok(next) } else { Err(fault("https alone is followed")) }
    }

    pub fn uri(&self) -> &Uri {
        &self.0
    }

    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    /// Whether the user's token may go there: to the hub itself, encrypted.
    pub fn takes_token(&self) -> bool {
        self.is_https() && self.host().eq_ignore_ascii_case(HUB) && matches!(self.0.port_u16(), None | Some(443))
    }

    fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.host().trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pin::CIFAR10;

    fn at(endpoint: &str) -> Result<Address, HubFault> {
        Address::of(Some(endpoint), &CIFAR10, &CIFAR10.files[1])
    }

    #[test]
    fn the_hub_is_asked_for_the_pinned_commit() {
        let address = Address::of(None, &CIFAR10, &CIFAR10.files[1]).expect("the hub");
        let expected = "https://huggingface.co/datasets/uoft-cs/cifar10/resolve/\
                        0b2714987fa478483af9968de7c934580d0bb9a2/plain_text/test-00000-of-00001.parquet";
        assert_eq!(address.uri().to_string(), expected);
        assert!(at("https://mirror.example/hf/").expect("a mirror").uri().path().starts_with("/hf/datasets/"));
    }

    #[test]
    fn http_is_for_this_machine_alone() {
        for endpoint in ["http://127.0.0.1:80", "http://[::1]:8", "http://localhost", "https://mirror.example"] {
            assert!(at(endpoint).is_ok(), "{endpoint}");
        }
        for endpoint in [
            "http://mirror.example",
            "http://127.0.0.1.example",
            "http://localhost.example",
            "ftp://mirror.example",
            "file:///etc",
            "mirror.example",
            "",
            "https://user:secret@mirror.example",
            "https://mirror.example?x=",
            "https://",
            "http://[::1",
            "https://mirror.example:99999",
            "https://mirror.example:",
        ] {
            assert!(matches!(at(endpoint), Err(HubFault::Endpoint { .. })), "{endpoint}");
        }
    }

    #[test]
    fn redirects_lead_to_https_alone_or_from_this_machine_to_itself() {
        let hub = Address::of(None, &CIFAR10, &CIFAR10.files[0]).expect("the hub");
        let local = at("http://127.0.0.1:1234").expect("a test server");
        for (from, location, to) in [
            (&hub, "https://cdn.example/x?y=1#z", "https://cdn.example/x?y=1"),
            (&hub, "/x", "https://huggingface.co/x"),
            (&hub, "//cdn.example/x", "https://cdn.example/x"),
            (&local, "/x", "http://127.0.0.1:1234/x"),
            (&local, "http://127.0.0.1:4321/x", "http://127.0.0.1:4321/x"),
            (&local, "https://cdn.example/a:b", "https://cdn.example/a:b"),
        ] {
            assert_eq!(from.redirected(location).expect(location).uri().to_string(), to);
        }
        let beside = hub.redirected("other?x=a:b").expect("beside it");
        assert!(beside.uri().path().ends_with("/plain_text/other"), "{beside:?}");
        for (from, location) in [
            (&hub, "http://cdn.example/x"),
            (&hub, "http://127.0.0.1/x"),
            (&hub, "file:///etc/passwd"),
            (&hub, "data:text/plain,x"),
            (&hub, "https://user@cdn.example/"),
            (&hub, "https://"),
            (&local, "http://cdn.example/x"),
            (&local, "//cdn.example/x"),
            (&local, "gopher://127.0.0.1/x"),
        ] {
            assert!(matches!(from.redirected(location), Err(HubFault::Redirect { .. })), "{location}");
        }
    }

    #[test]
    fn the_token_is_for_the_hub_itself_and_encrypted() {
        let hub = Address::of(None, &CIFAR10, &CIFAR10.files[0]).expect("the hub");
        assert!(hub.takes_token() && hub.redirected("/elsewhere").expect("the same host").takes_token());
        for location in [
            "https://cdn.example/x",
            "https://huggingface.co.example/x",
            "https://huggingface.co:8443/x",
            "https://example/huggingface.co",
        ] {
            assert!(!hub.redirected(location).expect(location).takes_token(), "{location}");
        }
        for endpoint in ["http://127.0.0.1:1", "https://127.0.0.1:1", "https://mirror.example"] {
            assert!(!at(endpoint).expect(endpoint).takes_token(), "{endpoint}");
        }
    }
}
