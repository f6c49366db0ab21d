//! PostgreSQL, by its own program: the `pg_dump` of the server's version, or of a newer one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::process::unnamed;
use super::tool::{Call, Tool};
use super::{CHANGED, Dumped, Login, Sink};
use crate::backup::copied::Copied;
use crate::backup::measure::Counting;
use crate::backup::{BackupError, Wanted};
use crate::model::ids::Digest;
use crate::model::shown::counted;

/// Where Debian keeps the programs of each version beside each other.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Everything that tables, views, routines and types are made of, and what happens by itself or is kept from somebody: another
/// answer is another schema. The order of columns counts, and not the number that a column that is gone has left.
const SCHEMA: [&str; 9] = [
    "SELECT n.nspname, c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
           pg_get_expr(d.adbin, d.adrelid) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
    ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\", a.attnum",
    "SELECT n.nspname, t.relname, c.conname, pg_get_constraintdef(c.oid) \
    FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace LEFT JOIN pg_class t ON t.oid = c.conrelid \
    WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
    ORDER BY n.nspname COLLATE \"C\", t.relname COLLATE \"C\", c.conname COLLATE \"C\"",
    "SELECT schemaname, indexname, indexdef FROM pg_indexes \
    WHERE schemaname <> 'information_schema' AND schemaname !~ '^pg_' \
    ORDER BY schemaname COLLATE \"C\", indexname COLLATE \"C\"",
    "SELECT schemaname, viewname, definition FROM pg_views \
    WHERE schemaname <> 'information_schema' AND schemaname !~ '^pg_' \
    ORDER BY schemaname COLLATE \"C\", viewname COLLATE \"C\"",
    "SELECT schemaname, matviewname, definition FROM pg_matviews \
    WHERE schemaname <> 'information_schema' AND schemaname !~ '^pg_' \
    ORDER BY schemaname COLLATE \"C\", matviewname COLLATE \"C\"",
    "SELECT n.nspname, c.relname, t.tgname, t.tgenabled, pg_get_triggerdef(t.oid) \
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE NOT t.tgisinternal AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
    ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\", t.tgname COLLATE \"C\"",
    "SELECT n.nspname, c.relname, c.relrowsecurity, c.relforcerowsecurity, p.polname, p.polcmd, p.polpermissive, \
           ARRAY(SELECT pg_get_userbyid(role) FROM unnest(p.polroles) AS role ORDER BY 1), \
           pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_policy p ON p.polrelid = c.oid \
    WHERE (p.oid IS NOT NULL OR c.relrowsecurity) AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
    ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\", p.polname COLLATE \"C\"",
    "SELECT n.nspname, t.typname, e.enumlabel \
    FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace \
    ORDER BY n.nspname COLLATE \"C\", t.typname COLLATE \"C\", e.enumsortorder",
    "SELECT n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), md5(p.prosrc) \
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
    WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
    ORDER BY n.nspname COLLATE \"C\", p.proname COLLATE \"C\", 3",
];
/// Its number and its name.
const SERVER: &str = "SELECT current_setting('server_version_num'), version()";
/// Where the log of a server stands. A standby has another word for that, and a user may lack the right to ask.
const POSITION: &str =
    "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END";
/// What leads the programs of a container to another server than the one that runs there. `PGPORT` does not: that server
/// itself listens where it says.
const ELSEWHERE: [&str; 8] = [
    "PGHOST",
    "PGHOSTADDR",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGPASSFILE",
    "PGSSLMODE",
    "PGTARGETSESSIONATTRS",
    "PGOPTIONS",
];
/// Whether `psql -1` keeps its word: large objects bring transactions of their own into a dump.
const LARGE: &str = "SELECT count(*) FROM pg_largeobject_metadata";

