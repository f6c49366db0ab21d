//! SSH, without what is said over it: from an address to a login, on the one machine that is meant.
//!
//! Reading order: [`endpoint`] and [`settings`] (where it is, who we are there), [`known_hosts`] with
//! [`host_certificate`] and [`gatekeeper`] (whether it is the one that is meant), [`dial`] (the stream to it), [`connection`]
//! with [`identity`] and [`keys`] (one login), [`way`] (through which others), [`exec`] (one command).
//!
//! This room knows no agent and no operation: hosts are reached over it (`ssh`), and targets of backups that speak SFTP
//! (`backup::target`). Each failure is an [`error::SshError`]: place, phase, reason, cure.

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
pub mod settings;
pub mod way;
