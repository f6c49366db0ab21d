//! One part of a backup, restored into a place of its own and looked at. The place is noted in the record before it is made, and
//! removed by what is noted there: what a crash leaves is swept by the next one.

use std::path::Path;
use std::time::Instant;

use age::x25519::Identity;
use zeroize::Zeroizing;

use super::scratch::{DIR, forget, note, sweep};
use super::{login, open};
use crate::backup::dump::Login;
use crate::backup::load::gate::Events;
use crate::backup::load::mysql::{beyond, create, drop_database, load, scan};
use crate::backup::load::{self, Spoilt, Stored};
use crate::backup::prove::{self, Expected};
use crate::backup::{Always, Wanted};
use crate::fault::fault;
use crate::host::disk::root::Root;
use crate::host::wire::backup::{Prove, Proved, ScratchPlace};
use crate::host::wire::{HostError, Secret};
use crate::model::backup::manifest::{DatabaseFacts, Engine};
use crate::model::backup::name::Content;
use crate::model::backup::proof::Check;
use crate::model::shown::{self, counted};

/// Restores it, looks at it, and removes it.
///
/// # Errors
/// The record cannot be read or written. Everything else is a line of what was found.
pub fn prove(root: &Root, asked: &Prove, wanted: &dyn Wanted) -> Result<Proved, HostError> {
    let begun = Instant::now();
    root.prepare()?;
    let (mut checks, instance, kept) = match part(root, asked, wanted)? {
        Ok(done) => done,
        Err(Spoilt { outcome, why }) => {
            (vec![Check { what: "restore".to_owned(), outcome, why, of_data: false }], String::new(), None)
        }
    };
    if !wanted.is_wanted() {
        return Err(HostError::Connection("the controller was not heard any more during the restore".into()));
    }
    if checks.is_empty() {
        checks.push(Check::inconclusive("restore", "nothing was looked at"));
    }
    let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Proved { checks, instance, millis, kept })
}

type Done = (Vec<Check>, String, Option<String>);

fn part(root: &Root, asked: &Prove, wanted: &dyn Wanted) -> Result<Result<Done, Spoilt>, HostError> {
    let login = match server(root, &asked.place) {
        Ok(login) => login,
        Err(spoilt) => return Ok(Err(spoilt)),
    };
    let mut swept = Vec::new();
    sweep(root, asked, login.as_ref(), wanted, &mut swept)?;
    let identities = match identities(asked.identities.as_ref()) {
        Ok(identities) => identities,
        Err(spoilt) => return Ok(Err(spoilt)),
    };
    let target = match open(root, &asked.target) {
        Ok(target) => target,
        Err(error) => return Ok(Err(error.into())),
    };
    let stored = Stored { target: &target, dir: asked.name.kind.as_str(), part: &asked.part, identities: &identities };
    let done = match (asked.part.content, &asked.part.database) {
        (Content::Files, _) => files(root, asked, &stored, wanted)?,
        (Content::Database, Some(facts)) => match (facts.engine, login) {
            (Engine::Sqlite, _) => sqlite(root, asked, facts, &stored, wanted)?,
            (Engine::Mysql, Some(login)) => mysql(root, asked, facts, &stored, login, wanted)?,
            (Engine::Mysql, None) => Err(Spoilt::open(format!(
                "nothing says who restores the database {}: name a user that may touch `soll\\_scratch\\_%` and nothing else \
                 (`restore_test.database`)",
                facts.database
            ))),
            (Engine::Postgres, _) => Err(Spoilt::open("this version restores no database of PostgreSQL")),
        },
        (Content::Database, None) => {
            Err(Spoilt::open("the manifest says nothing about this database, so that nothing could be compared"))
        }
    };
    Ok(done.map(|(mut checks, instance, kept)| {
        checks.extend(swept);
        (checks, instance, kept)
    }))
}

/// What is compared: the stored file was read to its end, and is what was written.
fn whole(asked: &Prove) -> Check {
    let part = &asked.part;
    Check::pass(
        "whole",
        format!("{} is what was written: {} bytes, SHA-256 {}", part.file, part.bytes, part.sha256.short()),
    )
}

