//! MariaDB and MySQL, by their own program: `mariadb-dump` or `mysqldump`, whichever is on the machine.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};

use zeroize::Zeroizing;

use super::process::unnamed;
use super::tool::{Call, Tool};
use super::{CHANGED, Dumped, Login, Sink};
use crate::backup::count::Counter;
use crate::backup::measure::Counting;
use crate::backup::{BackupError, Wanted};
use crate::model::ids::Digest;

/// The columns of every table, and what its rows are kept by: another answer is another schema.
pub(in crate::backup) const SCHEMA: &str = "SELECT table_name, column_name, ordinal_position, column_type, is_nullable, extra \
                      FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY 1, 3";
const LOOSE: &str = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() \
                     AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND engine <> 'InnoDB' ORDER BY 1";

/// Dumps it.
///
/// # Errors
/// A program is missing, or did not come to its end; the dump has no last line; the schema changed while it was read.
pub fn dump(login: &Login, sink: &mut Sink<'_>) -> Result<Dumped, BackupError> {
    let dumper = Tool::find(login.inside.as_ref(), &["mariadb-dump", "mysqldump"], sink.wanted)?;
    let dumper = dumper.ok_or_else(|| match &login.inside {
        Some(inside) => BackupError(format!("neither mariadb-dump nor mysqldump is in the service {}", inside.name())),
        None => BackupError("neither mariadb-dump nor mysqldump is here: apt install mariadb-client".to_owned()),
    })?;
    let client = Client::find(login, sink.wanted)?;
    dump_by(&dumper, client, login, sink)
}

fn dump_by(
    dumper: &Tool,
    client: Option<Client<'_>>,
    login: &Login,
    sink: &mut Sink<'_>,
) -> Result<Dumped, BackupError> {
    let version = dumper.version(sink.wanted)?;
    let before = client.as_ref().map(|client| client.ask(SCHEMA, sink.wanted)).transpose()?;
    let mut words = vec!["--single-transaction", "--quick", "--routines", "--events", "--triggers"];
    words.extend(["--no-tablespaces", "--hex-blob", "--default-character-set=utf8mb4", "--skip-lock-tables"]);
    if !version.contains("MariaDB") {
        // A little-privileged user may not read them, and nobody restores them.
        words.extend(["--column-statistics=0", "--set-gtid-purged=OFF"]);
    }
    // Without `--databases`: a dump that names its database is restored into that one, wherever it was meant to go.
    words.extend(["--", &login.database]);
    let call = login.call(words)?;
    let mut dumped = Unboxed::new(Counting::<_, Counter>::new(&mut *sink.to));
    dumper.run(call, &mut dumped, sink.wanted)?;
    let ended = dumped.end().map_err(|error| BackupError(format!("the dump cannot be written: {error}")));
    let (counting, dropped) = ended?;
    let counted = counting.end();
    if !counted.is_complete {
        return Err(BackupError(format!(
            "the dump of {} ended without `-- Dump completed`: {} stopped in the middle, and what came is a part of it",
            login.database,
            dumper.name()
        )));
    }
    let mut warnings = Vec::new();
    if dropped {
        warnings.push("the sandbox line of mariadb-dump is left out, so that every client can restore it".to_owned());
    }
    let (mut schema, mut server, mut loose) = (None, String::new(), Vec::new());
    match &client {
        Some(client) => {
            let after = client.ask(SCHEMA, sink.wanted)?;
            if before.as_ref() != Some(&after) {
                return Err(BackupError(format!("{CHANGED}: tables of {} are not what they were", login.database)));
            }
            schema = Some(Digest::of(after.as_bytes()));
            server = client.ask("SELECT VERSION()", sink.wanted)?.trim().to_owned();
            loose = client.ask(LOOSE, sink.wanted)?.lines().map(str::to_owned).collect();
        }
        None => warnings.push("neither mariadb nor mysql is here: the schema was not compared".to_owned()),
    }
    if !loose.is_empty() {
        warnings.push(format!("no transaction holds these tables, which are not InnoDB: {}", loose.join(", ")));
    }
    Ok(Dumped { tables: counted.tables, schema, client: version, server, position: None, loose, warnings })
}

