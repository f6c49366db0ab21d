//! SQLite: one consistent state of the file as SQL text, as the program `sqlite3` prints it and reads it back. The file itself
//! is never copied as a file: what such a copy catches between two pages opens without an error and lacks rows. A database with
//! a write-ahead log is read where it is. Of one without, whose readers keep writers out, a copy by SQLite itself lies in
//! `scratch` while it is dumped: writers wait for that copy, and not for the slowest target.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::{Dumped, Sink};
use crate::backup::{BackupError, Wanted, room, unwanted};
use crate::model::ids::Digest;

/// How the name of a copy begins.
const SCRATCH: &str = ".dump.tmp-";
/// So long a writer is waited for.
const BUSY: Duration = Duration::from_secs(30);
/// After so many rows it is asked whether anybody still wants them.
const LOOK: u64 = 4096;
/// So many pages are copied before that is asked.
const PAGES: i32 = 4096;
/// And so often while a question that takes long is answered.
const ASK: Duration = Duration::from_secs(1);

/// Dumps it. `scratch`: where a copy of a database may lie for a moment.
///
/// # Errors
/// It is not there, or no database; it is damaged; somebody writes to it for too long.
pub fn dump(path: &Path, scratch: &Path, sink: &mut Sink<'_>) -> Result<Dumped, BackupError> {
    let place = path.display();
    let failed = |error: rusqlite::Error| BackupError(format!("the database {place} cannot be dumped: {error}"));
    // A path that leads nowhere would be a new and empty database, saved every night.
    std::fs::metadata(path).map_err(crate::backup::at("read the database", path))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = |flags| Connection::open_with_flags(path, flags);
    // What may only be read is read: then nobody writes to it from here, and a log that others left is read, too.
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut source = open(flags).or_else(|_| open(read_only)).map_err(failed)?;
    source.busy_timeout(BUSY).map_err(failed)?;
    source.execute_batch("PRAGMA query_only = ON").map_err(failed)?;
    let journal: String = source.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(failed)?;
    if journal.eq_ignore_ascii_case("wal") {
        return text(&mut source, sink).map_err(|error| named(path, error));
    }
    has_room(&source, path, scratch)?;
    // As whatever is there for a moment is called: a copy that a crash leaves is removed as such.
    let copy = tempfile::Builder::new().prefix(SCRATCH).tempfile_in(scratch);
    let copy = copy.map_err(crate::backup::at("make a copy in", scratch))?;
    let mut target = Connection::open(copy.path()).map_err(failed)?;
    copied(&source, &mut target, sink.wanted).map_err(|error| named(path, error))?;
    text(&mut target, sink).map_err(|error| named(path, error))
}

/// A copy that is only there to be dumped must not fill the disk of what is live.
fn has_room(source: &Connection, path: &Path, scratch: &Path) -> Result<(), BackupError> {
    let failed = |error| named(path, Broken::Sql(error));
    let asked = |pragma: &str| source.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
    let size = asked("page_count").map_err(failed)?.saturating_mul(asked("page_size").map_err(failed)?);
    let size = u64::try_from(size).unwrap_or_default();
    let free = room::free(scratch).map_err(crate::backup::at("ask for the room of", scratch))?;
    fits(size, free).map_err(|free| {
        let (path, scratch) = (path.display(), scratch.display());
        BackupError(format!(
            "the database {path} cannot be dumped: a copy of it has {size} bytes, and {free} are free in {scratch}: make room \
             there, or give it a write-ahead log (PRAGMA journal_mode=WAL), which needs no copy"
        ))
    })
}

/// A tenth more than the copy: others write meanwhile.
fn fits(size: u64, free: Option<u64>) -> Result<(), u64> {
    match free {
        Some(free) if free < size.saturating_add(size / 10) => Err(free),
        _ => Ok(()),
    }
}

fn named(path: &Path, error: Broken) -> BackupError {
    let place = path.display();
    BackupError(match error {
        Broken::Sql(error) => format!("the database {place} cannot be dumped: {error}"),
        Broken::Write(error) => format!("the dump of {place} is lost: {error}"),
    })
}

/// What went wrong: the database, or whoever takes the dump.
enum Broken {
    Sql(rusqlite::Error),
    Write(io::Error),
}

impl From<rusqlite::Error> for Broken {
    fn from(error: rusqlite::Error) -> Self {
        Broken::Sql(error)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Broken::Write(error)
    }
}

/// A thing of the schema.
pub(in crate::backup) struct Made {
    pub kind: String,
    pub name: String,
    pub sql: String,
}

