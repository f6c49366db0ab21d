//! Who answers requests about a root: the dispatch of operations (`ops`), one worker per root with its lease, the agent
//! process that serves them over a byte stream, and the door by which a controller comes back to it.

pub mod agent;
pub mod local;
pub mod ops;
pub mod reattach;
pub mod session;
pub mod worker;