impl Login {
    /// A call of one of the programs, which all understand this.
    fn call(&self, words: Vec<&str>) -> Result<Call, BackupError> {
        let all = |first: Vec<String>| {
            let first = first.into_iter().map(OsString::from);
            first.chain(words.into_iter().map(OsString::from)).collect()
        };
        Ok(match &self.inside {
            // Where it runs it is reached by its socket, which the programs there know by themselves, whatever host a file or a
            // variable of the container names.
            Some(_) => Call {
                words: all(vec![
                    format!("--user={}", self.user),
                    "--host=localhost".to_owned(),
                    "--protocol=socket".to_owned(),
                ]),
                variables: vec![("MYSQL_PWD", self.password.clone())],
                ..Call::default()
            },
            // First, or it is not read.
            None => Call {
                words: all(vec!["--defaults-extra-file=/dev/stdin".to_owned()]),
                input: Some(self.file()?),
                ..Call::default()
            },
        })
    }

    /// As an options file, which is handed over and never has a name.
    pub(in crate::backup) fn file(&self) -> Result<File, BackupError> {
        let mut text = Zeroizing::new("[client]\n".to_owned());
        let mut line = |key: &str, value: &str| {
            let escaped = Zeroizing::new(value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
            text.push_str(&format!("{key}=\"{}\"\n", escaped.as_str()));
        };
        line("user", &self.user);
        line("password", &self.password);
        match &self.socket {
            // Beside another host it would not be used, and another server be asked.
            Some(socket) => {
                line("host", "localhost");
                line("protocol", "socket");
                line("socket", socket);
            }
            // `localhost` means the socket to these programs, and so it does to the application.
            None => {
                if let Some(host) = &self.host {
                    line("host", host);
                }
                if let Some(port) = self.port {
                    line("port", &port.to_string());
                }
            }
        }
        unnamed(&text)
    }
}

/// The names that the client program has.
pub(in crate::backup) const CLIENTS: [&str; 2] = ["mariadb", "mysql"];

/// The client program, for small questions.
pub(in crate::backup) struct Client<'a> {
    tool: Tool,
    login: &'a Login,
}

impl<'a> Client<'a> {
    pub fn find(login: &'a Login, wanted: &dyn Wanted) -> Result<Option<Client<'a>>, BackupError> {
        let tool = Tool::find(login.inside.as_ref(), &CLIENTS, wanted)?;
        Ok(tool.map(|tool| Client { tool, login }))
    }

    pub fn ask(&self, question: &str, wanted: &dyn Wanted) -> Result<String, BackupError> {
        let (database, question) = (format!("--database={}", self.login.database), format!("--execute={question}"));
        self.tool.output(self.login.call(vec!["--batch", "--skip-column-names", &database, &question])?, wanted)
    }
}

/// Leaves out the first line, which only new clients of MariaDB understand.
struct Unboxed<W> {
    to: W,
    /// The first line, as far as it has come; `None`: it has gone by.
    first: Option<Vec<u8>>,
    dropped: bool,
}

impl<W: Write> Unboxed<W> {
    fn new(to: W) -> Unboxed<W> {
        Unboxed { to, first: Some(Vec::new()), dropped: false }
    }

    /// What it stands in front of, and whether a line was left out.
    fn end(mut self) -> io::Result<(W, bool)> {
        if let Some(line) = self.first.take() {
            self.to.write_all(&line)?;
        }
        Ok((self.to, self.dropped))
    }
}

impl<W: Write> Write for Unboxed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(first) = &mut self.first else { return self.to.write(bytes) };
        first.extend_from_slice(bytes);
        let Some(end) = first.iter().position(|byte| *byte == b'\n') else { return Ok(bytes.len()) };
        let mut line = self.first.take().unwrap_or_default();
        let rest = line.split_off(end + 1);
        self.dropped = line.starts_with(b"/*M!999999\\-") || line.starts_with(b"/*!999999\\-");
        if !self.dropped {
            self.to.write_all(&line)?;
        }
        self.to.write_all(&rest)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Always;

