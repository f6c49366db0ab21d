//! Which machine each host is known to be: a second note beside the record of its roots. `repository`: the state repository
//! with its branch and file, since a name means a machine only there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::ledger::{at, parsed};
use super::{Store, StoreError};
use crate::model::ids::{Digest, HostName};
use crate::model::machine::Machine;

impl Store {
    /// Which machines these hosts are known to be.
    pub fn machines<'a>(
        &self,
        repository: &str,
        hosts: impl IntoIterator<Item = &'a HostName>,
    ) -> Result<BTreeMap<HostName, Machine>, StoreError> {
        self.read("read which machine a host is", |connection| {
            let mut known = BTreeMap::new();
            for host in hosts {
                known.extend(one(connection, repository, host)?.map(|machine| (host.clone(), machine)));
            }
            Ok(known)
        })
    }

    /// Notes first contacts. What was noted before stays.
    pub fn note_machines(
        &self,
        repository: &str,
        found: &BTreeMap<HostName, Digest>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write("note which machine a host is", |t| {
            let sql =
                "INSERT INTO hosts (repository, host, machine, since) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
            for (host, id) in found {
                t.execute(sql, params![repository, host.as_str(), id.to_string(), at(now)])?;
            }
            Ok(())
        })
    }

    /// A person's word: it is this one from now on. `None`: whichever comes next.
    pub fn set_machine(&self, repository: &str, host: &HostName, machine: Option<&Machine>) -> Result<(), StoreError> {
        self.write("note which machine a host is", |t| {
            match machine {
                Some(machine) => {
                    let sql = "INSERT OR REPLACE INTO hosts (repository, host, machine, since) VALUES (?1, ?2, ?3, ?4)";
                    t.execute(sql, params![repository, host.as_str(), machine.id.to_string(), at(machine.since)])?
                }
                None => {
                    let sql = "DELETE FROM hosts WHERE repository = ?1 AND host = ?2";
                    t.execute(sql, params![repository, host.as_str()])?
                }
            };
            Ok(())
        })
    }
}

fn one(connection: &Connection, repository: &str, host: &HostName) -> rusqlite::Result<Option<Machine>> {
    let mut statement =
        connection.prepare_cached("SELECT machine, since FROM hosts WHERE repository = ?1 AND host = ?2")?;
    let machine = statement.query_row(params![repository, host.as_str()], |row| {
        Ok(Machine { id: parsed(row, 0)?, since: parsed(row, 1)? })
    });
    machine.optional()
}
