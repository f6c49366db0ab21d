//! What a backup is made of, on the machine that has the data: dumps and archives that are counted, packed, encrypted and
//! written to targets while they are made, and read back from there. One stream from the source to every target: nothing is
//! staged, and memory stays the same however much goes by.
//!
//! Knows no root, no wire and no schedule: `host::backup` says what is dumped where, `plan` when and what may go.

pub mod archive;
pub mod compress;
pub mod copied;
pub mod count;
pub mod dump;
pub mod encrypt;
pub mod examine;
pub mod fan;
pub mod load;
pub mod measure;
pub mod part;
pub mod prove;
pub mod room;
pub mod target;
pub mod throttle;

use std::io;
use std::path::Path;

/// Why something of a backup could not be done: a sentence that names what, where, and the next move where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackupError(pub String);

/// `cannot read /srv/app/shared: …`, whatever kind of error it is.
pub(crate) fn at<E: std::fmt::Display>(doing: &str, path: &Path) -> impl Fn(E) -> BackupError + use<E> {
    let text = format!("cannot {doing} {}", path.display());
    move |error| BackupError(format!("{text}: {error}"))
}

/// Whoever waits for a backup, asked between two pieces: a dump is not made for somebody who is gone.
pub trait Wanted {
    /// `false`: it is to end now.
    fn is_wanted(&self) -> bool;
}

/// Work that is done whoever waits for it: cleaning up.
pub struct Always;

impl Wanted for Always {
    fn is_wanted(&self) -> bool {
        true
    }
}

/// The error that ends a stream which nobody wants any more. Not `Interrupted`: whoever writes tries that again for ever.
pub(crate) fn unwanted() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "nobody waits for this backup any more")
}
