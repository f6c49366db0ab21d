//! What went wrong on the way to a host: where, in which phase, why, and what cures it.

use std::fmt;

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// What the SSH configuration says about the host.
    Configuration,
    /// Its name, and the TCP connection (through its jump hosts).
    Connect,
    /// The key exchange.
    Handshake,
    /// Whether it is the host that is meant.
    HostKey,
    Login,
    /// A channel on a connection that stands.
    Channel,
    /// Putting the agent's binary there.
    Bootstrap,
    /// Starting the agent.
    Agent,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Configuration => "SSH configuration",
            Phase::Connect => "connect",
            Phase::Handshake => "SSH handshake",
            Phase::HostKey => "host key",
            Phase::Login => "login",
            Phase::Channel => "SSH channel",
            Phase::Bootstrap => "agent upload",
            Phase::Agent => "agent start",
        })
    }
}

/// What went wrong on the way to a host. The name that the state file has for the host is added by the caller, who knows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {phase}: {what}; {cure}")]
pub struct SshError {
    /// `user@address:port`.
    pub place: String,
    pub phase: Phase,
    pub what: String,
    /// What to do about it.
    pub cure: String,
}

impl SshError {
    /// All of it.
    pub fn new(place: impl fmt::Display, phase: Phase, what: impl Into<String>, cure: impl Into<String>) -> SshError {
        SshError { place: place.to_string(), phase, what: what.into(), cure: cure.into() }
    }
}

/// What a stranger wrote, fit for one line of an error: its end, without control characters.
pub fn quote(bytes: &[u8]) -> String {
    const LONGEST: usize = 600;
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text: String = lines.join(" | ").chars().map(|c| if c.is_control() { '.' } else { c }).collect();
    let skip = text.chars().count().saturating_sub(LONGEST);
    if skip == 0 { text } else { format!("…{}", text.chars().skip(skip).collect::<String>()) }
}
