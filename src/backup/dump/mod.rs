//! A database as SQL text that a person can restore by hand, with what is known of it: exact rows of each table, the versions
//! on both sides, what is not consistent. One file per engine.

pub mod mysql;
pub mod postgres;
pub(in crate::backup) mod process;
pub mod sqlite;
pub mod tool;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::backup::Wanted;
use crate::model::ids::Digest;

/// How an error begins that says: something else changed the schema, and once more is worth a try (I17).
pub const CHANGED: &str = "the schema changed while it was dumped";

/// Where a database of a server is, and who may read it.
#[derive(Default)]
pub struct Login {
    /// The container in which it runs: it is reached from there, by its own programs.
    pub inside: Option<Arc<dyn tool::Inside>>,
    pub host: Option<String>,
    pub port: Option<u16>,
    /// Of PostgreSQL: the directory with the socket.
    pub socket: Option<String>,
    pub user: String,
    pub password: Zeroizing<String>,
    pub database: String,
    /// What PostgreSQL is asked for (`sslmode`, `sslrootcert`), as the application asks for it.
    pub tls: Tls,
}

/// How the wire to a database is to be encrypted; nothing said: as its client does by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    pub mode: Option<String>,
    pub root: Option<String>,
}

/// What a dump is of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dumped {
    /// Exact rows by table, counted in what was written.
    pub tables: BTreeMap<String, u64>,
    /// Of the definitions of its tables: another one is another schema.
    pub schema: Option<Digest>,
    /// What dumped, with its version.
    pub client: String,
    /// What was dumped, with its version.
    pub server: String,
    /// Where the server's own log stood, where it says so.
    pub position: Option<String>,
    /// Tables that were written to while they were read: no transaction holds them.
    pub loose: Vec<String>,
    /// What people should know.
    pub warnings: Vec<String>,
}

/// Where a dump goes, and whether anybody still wants it.
pub struct Sink<'a> {
    pub to: &'a mut dyn Write,
    pub wanted: &'a dyn Wanted,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
