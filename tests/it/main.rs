//! One test binary, one module per room or subject: linking once keeps the test build short.
mod health;

mod adopt;
mod archives;
mod backups;
mod demo;
mod docs;
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
mod recipes;
mod render;
mod rendered;
mod sealed;
mod secrets;
mod store;
mod support;

mod contract;
mod laws;
mod machine;

mod compose;
mod crash;
mod daemon;
mod doctor;
mod field;
mod git;
mod laravel;
mod network;
mod projects;
mod pushed;
mod ssh;
mod targets;
mod trust;
mod untrusted;
