//! The controller's side of an agent: calls that wait for their answers, over a transport that is replaced when it is
//! lost. The only asynchronous floor of this room.

pub mod client;
pub mod pending;
pub mod piece;
pub mod stream;
pub mod telling;
pub mod transport;
