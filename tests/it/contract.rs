//! The contract as its users meet it (section 1 of the design): the real program on a real state repository, real
//! bundles and real roots. Nothing here looks inside; what a person, a script or a web server sees is what counts.

mod adoption;
mod approvals;
mod drift;
mod edits;
mod exits;
mod failures;
mod fleet;
mod following;
mod forward_only;
mod full_disk;
mod hooks;
mod inputs;
mod json;
mod many;
mod offline;
mod operating;
mod operations;
mod places;
mod planning;
mod policies;
mod progress;
mod promotion;
mod pull;
mod rollback;
mod room;
mod saved;
mod switching;
mod watching;
