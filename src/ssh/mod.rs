//! Hosts over SSH: from an address to an agent that answers.
//!
//! Reading order: [`agent`] with [`script`] and [`program`] (the program that is started there, over a
//! [`crate::link::connection`], and put there first), [`lend`] (a key for commands that ask an agent of SSH), [`pool`] (all
//! of it, shared by the whole process), [`lost`] (what a failure is to its users).
//!
//! This room gives [`crate::host::call::client::Client`]s and knows no operation, no run and no plan.

pub mod agent;
pub mod lend;
mod lost;
pub mod pool;
pub mod program;
pub mod script;
