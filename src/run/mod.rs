//! From a plan to effects: the dispatcher (the only writer of run state), the executor (a match on the step), one
//! reconciliation pass, and the daemon that repeats it.

pub mod adopt;
pub mod ahead;
pub mod commit;
pub mod controller;
pub mod daemon;
pub mod dispatch;
pub mod doctor;
pub mod executor;
pub mod files;
pub mod finding;
pub mod hold;
pub mod judge;
mod lane;
pub mod observe;
pub mod outcome;
mod parcel;
pub mod preflight;
pub mod published;
pub mod reach;
pub mod reconcile;
mod recover;
pub mod sample;
pub mod settings;
pub mod site;
pub mod task;
pub mod track;
mod transfer;
pub mod watch;
mod way_back;
pub mod world;
