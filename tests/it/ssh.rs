//! Hosts over SSH: the real program against real sshd processes of these tests' own, with keys, ports and homes of their
//! own. `fish` and `tcsh` stand in for login shells that are no POSIX shells.

mod agents;
mod certificates;
mod deploy;
mod exchanges;
mod expired;
mod host_fetch;
mod hostkeys;
mod logins;
mod proxies;
mod reattach;
pub mod server;
mod shells;
mod ways;
