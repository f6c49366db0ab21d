//! A database as SQL text that a person can restore by hand, with what is known of it: exact rows of each table, the versions
//! on both sides, what is not consistent. One file per engine.

pub mod mysql;
pub(in crate::backup) mod process;
pub mod sqlite;

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::backup::Wanted;
use crate::model::ids::Digest;

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
