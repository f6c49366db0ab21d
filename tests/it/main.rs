//! One test binary, one module per room or subject: linking once keeps the test build short.
mod health;

mod adopt;
mod archives;
mod demo;
mod fetch;
mod formats;

mod agent;
mod host;
mod house;
mod isolation;
mod signatures;
mod state_files;
mod state_repo;

mod planner;
mod readme;
mod render;
mod secrets;
mod store;
mod support;

mod contract;
mod laws;
mod machine;

mod crash;
mod daemon;
mod doctor;
mod field;
mod network;
mod ssh;
mod trust;
mod untrusted;