/// Copies a database, page after page, while somebody wants it.
fn copied(source: &Connection, target: &mut Connection, wanted: &dyn Wanted) -> Result<(), Broken> {
    // A reader from here on: nobody writes between two steps, so that the copy is begun once and not again with each write.
    source.execute_batch("BEGIN")?;
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let backup = Backup::new(source, target)?;
    let mut since = Instant::now();
    loop {
        if !wanted.is_wanted() {
            return Err(Broken::Write(unwanted()));
        }
        match backup.step(PAGES)? {
            StepResult::Done => break,
            StepResult::Busy | StepResult::Locked if since.elapsed() >= BUSY => {
                let why = format!("somebody has locked it for {} s", BUSY.as_secs());
                return Err(Broken::Write(io::Error::other(why)));
            }
            StepResult::Busy | StepResult::Locked => std::thread::sleep(Duration::from_millis(20)),
            _ => since = Instant::now(),
        }
    }
    drop(backup);
    Ok(source.execute_batch("ROLLBACK")?)
}

/// Asks something that may take long and says nothing meanwhile. Where nobody waits for it any more it is broken off.
fn patiently<T: Send>(
    connection: &mut Connection,
    wanted: &dyn Wanted,
    ask: impl FnOnce(&Connection) -> T + Send,
) -> Result<T, Broken> {
    let stop = connection.get_interrupt_handle();
    std::thread::scope(|scope| {
        let (done, answer) = sync_channel(1);
        // Nobody hears it where this function has ended, which it does not before the thread has.
        scope.spawn(move || drop(done.send(ask(connection))));
        let mut is_wanted = true;
        loop {
            match answer.recv_timeout(ASK) {
                Ok(answer) if is_wanted => return Ok(answer),
                Ok(_) => return Err(Broken::Write(unwanted())),
                Err(RecvTimeoutError::Timeout) => {
                    is_wanted = is_wanted && wanted.is_wanted();
                    if !is_wanted {
                        stop.interrupt();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Broken::Write(io::Error::other("a thread that asked it broke off")));
                }
            }
        }
    })
}

fn text(connection: &mut Connection, sink: &mut Sink<'_>) -> Result<Dumped, Broken> {
    // One state for everything that follows.
    connection.execute_batch("BEGIN")?;
    let wanted = sink.wanted;
    let check = |connection: &Connection| -> rusqlite::Result<String> {
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
    };
    let sound = patiently(connection, wanted, check)??;
    if sound != "ok" {
        return Err(Broken::Write(io::Error::other(format!("it is damaged: {sound}"))));
    }
    let connection = &*connection;
    let mut out = BufWriter::with_capacity(256 * 1024, &mut *sink.to);
    out.write_all(b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n")?;
    for pragma in ["user_version", "application_id"] {
        let number: i64 = connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))?;
        if number != 0 {
            writeln!(out, "PRAGMA {pragma}={number};")?;
        }
    }
    let made = schema(connection)?;
    let mut dumped = Dumped::default();
    let virtual_tables = made.iter().filter(|made| is_virtual(&made.sql)).count();
    let mut writable = false;
    for table in made.iter().filter(|made| made.kind == "table") {
        match table.name.as_str() {
            // Made by themselves where they are needed.
            "sqlite_sequence" => out.write_all(b"DELETE FROM sqlite_sequence;\n")?,
            name if name.starts_with("sqlite_stat") => out.write_all(b"ANALYZE sqlite_schema;\n")?,
            name if name.starts_with("sqlite_") => continue,
            name if is_virtual(&table.sql) => {
                if !writable {
                    out.write_all(b"PRAGMA writable_schema=ON;\n")?;
                    writable = true;
                }
                let (name, sql) = (quoted(name), quoted(&table.sql));
                writeln!(
                    out,
                    "INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql)VALUES('table',{name},{name},0,{sql});"
                )?;
                continue;
            }
            _ => writeln!(out, "{};", table.sql)?,
        }
        let rows = rows(connection, &table.name, &mut out, wanted)?;
        dumped.tables.insert(table.name.clone(), rows);
    }
    for other in made.iter().filter(|made| made.kind != "table") {
        writeln!(out, "{};", other.sql)?;
    }
    if writable {
        out.write_all(b"PRAGMA writable_schema=OFF;\n")?;
    }
    out.write_all(b"COMMIT;\n-- Dump completed\n")?;
    out.flush()?;
    drop(out);
    connection.execute_batch("ROLLBACK")?;
    dumped.schema = Some(digest(&made));
    dumped.client = format!("soll {} (SQLite {})", env!("CARGO_PKG_VERSION"), rusqlite::version());
    if virtual_tables > 0 {
        let warning = "virtual tables are restored by `sqlite3` in its default mode only, and with their modules";
        dumped.warnings.push(warning.to_owned());
    }
    Ok(dumped)
}