fn files(
    root: &Root,
    asked: &Prove,
    stored: &Stored<'_>,
    wanted: &dyn Wanted,
) -> Result<Result<Done, Spoilt>, HostError> {
    let looked = match load::files::look(stored, wanted) {
        Ok(looked) => looked,
        Err(spoilt) => return Ok(Err(spoilt)),
    };
    let mut checks = vec![whole(asked)];
    let saved = asked.part.files.as_ref().map(|facts| facts.entries);
    checks.push(match saved {
        None => Check::inconclusive("entries", "the manifest does not say how many there are"),
        Some(saved) if saved == looked.entries => {
            Check::pass("entries", counted(saved, "entry, as saved", "entries, as saved"))
        }
        Some(saved) => {
            let there = counted(looked.entries, "entry", "entries");
            Check::fail("entries", format!("{there} in it, and {saved} when it was saved"))
        }
    });
    if !asked.keep {
        return Ok(Ok((checks, "this host".to_owned(), None)));
    }
    if let Err(spoilt) = has_room(&root.own(""), looked.bytes) {
        return Ok(Err(spoilt));
    }
    let name = note(root, asked, None)?;
    root.own_dir(DIR)?.make_as(&name, 0o700)?;
    let into = root.own(DIR).join(&name);
    let unpacked = load::files::unpack(stored, &into, wanted);
    Ok(match unpacked {
        Ok(unpacked) => {
            checks.extend(unpacked.skipped().map(|told| Check::pass("links", told)));
            Ok((checks, "this host".to_owned(), Some(into.display().to_string())))
        }
        Err(spoilt) => {
            forget(root, &name, false)?;
            Err(spoilt)
        }
    })
}

fn sqlite(
    root: &Root,
    asked: &Prove,
    facts: &DatabaseFacts,
    stored: &Stored<'_>,
    wanted: &dyn Wanted,
) -> Result<Result<Done, Spoilt>, HostError> {
    // Nothing of it is run before all of it has matched.
    if let Err(spoilt) = stored.pour(&mut load::Nowhere, wanted) {
        return Ok(Err(spoilt));
    }
    if let Err(spoilt) = has_room(&root.own(""), asked.part.plain_bytes.unwrap_or(asked.part.bytes)) {
        return Ok(Err(spoilt));
    }
    let name = note(root, asked, None)?;
    fault!("host.restore.after-note");
    root.own_dir(DIR)?.make_as(&name, 0o700)?;
    let path = root.own(DIR).join(&name).join("restored.sqlite");
    let done = load::sqlite::load(stored, &path, wanted)
        .and_then(|()| prove::sqlite::prove(&path, &expected(asked, facts), wanted));
    let keep = asked.keep && done.is_ok();
    if !keep {
        forget(root, &name, false)?;
    }
    Ok(done.map(|mut checks| {
        checks.insert(0, whole(asked));
        (checks, "this host".to_owned(), keep.then(|| path.display().to_string()))
    }))
}

fn mysql(
    root: &Root,
    asked: &Prove,
    facts: &DatabaseFacts,
    stored: &Stored<'_>,
    mut login: Login,
    wanted: &dyn Wanted,
) -> Result<Result<Done, Spoilt>, HostError> {
    let instance = instance(&login);
    let (counted, seen) = match scan(stored, wanted) {
        Ok(scanned) => scanned,
        Err(spoilt) => return Ok(Err(spoilt)),
    };
    if counted.tables != facts.rows {
        let why = "the rows in the dump are not those in the manifest: it was made of something else";
        return Ok(Err(Spoilt::fail(why)));
    }
    match beyond(&login, wanted) {
        Ok(more) if more.is_empty() => {}
        Ok(more) => {
            return Ok(Err(Spoilt::open(format!(
                "the user {} may do more than touch scratch databases, so that nothing is restored by it: {}; take that away \
                 (REVOKE)",
                login.user,
                more.join("; ")
            ))));
        }
        Err(spoilt) => return Ok(Err(spoilt)),
    }
    let name = note(root, asked, Some(&instance))?;
    fault!("host.restore.after-note");
    login.database.clone_from(&name);
    let done = create(&login, wanted)
        .and_then(|()| load(stored, &login, Events::Disabled, wanted))
        .and_then(|()| prove::mysql::prove(&login, &seen, &expected(asked, facts), wanted));
    fault!("host.restore.before-drop");
    if asked.keep && done.is_ok() {
        return Ok(done.map(|mut checks| {
            checks.insert(0, whole(asked));
            (checks, instance, Some(name))
        }));
    }
    let dropped = drop_database(&login, &Always);
    if dropped.is_ok() {
        forget(root, &name, true)?;
    }
    Ok(done.map(|mut checks| {
        checks.insert(0, whole(asked));
        if seen.definers > 0 {
            let why = format!("{}: views and routines run as who restores them", definers_left_out(seen.definers));
            checks.push(Check::pass("definers", why));
        }
        if let Err(spoilt) = dropped {
            let why = format!("{name} stays on {instance} until the next restore test: {}", spoilt.why);
            checks.push(Check::inconclusive("clean-up", why));
        }
        (checks, instance, None)
    }))
}