/// Dumps it.
///
/// # Errors
/// A program is missing, older than the server, or did not come to its end; the dump has no last line; the schema changed while
/// it was read.
pub fn dump(login: &Login, sink: &mut Sink<'_>) -> Result<Dumped, BackupError> {
    let missing = |program: &str| match &login.inside {
        Some(inside) => BackupError(format!("{program} is not in the service {}", inside.name())),
        None => BackupError(format!("{program} is not here: apt install postgresql-client")),
    };
    let client = Client { tool: tool(login, "psql", newest, sink.wanted)?.ok_or_else(|| missing("psql"))?, login };
    let server = client.ask(&[SERVER], sink.wanted)?;
    let mut words = server.trim().splitn(2, FIELD);
    let (number, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let major: u32 = number
        .parse::<u32>()
        .map(|number| number / 10_000)
        .map_err(|_| BackupError(format!("the server does not say which version it is: {}", server.trim())))?;
    // It is a remark for people: who may not know it dumps all the same.
    let position = client.ask(&[POSITION], sink.wanted).unwrap_or_default();
    let dumper = tool(login, "pg_dump", |dir, _| dumper(dir, major), sink.wanted)?;
    let dumper = dumper.ok_or_else(|| missing("pg_dump"))?;
    let own = dumper.version(sink.wanted)?;
    fits(&own, major)?;
    let before = client.ask(&SCHEMA, sink.wanted)?;
    let dumped = through(&dumper, login, sink)?;
    let after = client.ask(&SCHEMA, sink.wanted)?;
    if before != after {
        return Err(BackupError(format!("{CHANGED}: tables or routines of {} are not what they were", login.database)));
    }
    let mut warnings = Vec::new();
    let large = client.ask(&[LARGE], sink.wanted)?;
    if large.trim() != "0" {
        // It is a number that the server gave.
        let large = counted(large.trim().parse().unwrap_or(u64::MAX), "large object", "large objects");
        warnings.push(format!(
            "the dump has {large}, with transactions of their own: `psql -1` does not restore all of it or nothing"
        ));
    }
    Ok(Dumped {
        tables: dumped,
        schema: Some(Digest::of(after.as_bytes())),
        client: own,
        server: version.to_owned(),
        position: Some(position.trim().to_owned()).filter(|position| !position.is_empty()),
        loose: Vec::new(),
        warnings,
    })
}

/// Between the columns of an answer.
const FIELD: char = '\u{1f}';

/// The program of this machine that is chosen, else whichever is found; inside a container the one that is there.
fn tool(
    login: &Login,
    name: &str,
    chosen: impl FnOnce(&Path, &str) -> Option<PathBuf>,
    wanted: &dyn Wanted,
) -> Result<Option<Tool>, BackupError> {
    match login.inside.is_none().then(|| chosen(Path::new(VERSIONS), name)).flatten() {
        Some(path) => Ok(Some(Tool::at(&path))),
        None => Tool::find(login.inside.as_ref(), &[name], wanted),
    }
}

/// Passes the dump on. Gives the rows of each table.
fn through(dumper: &Tool, login: &Login, sink: &mut Sink<'_>) -> Result<BTreeMap<String, u64>, BackupError> {
    let mut words = vec!["--format=plain", "--encoding=UTF8", "--no-owner", "--no-privileges", "--no-tablespaces"];
    // What a subscription brings is dumped as rows; restored, it would go on bringing it.
    words.extend(["--no-subscriptions", "--no-password", "--lock-wait-timeout=60s"]);
    let mut counting = Counting::<_, Copied>::new(&mut *sink.to);
    dumper.run(login.libpq(words)?, &mut counting, sink.wanted)?;
    let ended = counting.end();
    if !ended.is_complete {
        return Err(BackupError(format!(
            "the dump of {} ended without `-- PostgreSQL database dump complete`: {} stopped in the middle, and what came \
             is a part of it",
            login.database,
            dumper.name()
        )));
    }
    Ok(ended.tables)
}

/// The program of each version that is here, the oldest first.
fn versions(dir: &Path, program: &str) -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let path = entry.path().join("bin").join(program);
        path.is_file().then_some((version, path))
    };
    let mut all: Vec<_> = entries.filter_map(of).collect();
    all.sort();
    all
}

fn newest(dir: &Path, program: &str) -> Option<PathBuf> {
    versions(dir, program).pop().map(|(_, path)| path)
}

/// That of the server's version, or the next newer one: what a much newer one writes an old server does not read.
fn dumper(dir: &Path, server: u32) -> Option<PathBuf> {
    versions(dir, "pg_dump").into_iter().find(|(version, _)| *version >= server).map(|(_, path)| path)
}