/// Of all that was made: another one is another schema.
pub(in crate::backup) fn digest(made: &[Made]) -> Digest {
    let all: Vec<_> = made.iter().map(|made| (&made.kind, &made.name, &made.sql)).collect();
    Digest::of_json(&all)
}

/// Tables first, in the order in which they were made; indexes, views and triggers after all rows.
pub(in crate::backup) fn schema(connection: &Connection) -> rusqlite::Result<Vec<Made>> {
    let sql = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type <> 'table', \
               tbl_name = 'sqlite_sequence', rowid";
    let mut statement = connection.prepare(sql)?;
    let made = statement.query_map([], |row| Ok(Made { kind: row.get(0)?, name: row.get(1)?, sql: row.get(2)? }))?;
    made.collect()
}

pub(in crate::backup) fn is_virtual(sql: &str) -> bool {
    sql.get(..20).is_some_and(|begin| begin.eq_ignore_ascii_case("CREATE VIRTUAL TABLE"))
}

/// The rows of a table as statements. Gives how many there are.
fn rows(connection: &Connection, table: &str, out: &mut impl Write, wanted: &dyn Wanted) -> Result<u64, Broken> {
    let name = identifier(table);
    // What is computed from other columns cannot be inserted.
    let mut columns = connection.prepare(&format!("SELECT name, hidden FROM pragma_table_xinfo({})", quoted(table)))?;
    let columns = columns.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let columns: Vec<(String, i64)> = columns.collect::<rusqlite::Result<_>>()?;
    let stored: Vec<String> =
        columns.iter().filter(|(_, hidden)| *hidden == 0).map(|(name, _)| identifier(name)).collect();
    let list = if stored.len() == columns.len() { String::new() } else { format!("({})", stored.join(",")) };
    let mut statement = connection.prepare(&format!("SELECT {} FROM {name}", stored.join(",")))?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    let mut line = Vec::new();
    while let Some(row) = rows.next()? {
        line.clear();
        write!(line, "INSERT INTO {name}{list} VALUES(")?;
        for column in 0..stored.len() {
            if column > 0 {
                line.push(b',');
            }
            value(row.get_ref(column)?, &mut line)?;
        }
        line.extend_from_slice(b");\n");
        out.write_all(&line)?;
        count += 1;
        if count % LOOK == 0 && !wanted.is_wanted() {
            return Err(Broken::Write(unwanted()));
        }
    }
    Ok(count)
}

fn value(value: ValueRef<'_>, out: &mut Vec<u8>) -> io::Result<()> {
    match value {
        ValueRef::Null => out.extend_from_slice(b"NULL"),
        ValueRef::Integer(number) => write!(out, "{number}")?,
        ValueRef::Real(number) if number.is_infinite() => {
            out.extend_from_slice(if number > 0.0 { b"1e999" } else { b"-1e999" });
        }
        // The shortest text that is read back as the same number.
        ValueRef::Real(number) => write!(out, "{number:?}")?,
        // A text that is none, or that `sqlite3` would read only up to its NUL.
        ValueRef::Text(text) if text.contains(&0) || str::from_utf8(text).is_err() => {
            out.extend_from_slice(b"CAST(");
            hexadecimal(text, out)?;
            out.extend_from_slice(b" AS TEXT)");
        }
        ValueRef::Text(text) => {
            out.push(b'\'');
            for part in text.split_inclusive(|byte| *byte == b'\'') {
                out.extend_from_slice(part);
                if part.ends_with(b"'") {
                    out.push(b'\'');
                }
            }
            out.push(b'\'');
        }
        ValueRef::Blob(bytes) => hexadecimal(bytes, out)?,
    }
    Ok(())
}

