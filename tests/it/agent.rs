//! The agent as a process: leases, fencing, `kill -9` at every step.

mod faults;
mod leases;
pub mod process;
mod reattach;
mod streams;
mod wire;