/// `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`: one that is older than the server does not know what is in it.
fn fits(own: &str, server: u32) -> Result<(), BackupError> {
    let number = own.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let major = number.and_then(|number| number.split(['.', 'b', 'd', 'r']).next()?.parse::<u32>().ok());
    match major {
        Some(major) if major < server => Err(BackupError(format!(
            "{own} is older than the server, which is version {server}: apt install postgresql-client-{server}"
        ))),
        _ => Ok(()),
    }
}

impl Login {
    /// A call of one of the programs. Where the server is stands in no argument: what is in one could mean something else.
    fn libpq(&self, words: Vec<&str>) -> Result<Call, BackupError> {
        let plain = |text: &str| Zeroizing::new(text.to_owned());
        let mut variables = vec![("PGUSER", plain(&self.user)), ("PGDATABASE", plain(&self.database))];
        variables.extend([("PGCONNECT_TIMEOUT", plain("30")), ("PGAPPNAME", plain("soll"))]);
        variables.push(("PGCLIENTENCODING", plain("UTF8")));
        let mut call = Call { words: words.into_iter().map(OsString::from).collect(), ..Call::default() };
        match &self.inside {
            // Where it runs it is reached by its socket.
            Some(_) => {
                variables.push(("PGPASSWORD", self.password.clone()));
                call.without = &ELSEWHERE;
            }
            None => {
                variables.push(("PGPASSFILE", plain("/dev/stdin")));
                call.input = Some(self.passfile()?);
                let (port, tls) = (self.port.map(|port| port.to_string()), &self.tls);
                let place = [
                    ("PGHOST", self.socket.as_ref().or(self.host.as_ref())),
                    ("PGPORT", port.as_ref()),
                    ("PGSSLMODE", tls.mode.as_ref()),
                    ("PGSSLROOTCERT", tls.root.as_ref()),
                ];
                variables.extend(place.into_iter().filter_map(|(name, value)| Some((name, plain(value?)))));
            }
        }
        Ok(Call { variables, ..call })
    }

    /// As a password file, which is handed over and never has a name.
    fn passfile(&self) -> Result<File, BackupError> {
        if self.password.contains(['\n', '\0']) {
            return Err(BackupError(format!(
                "the password of {} has a line end in it, which no password file of PostgreSQL can say",
                self.user
            )));
        }
        let escaped = Zeroizing::new(self.password.replace('\\', "\\\\").replace(':', "\\:"));
        unnamed(&Zeroizing::new(format!("*:*:*:*:{}\n", escaped.as_str())))
    }
}

/// The client program, for small questions.
struct Client<'a> {
    tool: Tool,
    login: &'a Login,
}

impl Client<'_> {
    fn ask(&self, questions: &[&str], wanted: &dyn Wanted) -> Result<String, BackupError> {
        let between = format!("--field-separator={FIELD}");
        let mut words = vec!["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password"];
        words.extend(["--set=ON_ERROR_STOP=1", &between]);
        // Each by itself: of several in one argument old versions show the last answer alone.
        words.extend(questions.iter().flat_map(|question| ["--command", question]));
        self.tool.output(self.login.libpq(words)?, wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dumper_that_is_older_than_the_server_is_told() {
        let own = "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)";
        assert!(fits(own, 15).is_ok() && fits(own, 9).is_ok());
        let error = fits(own, 16).unwrap_err().to_string();
        assert!(error.contains("older than the server") && error.contains("postgresql-client-16"), "{error}");
        assert!(fits("pg_dump (PostgreSQL) 17beta1", 17).is_ok());
    }

    #[test]
    fn the_dumper_of_the_servers_version_is_taken_or_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["9.6", "13", "15", "17"] {
            let bin = dir.path().join(version).join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            std::fs::write(bin.join("pg_dump"), "").unwrap();
        }
        let of = |server| dumper(dir.path(), server);
        assert_eq!(of(15), Some(dir.path().join("15/bin/pg_dump")));
        assert_eq!(of(16), Some(dir.path().join("17/bin/pg_dump")));
        assert_eq!((of(18), newest(dir.path(), "pg_dump")), (None, Some(dir.path().join("17/bin/pg_dump"))));
    }
}