fn hexadecimal(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"X'");
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
    out.push(b'\'');
    Ok(())
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Always;

    fn dumped(path: &Path) -> (String, Dumped) {
        let mut text = Vec::new();
        let dumped = dump(path, path.parent().unwrap(), &mut Sink { to: &mut text, wanted: &Always }).unwrap();
        (String::from_utf8(text).unwrap(), dumped)
    }

    /// Everything that a query of every table gives, with the type of each value.
    fn contents(connection: &Connection) -> Vec<String> {
        let mut all = Vec::new();
        for made in schema(connection).unwrap() {
            all.push(format!("{} {} {}", made.kind, made.name, made.sql));
            if made.kind == "table" {
                let sql = format!("SELECT * FROM {} ORDER BY 1", identifier(&made.name));
                let mut statement = connection.prepare(&sql).unwrap();
                let columns = statement.column_count();
                let mut rows = statement.query([]).unwrap();
                while let Some(row) = rows.next().unwrap() {
                    all.push((0..columns).map(|n| format!("{:?} ", row.get_ref(n).unwrap())).collect());
                }
            }
        }
        all
    }

    #[test]
    fn what_is_read_back_is_what_was_dumped() {
        for mode in ["wal", "delete"] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("app.sqlite");
            let source = Connection::open(&path).unwrap();
            let _: String = source.query_row(&format!("PRAGMA journal_mode={mode}"), [], |row| row.get(0)).unwrap();
            source
                .execute_batch(
                    "CREATE TABLE \"a \"\"b\"(id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT, r REAL, b BLOB, n);
                     INSERT INTO \"a \"\"b\" VALUES(7,'it''s',0.1,X'00ff',NULL),(9,'two
lines; --',-1e300,X'',1e999),(10,CAST(X'610062' AS TEXT),5.0,NULL,9223372036854775807);
                     CREATE TABLE g(x INTEGER, y INTEGER GENERATED ALWAYS AS (x * 2) VIRTUAL);
                     INSERT INTO g(x) VALUES(4);
                     CREATE TABLE empty(x);
                     CREATE VIEW v AS SELECT count(*) FROM g;
                     CREATE INDEX i ON g(x);
                     CREATE TRIGGER tr AFTER INSERT ON empty BEGIN DELETE FROM g; END;
                     PRAGMA user_version=42;",
                )
                .unwrap();
            let (text, dumped) = dumped(&path);
            let counts: Vec<_> = dumped.tables.iter().map(|(name, rows)| (name.as_str(), *rows)).collect();
            assert_eq!(counts, [("a \"b", 3), ("empty", 0), ("g", 1), ("sqlite_sequence", 1)]);
            let back = Connection::open_in_memory().unwrap();
            back.execute_batch(&text).unwrap();
            assert_eq!(contents(&back), contents(&source), "{mode}");
            let version: i64 = back.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
            assert_eq!(version, 42);
            // Nothing of a copy stays.
            let left = std::fs::read_dir(dir.path()).unwrap().filter(|entry| {
                entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(SCRATCH))
            });
            assert_eq!(left.count(), 0);
        }
    }

    /// Somebody who is gone from the beginning.
    struct Never;
    impl Wanted for Never {
        fn is_wanted(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_question_that_takes_for_ever_and_a_copy_end_where_nobody_waits() {
        let mut connection = Connection::open_in_memory().unwrap();
        let forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
        let asked = patiently(&mut connection, &Never, |connection| {
            connection.query_row(forever, [], |row| row.get::<_, i64>(0))
        });
        assert!(matches!(asked, Err(Broken::Write(error)) if error.to_string().contains("nobody waits")));
        let mut copy = Connection::open_in_memory().unwrap();
        assert!(matches!(copied(&connection, &mut copy, &Never), Err(Broken::Write(_))));
    }

    /// Whoever writes all the time does not keep a copy from coming to its end, nor is a copy made of two states.
    #[test]
    fn a_copy_is_made_beside_somebody_who_writes_all_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sqlite");
        let writer = Connection::open(&path).unwrap();
        let page = "x".repeat(3000);
        let rows =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT i, ?1, 0 FROM n";
        writer.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, p, round)").unwrap();
        writer.execute(&format!("INSERT INTO t {rows}"), [&page]).unwrap();
        let over = &std::sync::atomic::AtomicBool::new(false);
        let text = std::thread::scope(|scope| {
            scope.spawn(move || {
                writer.busy_timeout(BUSY).unwrap();
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    writer.execute("UPDATE t SET round = round + 1 WHERE id IN (1, 10000)", []).unwrap();
                }
            });
            let (text, _) = dumped(&path);
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            text
        });
        let back = Connection::open_in_memory().unwrap();
        back.execute_batch(&text).unwrap();
        let rounds = "SELECT count(DISTINCT round) FROM t WHERE id IN (1, 10000)";
        assert_eq!(back.query_row(rounds, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    }

    #[test]
    fn a_copy_is_made_where_it_fits() {
        assert_eq!((fits(100, Some(110)), fits(100, None), fits(100, Some(109))), (Ok(()), Ok(()), Err(109)));
    }

    #[test]
    fn what_is_not_there_is_no_empty_database() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none.sqlite");
        let mut text = Vec::new();
        let error = dump(&path, dir.path(), &mut Sink { to: &mut text, wanted: &Always }).unwrap_err();
        assert!(error.to_string().contains("none.sqlite") && !path.exists() && text.is_empty(), "{error}");
    }
}
