//! Numbers of bytes, for people.

pub use crate::model::shown::bytes;
