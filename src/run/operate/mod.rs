//! What people ask for beside deployments: stopping and starting, trying again, taking over a root, trying a release without
//! switching to it, saying a word on a plan. What changes something leaves a row of the journal.

pub mod acknowledge;
pub mod adopt;
pub mod preflight;
pub mod restore;
pub mod retry;
pub mod rewritten;
pub mod stop;
pub mod word;
