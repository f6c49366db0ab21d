//! From a bundle's address to a checked tree: fetch, verify, unpack into a manifest and content-addressed blobs.
//! Knows nothing of hosts or environments.
//!
//! Reading order: [`manifest`] and [`tree`] (what a release may be), [`tarball`], `intake` and [`unpack`] (from bytes to a
//! tree), [`pack`] (where contents lie), [`source`], [`inspect`] and [`fetch`] (from an address to bytes), [`store`] (all of
//! it, once), [`bundle`] (the other way round).

pub mod bundle;
pub mod delta;
pub mod fetch;
pub mod inspect;
mod intake;
pub mod manifest;
pub mod origins;
pub mod pack;
mod public;
pub mod source;
pub mod store;
pub mod tarball;
pub mod tree;
pub mod unpack;

mod checksum;
mod download;
pub mod files;
