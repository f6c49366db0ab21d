//! Hosts on networks: each of them in a network namespace of its own, behind a cable that can be cut and a firewall that can
//! turn against us, or a whole Debian that was booted. What is lost where, the laws hold, the exit code and the message say
//! so, and the next `apply` gets to the end.

mod controllers;
mod debian;
mod hardships;
mod laravel;
mod machine;
mod matrix;
pub mod namespace;
pub mod net;
mod operations;
mod python;
mod tree;
mod units;
