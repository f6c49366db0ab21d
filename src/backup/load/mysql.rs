//! A dump of MySQL or MariaDB, by the client program, into a database that was made for it.
//!
//! The client runs no commands of its own (`--binary-mode`) and sends no files of this machine. The login comes by a file that
//! has no name (law 9), the statements by its standard input, through the gate.

use std::process::Command;

use super::gate::{Events, Gate, Seen};
use super::{Nowhere, Spoilt, Stored};
use crate::backup::Wanted;
use crate::backup::count::{Counted, Counter};
use crate::backup::dump::Login;
use crate::backup::dump::mysql::{CLIENTS, Client};
use crate::backup::dump::process::{Program, find, inherited};

/// What the names of scratch databases begin with: a user that may touch these and no others can do no harm.
pub const SCRATCH: &str = "soll_scratch_";
/// The database in which nothing is asked about a database.
const NOWHERE: &str = "information_schema";

/// Reads a dump through once: whether it is whole, complete, and of one database; what it holds. Nothing is run.
///
/// # Errors
/// It is none of that, or it cannot be read.
pub fn scan(stored: &Stored<'_>, wanted: &dyn Wanted) -> Result<(Counted, Seen), Spoilt> {
    let mut watched = Watched { counter: Counter::default(), gate: Gate::new(Nowhere, Events::AsSaved) };
    stored.pour(&mut watched, wanted)?;
    let (_, seen) = watched.gate.end().map_err(|error| super::taken_by(&error))?;
    let counted = watched.counter.end();
    match counted.is_complete {
        true => Ok((counted, seen)),
        false => Err(Spoilt::fail(format!(
            "{} does not end with `-- Dump completed`: it was cut off, and what is there is a part of it",
            stored.part.file
        ))),
    }
}

struct Watched {
    counter: Counter,
    gate: Gate<Nowhere>,
}

impl std::io::Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.counter.feed(bytes);
        self.gate.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Loads a dump that was scanned, into the database of the login. `events`: whether those that it makes happen there.
///
/// # Errors
/// The server refuses a statement, or the way to it broke; the dump is not what was scanned.
pub fn load(stored: &Stored<'_>, login: &Login, events: Events, wanted: &dyn Wanted) -> Result<(), Spoilt> {
    let program = find(&CLIENTS).ok_or_else(missing)?;
    let hidden = login.file()?;
    let mut command = Command::new(&program);
    command.arg(format!("--defaults-extra-file={}", inherited(&hidden)));
    command.args(["--batch", "--binary-mode", "--local-infile=0", "--default-character-set=utf8mb4"]);
    command.arg(format!("--database={}", login.database));
    let (program, input) = Program::fed(command, hidden, wanted)?;
    let mut gate = Gate::new(input, events);
    let poured = stored.pour(&mut gate, wanted);
    let ended = poured.and_then(|()| gate.end().map(drop).map_err(|error| super::taken_by(&error)));
    // The client's own words come first: that it took no more is what comes of them.
    let done = program.finish(wanted).map_err(|error| said(&error.0));
    match (ended, done) {
        (Err(spoilt), _) if spoilt.outcome == crate::model::backup::proof::Outcome::Fail => Err(spoilt),
        (_, Err(spoilt)) | (Err(spoilt), Ok(())) => Err(spoilt),
        (Ok(()), Ok(())) => Ok(()),
    }
}

/// Makes a database, which must not be there.
///
/// # Errors
/// The server cannot be reached, or the user may not.
pub fn create(login: &Login, wanted: &dyn Wanted) -> Result<(), Spoilt> {
    administer(login, "CREATE DATABASE", " CHARACTER SET utf8mb4", wanted)
}

/// Drops one; none there is fine.
///
/// # Errors
/// Those of [`create`].
pub fn drop_database(login: &Login, wanted: &dyn Wanted) -> Result<(), Spoilt> {
    administer(login, "DROP DATABASE IF EXISTS", "", wanted)
}

/// Never of another one than a scratch database, whatever the record says.
fn administer(login: &Login, verb: &str, more: &str, wanted: &dyn Wanted) -> Result<(), Spoilt> {
    let name = &login.database;
    if !name.starts_with(SCRATCH) {
        return Err(Spoilt::open(format!("{name} is no scratch database: it is neither made nor dropped")));
    }
    outside(login, &format!("{verb} {}{more}", identifier(name)), wanted).map(drop)
}

