//! Names, addresses and connections, and whose fault it is when there is none: the target's (evidence) or the
//! prober's (no evidence, law 4).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Finding, span};

/// The end of one attempt: name resolution, connection and answer share it.
pub(super) struct Deadline {
    started: Instant,
    timeout: Duration,
}

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        Deadline { started: Instant::now(), timeout }
    }

    /// The future's value, or what `late` says, with the whole timeout in words.
    pub(super) async fn within<T>(
        &self,
        future: impl Future<Output = T>,
        late: impl FnOnce(String) -> Finding,
    ) -> Result<T, Finding> {
        tokio::time::timeout(self.left(), future).await.map_err(|_| late(span(self.timeout)))
    }

    pub(super) fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.started.elapsed())
    }

    pub(super) fn elapsed_ms(&self) -> u128 {
        self.started.elapsed().as_millis()
    }
}

/// `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPort {
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl FromStr for HostPort {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad =
            || format!("`{text}` is not an address: host:port is needed, such as db.example.com:5432 or [::1]:80");
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
        let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(inside) => inside.filter(|ip| ip.parse::<Ipv6Addr>().is_ok()).ok_or_else(bad)?,
            None if is_name(host) => host,
            None => return Err(bad()),
        };
        Ok(HostPort { host: host.to_owned(), port })
    }
}

fn is_name(host: &str) -> bool {
    (1..=253).contains(&host.len())
        && !host.starts_with(['-', '.'])
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The addresses behind a place. A name that does not resolve says nothing about the target.
pub(super) async fn resolve(place: &HostPort, deadline: &Deadline) -> Result<Vec<SocketAddr>, Finding> {
    if let Ok(ip) = place.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, place.port)]);
    }
    let late = |after| Finding::unsure(format!("the name {} was not resolved within {after}", place.host));
    let looked_up = tokio::net::lookup_host((place.host.as_str(), place.port));
    match deadline.within(looked_up, late).await? {
        Ok(found) => {
            let addresses: Vec<_> = found.collect();
            match addresses.is_empty() {
                true => Err(Finding::unsure(format!("the name {} has no address", place.host))),
                false => Ok(addresses),
            }
        }
        // The static build has no resolver; `localhost` means the same without one (RFC 6761).
        Err(_) if place.host.eq_ignore_ascii_case("localhost") => {
            let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            Ok(loopback.map(|ip| SocketAddr::new(ip, place.port)).to_vec())
        }
        Err(error) => Err(Finding::unsure(format!("the name {} does not resolve here: {error}", place.host))),
    }
}

/// Connects to the first address that answers. An address that swallows packets cannot take the time of the next.
pub(super) async fn connect(place: &HostPort, deadline: &Deadline) -> Result<TcpStream, Finding> {
    let addresses = resolve(place, deadline).await?;
    let mut last = Finding::fail(format!("no connection to {place} within {}", span(deadline.timeout)));
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match tokio::time::timeout(deadline.left() / left, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = refusal(place, &error),
            Err(_) => {}
        }
    }
    Err(last)
}

/// What an error of the operating system says, and about whom.
pub(super) fn refusal(place: &HostPort, error: &io::Error) -> Finding {
    use io::ErrorKind as Kind;
    let reason = match error.kind() {
        Kind::ConnectionRefused => "connection refused".to_owned(),
        Kind::ConnectionReset => "connection reset".to_owned(),
        Kind::ConnectionAborted => "connection aborted".to_owned(),
        Kind::TimedOut => "connection timed out".to_owned(),
        Kind::HostUnreachable => "host unreachable".to_owned(),
        Kind::BrokenPipe | Kind::UnexpectedEof => "connection closed".to_owned(),
        // No route, no free port, no free file descriptor: this machine cannot look.
        _ => return Finding::unsure(format!("no connection to {place} can be made from here: {error}")),
    };
    Finding::fail(format!("no connection to {place}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::observed::Verdict;

    #[test]
    fn places_have_a_grammar() {
        for good in ["127.0.0.1:80", "[::1]:443", "db.example.com:5432", "localhost:1"] {
            assert_eq!(good.parse::<HostPort>().unwrap().to_string(), good);
        }
        for bad in ["", "host", "host:", ":80", "host:0", "host:70000", "::1:80", "[::1:80", "[x]:80", "-x:1", "a b:1"]
        {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_prober_lacks_is_no_evidence_against_the_target() {
        let place: HostPort = "127.0.0.1:80".parse().unwrap();
        let of = |code| refusal(&place, &io::Error::from_raw_os_error(code)).verdict;
        assert_eq!([of(libc::ECONNREFUSED), of(libc::ECONNRESET), of(libc::ETIMEDOUT)], [Verdict::Fail; 3]);
        assert_eq!([of(libc::EMFILE), of(libc::ENETUNREACH), of(libc::EACCES)], [Verdict::Inconclusive; 3]);
    }
}
