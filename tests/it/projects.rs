//! Projects of services with the real program, real engines and a registry: from a commit of the state repository to containers,
//! and back.

mod commits;
mod deaths;
mod deploying;
mod engines;
mod platform;
mod ports;
mod publishing;
mod pulling;
mod registries;
mod taking;