fn expected<'a>(asked: &'a Prove, facts: &'a DatabaseFacts) -> Expected<'a> {
    Expected { facts, window: asked.window, queries: &asked.queries }
}

/// `2 DEFINER clauses were left out`.
pub(super) fn definers_left_out(count: u64) -> String {
    let were = if count == 1 { "was" } else { "were" };
    format!("{} {were} left out", counted(count, "DEFINER clause", "DEFINER clauses"))
}

/// Whether so many bytes may be written there: a restore must not fill the disk of what is live, and one in place that breaks
/// off in its middle is worse than one that was not begun.
pub(super) fn has_room(place: &Path, bytes: u64) -> Result<(), Spoilt> {
    let stat = rustix::fs::statvfs(place);
    let stat =
        stat.map_err(|error| Spoilt::open(format!("the room below {} cannot be asked for: {error}", place.display())))?;
    fits(bytes, stat.f_bavail.saturating_mul(stat.f_frsize)).map_err(|needed| {
        Spoilt::open(format!(
            "{} has not enough room for what is restored: {} are needed; make room there",
            place.display(),
            shown::bytes(needed)
        ))
    })
}

/// A tenth more than what is written: indexes, and what others write meanwhile.
fn fits(bytes: u64, free: u64) -> Result<(), u64> {
    let needed = bytes.saturating_add(bytes / 10);
    if needed <= free { Ok(()) } else { Err(needed) }
}

/// The login of whoever makes scratch databases; `None`: none is needed.
fn server(root: &Root, place: &ScratchPlace) -> Result<Option<Login>, Spoilt> {
    let hidden = |secret: &Secret| Zeroizing::new(secret.expose().to_owned());
    Ok(match place {
        ScratchPlace::Own => None,
        ScratchPlace::Server(login) => Some(Login {
            host: login.host.clone(),
            port: login.port,
            socket: login.socket.clone(),
            user: login.user.clone(),
            password: login.password.as_ref().map(hidden).unwrap_or_default(),
            database: String::new(),
            ..Login::default()
        }),
        ScratchPlace::Beside { files, user, password } => {
            let files: Vec<_> = files.iter().map(|file| root.path().join(file)).collect();
            let there = login::of_env_file(Engine::Mysql, &files).map_err(|error| Spoilt::open(error.to_string()))?;
            Some(Login { user: user.clone(), password: hidden(password), database: String::new(), ..there })
        }
    })
}

/// The identities of age that a secret of the controller holds.
pub(super) fn identities(secret: Option<&Secret>) -> Result<Vec<Identity>, Spoilt> {
    let Some(secret) = secret else { return Ok(Vec::new()) };
    let lines = secret.expose().lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed = lines.map(|line| {
        // Never with what stands there.
        line.parse()
            .map_err(|_| Spoilt::open("the secret that opens backups holds no identity of age: `age-keygen` makes one"))
    });
    parsed.collect()
}

/// Which server it is, for people.
pub(super) fn instance(login: &Login) -> String {
    match (&login.socket, &login.host) {
        (Some(socket), _) => socket.clone(),
        (None, host) => {
            let host = host.as_deref().unwrap_or("localhost");
            login.port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_tried_does_not_fill_the_disk() {
        assert_eq!(fits(100, 110), Ok(()));
        assert_eq!(fits(100, 109), Err(110));
    }

    #[test]
    fn an_identity_that_is_none_is_told_without_its_text() {
        let told = identities(Some(&Secret::new("AGE-SECRET-KEY-1PLANTED".to_owned()))).err().map(|spoilt| spoilt.why);
        let told = told.unwrap_or_default();
        assert!(told.contains("no identity of age") && !told.contains("PLANTED"), "{told}");
    }
}
