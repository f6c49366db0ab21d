//! A plan for people: on a terminal, in a pull request, as a picture, in words. Pure: a plan goes in, text comes out.
//! JSON needs no renderer, it is the plan's own form.
//!
//! Texts in a plan come from state files, hosts and commands: every renderer cleans them for the place they go to.

mod fold;
pub mod graph;
pub mod markdown;
pub mod parts;
pub mod services;
pub mod text;
pub mod why;

pub use markdown::markdown;
pub use text::{Style, text};
pub use why::why;