    /// What a dumper gives that is this script.
    fn by(script: &str) -> (Result<Dumped, BackupError>, String) {
        let script = format!("case \"$0\" in --version) echo mariadb-dump 10.11-MariaDB;; *) {script};; esac");
        let dumper = Tool::Here(vec!["/bin/sh".into(), "-c".into(), script.into()]);
        let login = Login {
            user: "app".to_owned(),
            password: Zeroizing::new("hunter \"2\"".to_owned()),
            database: "shop".to_owned(),
            ..Login::default()
        };
        let mut text = Vec::new();
        let dumped = dump_by(&dumper, None, &login, &mut Sink { to: &mut text, wanted: &Always });
        (dumped, String::from_utf8_lossy(&text).into_owned())
    }

    const TABLE: &str = r"printf 'CREATE TABLE `a` (`x` int);\nINSERT INTO `a` VALUES (1),(2);\n'";

    #[test]
    fn only_a_dumper_that_came_to_its_end_has_made_a_dump() {
        let (dumped, _) = by(&format!("{TABLE}; printf -- '-- Dump completed\\n'"));
        assert_eq!(dumped.unwrap().tables, [("a".to_owned(), 2)].into());
        // Killed: what came so far is valid SQL.
        let (dumped, text) = by(&format!("{TABLE}; kill -9 $$"));
        let error = dumped.unwrap_err().to_string();
        assert!(error.contains("did not come to its end") && text.contains("(1),(2);"), "{error}");
        // It says that all is well, and stopped between two statements.
        let error = by(TABLE).0.unwrap_err().to_string();
        assert!(error.contains("`-- Dump completed`"), "{error}");
        // It says why.
        let error = by("echo Access denied >&2; exit 2").0.unwrap_err().to_string();
        assert!(error.contains("exit status: 2") && error.contains("Access denied"), "{error}");
    }

    #[test]
    fn the_login_is_read_from_a_file_that_has_no_name() {
        let (dumped, text) = by("cat /dev/stdin; echo \"$@\"; printf ';\\n-- Dump completed\\n'");
        let _ = dumped.unwrap();
        assert!(text.contains("password=\"hunter \\\"2\\\"\"") && text.contains("user=\"app\""), "{text}");
        let words = text.lines().find(|line| line.contains("--single-transaction")).unwrap();
        assert!(!words.contains("hunter"), "{words}");
    }

    #[test]
    fn where_a_socket_is_meant_no_host_is_asked() {
        let read = |login: Login| {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut login.file().unwrap(), &mut text).unwrap();
            text
        };
        let host = Some("db.example.com".to_owned());
        let login = |socket: Option<&str>| Login {
            host: host.clone(),
            port: Some(3307),
            socket: socket.map(str::to_owned),
            ..Login::default()
        };
        let text = read(login(Some("/run/db.sock")));
        assert!(text.contains("host=\"localhost\"\nprotocol=\"socket\"\nsocket=\"/run/db.sock\"\n"), "{text}");
        assert!(!text.contains("example.com") && !text.contains("port"), "{text}");
        let text = read(login(None));
        assert!(text.ends_with("host=\"db.example.com\"\nport=\"3307\"\n") && !text.contains("socket"), "{text}");
    }

    #[test]
    fn the_line_that_only_new_clients_understand_is_left_out() {
        let (dumped, text) =
            by(r"printf '/*M!999999\- enable the sandbox mode */ \n-- MariaDB dump\n-- Dump completed\n'");
        assert!(text.starts_with("-- MariaDB dump"), "{text}");
        assert!(dumped.unwrap().warnings.iter().any(|warning| warning.contains("sandbox")));
    }
}
