//! What a failure on the way to a host is to those who speak with its agent.

use crate::host::wire::{HostError, Lost};
use crate::link::error::{Phase, SshError};

impl From<SshError> for HostError {
    fn from(error: SshError) -> HostError {
        let SshError { place, phase, what, cure } = &error;
        HostError::Connection(match phase {
            // It is away, as far as can be seen from here.
            Phase::Connect | Phase::Handshake | Phase::Channel => Lost::from(error.to_string()),
            Phase::Configuration | Phase::HostKey | Phase::Login | Phase::Bootstrap | Phase::Agent => {
                Lost { why: format!("{place}: {phase}: {what}"), cure: Some(cure.clone()) }
            }
        })
    }
}
