//! What lies on the disk below a root and around it: opening files beneath a directory without following links, the
//! record and its lock, who may change them, what could not be removed, configured commands and whom they leave behind,
//! environment files, users and groups, which machine it is, which directory a root is, and what of it is nobody's. Knows no
//! release and no wire protocol beyond the errors that it gives.

pub mod behind;
pub mod beneath;
pub mod command;
pub mod envfile;
pub mod file;
pub mod foreign;
pub mod kept;
pub mod layers;
pub mod leftovers;
pub mod lock;
pub mod machine;
mod memory;
pub mod people;
pub mod places;
pub mod reserve;
pub mod revision;
pub mod room;
pub mod root;
pub mod seat;
pub mod stamp;
pub mod token;
pub mod trust;
