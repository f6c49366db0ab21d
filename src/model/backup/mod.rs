//! What a backup is called, and what is said of it (F1). Pure: nothing here reads a file or a clock.
//!
//! [`name`]: the names of its files and of the directories they lie in; [`checksum`]: the lines beside them; [`set`]: from
//! the names that a target lists to the backups that are there; [`manifest`]: what one consists of; [`by_hand`]: how a
//! person restores it without this program; [`proof`]: what restoring one showed; [`shrink`]: whether one is plausible beside
//! another; [`address`]: where a target is.

pub mod address;
pub mod by_hand;
pub mod checksum;
pub mod manifest;
pub mod name;
pub mod proof;
pub mod set;
pub mod shrink;

/// What the error of a target says, among the rest, where an account may write and not delete: perhaps on purpose, and no reason
/// for alarm (I20). What was to be removed is then where it was, and counts as before.
pub const NO_RIGHT: &str = "nothing is pruned: no right to delete";
