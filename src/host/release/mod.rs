//! What is done with releases on a root: staging, building from blobs and copies, linking, sealing, switching, observing,
//! pruning. Each operation is plain synchronous code over `disk`.

pub mod blobs;
pub mod build;
pub mod claim;
pub mod contents;
pub mod drift;
pub mod fetch;
pub mod hook;
pub mod link;
pub mod observe;
pub mod prune;
pub mod recount;
pub mod repin;
pub mod seal;
pub mod siblings;
pub mod stage;
pub mod stamps;
pub mod switch;
pub mod trial;
