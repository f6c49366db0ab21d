//! `kill -9` of the real program: of the controller, of its agent, of both, at every named place (law 5). After each
//! death the host is as the laws say, every command works and tells the truth, and the next `apply` gets to the end.

mod adopt;
pub mod chain;
mod lease;
pub mod points;
mod units;
