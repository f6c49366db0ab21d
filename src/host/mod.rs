//! One host: the operations on a root, the agent that serves them over a byte stream, and the client that asks for them.
//!
//! Reading order: [`wire`] (what can be asked), [`ops`] (who does it), [`root`] and [`switch`] (the record and the link),
//! then [`agent`] with its [`worker`]s, then [`client`]. Operations are plain synchronous code; only the client is not.
//! This room knows no plan, no run and no policy: it does what it is told and says what is.

pub mod agent;
pub mod beneath;
mod blobs;
mod build;
pub mod client;
pub mod command;
pub mod contents;
pub mod convert;
pub mod drift;
pub mod envfile;
pub mod examine;
mod fetch;
pub mod frame;
mod hook;
mod link;
pub mod local;
mod lock;
pub mod observe;
pub mod ops;
mod pending;
mod people;
pub mod piece;
pub mod provision;
mod prune;
pub mod reattach;
pub mod root;
mod seal;
mod session;
mod siblings;
mod stage;
pub mod stamps;
pub mod switch;
pub mod token;
pub mod transport;
pub mod trial;
pub mod wire;
mod worker;
