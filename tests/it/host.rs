//! Every operation of a host against a real root, and the laws after each.

mod contents;
mod running;
mod switching;
pub mod world;