/// What the user of a login may do, beside what is no right at all: each grant that reaches beyond scratch databases.
///
/// # Errors
/// The server cannot be reached.
pub fn beyond(login: &Login, wanted: &dyn Wanted) -> Result<Vec<String>, Spoilt> {
    let grants = outside(login, "SHOW GRANTS", wanted)?;
    let reaches = |grant: &&str| {
        let on = grant.split_once(" ON ").and_then(|(what, on)| Some((what, on.split_once(" TO ")?.0)));
        match on {
            Some(("GRANT USAGE", "*.*")) => false,
            Some((_, on)) => !on.trim_start_matches('`').replace('\\', "").starts_with(SCRATCH),
            None => grant.starts_with("GRANT"),
        }
    };
    // The digest of a password is nobody's business.
    let shown = |grant: &str| grant.split(" IDENTIFIED").next().unwrap_or(grant).to_owned();
    Ok(grants.lines().filter(reaches).map(shown).collect())
}

/// A question to the server in the database of the login, in which times are those of UTC. One line for each row.
///
/// # Errors
/// The server's, with its verdict.
pub fn ask(login: &Login, question: &str, wanted: &dyn Wanted) -> Result<String, Spoilt> {
    let question = format!("SET time_zone='+00:00'; {question}");
    client(login, wanted)?.ask(&question, wanted).map_err(|error| said(&error.0))
}

fn outside(login: &Login, question: &str, wanted: &dyn Wanted) -> Result<String, Spoilt> {
    let outside = Login { database: NOWHERE.to_owned(), ..copy(login) };
    client(&outside, wanted)?.ask(question, wanted).map_err(|error| said(&error.0))
}

fn client<'a>(login: &'a Login, wanted: &dyn Wanted) -> Result<Client<'a>, Spoilt> {
    Client::find(login, wanted)?.ok_or_else(missing)
}

fn missing() -> Spoilt {
    Spoilt::open("neither mariadb nor mysql is here: apt install mariadb-client".to_owned())
}

/// The same login, for another database.
pub fn copy(login: &Login) -> Login {
    let Login { inside, host, port, socket, user, password, database, tls } = login;
    Login {
        inside: inside.clone(),
        tls: tls.clone(),
        host: host.clone(),
        port: *port,
        socket: socket.clone(),
        user: user.clone(),
        password: password.clone(),
        database: database.clone(),
    }
}

/// Errors of a server that are about the dump itself: no SQL, rows that cannot all be there, columns and tables that are not.
/// Whatever else a server says is about the server, the user or the way to it.
const OF_DUMP: [u32; 53] = [
    1022, 1048, 1050, 1051, 1054, 1060, 1061, 1062, 1063, 1064, 1065, 1067, 1068, 1072, 1075, 1090, 1091, 1101, 1103,
    1110, 1136, 1146, 1166, 1215, 1216, 1217, 1264, 1265, 1292, 1300, 1304, 1305, 1356, 1359, 1360, 1364, 1366, 1367,
    1406, 1416, 1451, 1452, 1537, 1586, 1822, 1824, 1906, 3105, 3140, 3819, 4025, 4078, 4161,
];
/// Functions and triggers may be made by nobody who is no administrator while there is a log of changes.
const LOGGED: u32 = 1419;

/// What the client says, and whether it is about the dump.
fn said(why: &str) -> Spoilt {
    let after = why.split("ERROR ").nth(1).unwrap_or_default();
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>() {
        Ok(code) if OF_DUMP.contains(&code) => Spoilt::fail(why),
        Ok(LOGGED) => Spoilt::open(format!(
            "{why}; the server writes a binary log, and takes functions and triggers only from administrators: set \
             log_bin_trust_function_creators=1 there"
        )),
        _ => Spoilt::open(why),
    }
}

/// A name as SQL has it.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::backup::proof::Outcome;

    #[test]
    fn what_is_about_the_server_is_no_verdict_about_the_backup() {
        let of = |text: &str| said(text).outcome;
        assert_eq!(
            of("mariadb did not come to its end: ERROR 1064 (42000) at line 3: You have an error"),
            Outcome::Fail
        );
        for code in [1062, 1054, 1146, 1366, 1452, 4025] {
            assert_eq!(of(&format!("ERROR {code} (42000) at line 3: x")), Outcome::Fail, "{code}");
        }
        // The client's own; disks, grants, locks, sizes; and what no list knows.
        for code in [1045, 1021, 1114, 1142, 1153, 1205, 1213, 1227, 1273, 1419, 2002, 2006, 2013, 2026, 5000] {
            assert_eq!(of(&format!("ERROR {code} (HY000) at line 3: x")), Outcome::Inconclusive, "{code}");
        }
        assert!(
            said("ERROR 1419 (HY000): You do not have the SUPER privilege")
                .why
                .contains("log_bin_trust_function_creators=1")
        );
        assert_eq!(of("mariadb did not come to its end (signal: 9 (SIGKILL)): "), Outcome::Inconclusive);
    }
}
