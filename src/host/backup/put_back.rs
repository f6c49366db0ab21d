//! One part of a backup, put back where it came from. Whoever asks has stopped what writes there, has tried the same part in a
//! place of its own, and has a backup of what is there now: nothing of that is decided here.

mod merge;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::restore::{definers_left_out, has_room, identities};
use super::{failed, open, part};
use crate::backup::Wanted;
use crate::backup::dump::Login;
use crate::backup::load::gate::Events;
use crate::backup::load::mysql::{ask, identifier, load, scan};
use crate::backup::load::{self, Nowhere, Spoilt, Stored};
use crate::backup::part::{Source, archived_name};
use crate::fault::fault;
use crate::host::disk::root::Root;
use crate::host::wire::HostError;
use crate::host::wire::backup::PutBack;
use crate::model::shown;

/// Puts it back. Gives what was done.
///
/// # Errors
/// It is not what was written: then nothing was changed. It cannot be loaded: then what is there is neither the old nor the new.
pub fn put_back(root: &Root, asked: &PutBack, wanted: &dyn Wanted) -> Result<String, HostError> {
    let target =
        asked.part.targets.first().ok_or_else(|| HostError::Io("nothing says where it is read from".into()))?;
    let target = open(root, target).map_err(failed)?;
    let identities = identities(asked.identities.as_ref()).map_err(said)?;
    let dir = asked.part.name.kind.as_str();
    let stored = Stored { target: &target, dir, part: &asked.entry, identities: &identities };
    match part::source(root, &asked.part)?.0 {
        Source::Mysql(login) => database(&stored, &login, wanted).map_err(said),
        // Refused before anything was stopped; an older controller may ask.
        Source::Postgres(login) => {
            Err(HostError::Io(format!("{}: this version restores no database of PostgreSQL", login.database)))
        }
        Source::Sqlite { path, .. } => sqlite(&stored, &path, wanted).map_err(said),
        Source::Files { path, .. } => files(root, asked, &stored, &path, wanted),
    }
}

fn said(spoilt: Spoilt) -> HostError {
    HostError::Io(spoilt.why)
}

/// Everything in the database goes first: what a later migration made would stand in the way of that migration.
fn database(stored: &Stored<'_>, login: &Login, wanted: &dyn Wanted) -> Result<String, Spoilt> {
    let (counted, seen) = scan(stored, wanted)?;
    clear(login, wanted)?;
    fault!("host.put-back.after-clear");
    load(stored, login, Events::AsSaved, wanted)?;
    let rows: u64 = counted.tables.values().sum();
    let definers = match seen.definers {
        0 => String::new(),
        count => format!("; {}: what they were about runs as {} now", definers_left_out(count), login.user),
    };
    let (tables, rows) =
        (shown::counted(counted.tables.len() as u64, "table", "tables"), shown::counted(rows, "row", "rows"));
    Ok(format!("{}: {tables}, {rows}{definers}", login.database))
}

fn clear(login: &Login, wanted: &dyn Wanted) -> Result<(), Spoilt> {
    let of = |what: &str, column: &str, table: &str, schema: &str, more: &str| -> Result<Vec<String>, Spoilt> {
        let question = format!("SELECT {column} FROM information_schema.{table} WHERE {schema} = DATABASE(){more}");
        let names = ask(login, &question, wanted)?;
        Ok(names.lines().map(|name| format!("DROP {what} IF EXISTS {}", identifier(name))).collect())
    };
    let mut drops = of("VIEW", "table_name", "views", "table_schema", "")?;
    let tables = " AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')";
    drops.extend(of("TABLE", "table_name", "tables", "table_schema", tables)?);
    // After the tables: a default may take its values from one.
    drops.extend(of("SEQUENCE", "table_name", "tables", "table_schema", " AND table_type = 'SEQUENCE'")?);
    for kind in ["PROCEDURE", "FUNCTION"] {
        drops.extend(of(kind, "routine_name", "routines", "routine_schema", &format!(" AND routine_type = '{kind}'"))?);
    }
    drops.extend(of("EVENT", "event_name", "events", "event_schema", "")?);
    for some in drops.chunks(100) {
        ask(login, &format!("SET FOREIGN_KEY_CHECKS=0; {}", some.join("; ")), wanted)?;
    }
    Ok(())
}

/// Beside the old one, which is replaced when the new one is whole.
fn sqlite(stored: &Stored<'_>, path: &Path, wanted: &dyn Wanted) -> Result<String, Spoilt> {
    stored.pour(&mut Nowhere, wanted)?;
    // Where a link leads to it, the link stays.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let path = real.as_path();
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let fresh = beside(".soll-restore");
    let swept = || {
        ["", "-journal", "-wal", "-shm"]
            .iter()
            .try_for_each(|ending| remove(&beside(&format!(".soll-restore{ending}"))))
    };
    swept()?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    has_room(dir, stored.part.plain_bytes.unwrap_or(stored.part.bytes))?;
    let at = |error: std::io::Error| Spoilt::open(format!("cannot replace {}: {error}", path.display()));
    let made = load::sqlite::load(stored, &fresh, wanted).and_then(|()| like_the_old_one(&fresh, path).map_err(at));
    if let Err(spoilt) = made {
        // A half of it lies in nobody's way; that it cannot be removed is not what there is to tell.
        let _ = swept();
        return Err(spoilt);
    }
    fault!("host.put-back.before-rename");
    // What lies beside belongs to the old one, and would be read into the new one.
    for ending in ["-journal", "-wal", "-shm"] {
        remove(&beside(ending))?;
    }
    fs::rename(&fresh, path).map_err(at)?;
    if let Some(dir) = path.parent() {
        fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(at)?;
    }
    Ok(format!("{} is as it was saved", path.display()))
}

