//! A dump of MySQL or MariaDB, by the client program, into a database that was made for it.
//!
//! The client runs no commands of its own (`--binary-mode`) and sends no files of this machine. The login comes by a file that
//! has no name (law 9), the statements by its standard input, through the gate.

use std::process::Command;

use super::gate::{Gate, Seen};
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
    let mut watched = Watched { counter: Counter::default(), gate: Gate::new(Nowhere) };
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

/// Loads a dump that was scanned, into the database of the login.
///
/// # Errors
/// The server refuses a statement, or the way to it broke; the dump is not what was scanned.
pub fn load(stored: &Stored<'_>, login: &Login, wanted: &dyn Wanted) -> Result<(), Spoilt> {
    let program = find(&CLIENTS).ok_or_else(missing)?;
    let hidden = login.file()?;
    let mut command = Command::new(&program);
    command.arg(format!("--defaults-extra-file={}", inherited(&hidden)));
    command.args(["--batch", "--binary-mode", "--local-infile=0", "--default-character-set=utf8mb4"]);
    command.arg(format!("--database={}", login.database));
    let (program, input) = Program::fed(command, hidden)?;
    let mut gate = Gate::new(input);
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

/// Errors of a server that say nothing about a dump: it is away, full, or does not let this user do it.
const AROUND: [u32; 20] = [
    1007, 1021, 1040, 1041, 1044, 1045, 1049, 1114, 1129, 1130, 1142, 1143, 1203, 1226, 1227, 1698, 2002, 2003, 2006,
    2013,
];

/// What the client says, and whether it is about the dump.
fn said(why: &str) -> Spoilt {
    let after = why.split("ERROR ").nth(1).unwrap_or_default();
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>() {
        Ok(code) if !AROUND.contains(&code) => Spoilt::fail(why),
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
        assert_eq!(of("ERROR 1045 (28000): Access denied for user 'x'"), Outcome::Inconclusive);
        assert_eq!(of("mariadb did not come to its end (signal: 9 (SIGKILL)): "), Outcome::Inconclusive);
    }
}
