//! From a bundle's address to a checked tree: fetch, verify, unpack into a manifest and content-addressed blobs.
//! Knows nothing of hosts or environments.
//!
//! Reading order: [`manifest`] and [`tree`] (what a release may be), `decode`, `tarball`, `intake` and [`unpack`] (from
//! bytes to a tree), [`links`] and [`terms`] (what an application takes of that), [`pack`] (where contents lie), [`delta`] and
//! [`picked`] (how a tree is told to somebody who has most of it), [`source`], [`inspect`], `forge` and [`fetch`] (from an
//! address to bytes), [`store`] (all of it, once, under a `lock`; `sparing` leaves room for others on its disk), [`bundle`] and
//! `archive` (the other way round). [`registry`]: images of containers, as their registry has them.

mod apple_double;
mod archive;
mod backoff;
pub mod bundle;
mod decode;
pub mod delta;
pub mod fetch;
mod forge;
mod header;
pub mod inspect;
mod intake;
mod kind;
pub mod lfs;
pub mod links;
mod lock;
pub mod manifest;
pub mod origins;
pub mod pack;
pub mod picked;
mod public;
pub mod registry;
mod secret_files;
pub mod source;
mod sparing;
mod sparse;
pub mod store;
mod tarball;
pub mod terms;
pub mod tree;
pub mod unpack;

mod checksum;
mod download;
pub mod files;
