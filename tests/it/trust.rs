//! Who may make whom do what: each test plays somebody who tries what they may not.

mod local_roots;
mod policies;
mod processes;
mod secrets;