/// With the mode and the owner of the file that it replaces.
fn like_the_old_one(fresh: &Path, path: &Path) -> std::io::Result<()> {
    let owner = match fs::metadata(path) {
        Ok(old) => {
            fs::set_permissions(fresh, fs::Permissions::from_mode(old.mode() & 0o7777))?;
            old
        }
        // Nothing is there: whoever owns the directory is to read it, and nobody else.
        Err(_) => fs::metadata(path.parent().unwrap_or(Path::new("/")))?,
    };
    // Where this user may not give files away they stay its own.
    let _ = std::os::unix::fs::chown(fresh, Some(owner.uid()), Some(owner.gid()));
    Ok(())
}

fn remove(path: &Path) -> Result<(), Spoilt> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Spoilt::open(format!("cannot remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Only below ROOT: what lies elsewhere belongs to others as well.
fn files(
    root: &Root,
    asked: &PutBack,
    stored: &Stored<'_>,
    path: &Path,
    wanted: &dyn Wanted,
) -> Result<String, HostError> {
    if !path.starts_with(root.path()) || path == root.path() {
        return Err(HostError::Io(format!(
            "{} does not lie below {}: take what is needed from `soll restore --to-scratch`",
            path.display(),
            root.path().display()
        )));
    }
    const PLACE: &str = "scratch/put-back";
    root.prepare()?;
    // Once unpacked below `.soll`, and once more where it belongs.
    let bytes = stored.part.plain_bytes.unwrap_or(stored.part.bytes);
    has_room(&root.own(""), bytes.saturating_mul(2)).map_err(said)?;
    root.own_dir("")?.make_missing("scratch", 0o700)?;
    root.remove_own(PLACE)?;
    root.own_dir("scratch")?.make_as("put-back", 0o700)?;
    let scratch = root.own(PLACE);
    let done = load::files::unpack(stored, &scratch, wanted).map_err(said).and_then(|unpacked| {
        let name = archived_name(path, root.path());
        let keep = merge::Keep { base: name.strip_prefix("shared").unwrap_or(&name), spare: &asked.spare };
        Ok((unpacked, merge::merge(&scratch.join(&name), path, &keep)?))
    });
    root.remove_own(PLACE)?;
    let (unpacked, merged) = done?;
    let told = [Some(merged.told(path)), unpacked.skipped()];
    Ok(told.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::backup::Always;
    use crate::backup::target::{Directory, Target};
    use crate::model::backup::manifest::PartEntry;
    use crate::model::backup::name::Content;
    use crate::model::ids::Digest;

    /// What comes of a dump that lies on a target, put back to this path.
    fn of(dir: &Path, dump: &str, path: &Path) -> Result<String, Spoilt> {
        let (nas, file) = (dir.join("nas"), "backup-db-20261130_010000.sql");
        fs::create_dir_all(nas.join("manual")).unwrap();
        fs::write(nas.join("manual").join(file), dump).unwrap();
        let digest = Digest::of(dump.as_bytes());
        let part = PartEntry {
            file: file.to_owned(),
            name: None,
            content: Content::Database,
            bytes: dump.len() as u64,
            sha256: digest,
            plain_bytes: Some(dump.len() as u64),
            plain_sha256: Some(digest),
            unknown: BTreeMap::new(),
            database: None,
            files: None,
        };
        let target = Target::Directory(Directory::open(&nas, true).unwrap());
        sqlite(&Stored { target: &target, dir: "manual", part: &part, identities: &[] }, path, &Always)
    }

    #[test]
    fn a_database_in_a_file_is_whole_or_the_old_one_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sqlite");
        let good = "BEGIN TRANSACTION;\nCREATE TABLE t(x);\nINSERT INTO t VALUES(1);\nCOMMIT;\n-- Dump completed\n";
        let bad = good.replace("INTO t", "INTO missing");
        let mode = || fs::metadata(&path).unwrap().mode() & 0o777;
        let left = || fs::read_dir(dir.path()).unwrap().count();
        of(dir.path(), good, &path).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let before = (fs::read(&path).unwrap(), left());
        let spoilt = of(dir.path(), &bad, &path).unwrap_err();
        assert!(spoilt.why.contains("no such table"), "{}", spoilt.why);
        assert_eq!((fs::read(&path).unwrap(), left()), before);
        of(dir.path(), good, &path).unwrap();
        assert_eq!(mode(), 0o640);
    }
}
