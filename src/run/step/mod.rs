//! One run: the dispatcher (the only writer of run state), the executor (a match on the step), what a step may ask of the
//! world, and the real world.

pub mod backup;
mod confirm;
pub mod dispatch;
pub mod executor;
pub mod judge;
mod parcel;
pub mod prune;
pub(in crate::run) mod pull;
mod push;
pub mod shelf;
pub mod site;
pub mod stop_request;
pub mod task;
mod transfer;
pub mod watch;
pub mod way_back;
pub mod world;
