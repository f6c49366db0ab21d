//! What several test modules build their cases with.

pub mod answers;
pub mod disk;
pub mod docker;
pub mod engines;
pub mod registry;
pub mod site;
pub mod source;
pub mod states;
pub mod web;
pub mod wheel;
pub mod world;
