//! What several test modules build their cases with.

pub mod answers;
pub mod disk;
pub mod site;
pub mod states;
pub mod web;
pub mod world;
