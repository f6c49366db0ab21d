//! What lies on the disk below a root and around it: opening files beneath a directory without following links, the
//! record and its lock, who may change them, what could not be removed, configured commands, environment files, users and groups, and
//! which machine it is. Knows no release and no wire protocol beyond the errors that it gives.

pub mod beneath;
pub mod command;
pub mod envfile;
pub mod file;
pub mod kept;
pub mod leftovers;
pub mod lock;
pub mod machine;
pub mod people;
pub mod root;
pub mod stamp;
pub mod token;
pub mod trust;
