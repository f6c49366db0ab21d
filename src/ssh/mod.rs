//! Hosts over SSH: from an address to an agent that answers.
//!
//! Reading order: [`endpoint`] and [`settings`] (where it is, who we are there), [`known_hosts`] with
//! [`host_certificate`] and [`gatekeeper`] (whether it is the one that is meant), [`dial`] (the stream to it), [`connection`]
//! with [`identity`] and [`keys`] (one login), [`exec`] (one command), [`agent`] with [`script`] and [`program`]
//! (the program that is started there, and put there first), [`pool`] (all of it, shared by the whole process).
//!
//! This room gives [`crate::host::call::client::Client`]s and knows no operation, no run and no plan. Each failure is an
//! [`error::SshError`]: place, phase, reason, cure.

pub mod agent;
pub mod connection;
pub mod dial;
pub mod endpoint;
pub mod error;
pub mod exec;
pub mod expired;
pub mod gatekeeper;
pub mod host_certificate;
pub mod identity;
pub mod keys;
pub mod known_hosts;
pub mod lend;
pub mod pool;
pub mod program;
pub mod script;
pub mod settings;
