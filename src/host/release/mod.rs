//! What is done with releases on a root: staging, building from blobs and copies, linking, sealing, switching, observing,
//! pruning. Each operation is plain synchronous code over `disk`.

pub mod activate;
pub mod blobs;
pub mod build;
pub mod checkout;
pub mod claim;
pub mod compose;
pub mod contents;
pub mod drift;
pub mod fetch;
pub mod hook;
pub mod link;
pub mod observe;
pub mod prune;
pub mod recount;
pub mod render;
pub mod repin;
pub mod seal;
mod settled;
pub mod siblings;
pub mod stage;
pub mod stamps;
pub mod switch;
pub mod trial;
pub mod units;
