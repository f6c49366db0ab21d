//! A program of a database: on this machine, or inside the container in which the database runs.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::process::{Program, find};
use crate::backup::{BackupError, Wanted};

/// A program that gives nothing for so long hangs: it waits for a lock, or for a server that is gone. How long its reader takes
/// is not counted.
pub const SILENCE: Duration = Duration::from_secs(15 * 60);

/// What is said of a program that gave nothing for so long: where a person sees what it waits for.
pub fn silent(program: &str, silence: Duration) -> String {
    let silence = humantime::format_duration(silence);
    let program = program.rsplit('/').next().unwrap_or(program);
    let look = match program.starts_with("pg_") || program.starts_with("psql") {
        true => "SELECT * FROM pg_stat_activity",
        false => "SHOW PROCESSLIST",
    };
    format!("for {silence} it gave nothing, and was ended; look what its database waits for ({look})")
}

/// A container in which programs can be run.
pub trait Inside: Send + Sync {
    /// The service, for people.
    fn name(&self) -> &str;

    /// Runs a program with these words and variables, passes its output on until it ends, and says how it did.
    ///
    /// # Errors
    /// It cannot be run there; whoever takes the output cannot; it gave nothing for too long; nobody wants it any more.
    fn run(
        &self,
        words: &[OsString],
        variables: &[(&str, Zeroizing<String>)],
        to: &mut dyn Write,
        wanted: &dyn Wanted,
    ) -> Result<Ended, BackupError>;
}

/// How a shell, and an engine of containers, say that there is no such program.
pub const MISSING: i64 = 127;

/// How a program ended.
pub struct Ended {
    /// Its exit status; [`MISSING`]: there is no such program.
    pub code: i64,
    /// The first of what it complained about.
    pub said: String,
}

/// A program that is there.
pub enum Tool {
    /// With the words that always come first.
    Here(Vec<OsString>),
    Inside(Arc<dyn Inside>, String),
}

/// What a program is called with.
#[derive(Default)]
pub struct Call {
    pub words: Vec<OsString>,
    /// On this machine its environment has these alone, and what finds programs; inside a container also what that sets.
    pub variables: Vec<(&'static str, Zeroizing<String>)>,
    /// What a container sets and the program must not see.
    pub without: &'static [&'static str],
    /// Its standard input, on this machine.
    pub input: Option<File>,
}

impl Tool {
    /// The first of these programs that is there.
    ///
    /// # Errors
    /// Nothing can be run in the container, or what is there does not even say its version.
    pub fn find(
        inside: Option<&Arc<dyn Inside>>,
        names: &[&str],
        wanted: &dyn Wanted,
    ) -> Result<Option<Tool>, BackupError> {
        let Some(inside) = inside else { return Ok(find(names).map(|path| Tool::at(&path))) };
        for name in names {
            let tool = Tool::Inside(inside.clone(), (*name).to_owned());
            let words = [OsString::from(name), OsString::from("--version")];
            let ended = inside.run(&words, &[], &mut std::io::sink(), wanted)?;
            if ended.code != MISSING {
                tool.well(&ended)?;
                return Ok(Some(tool));
            }
        }
        Ok(None)
    }

    /// The one at this path of this machine.
    pub fn at(path: &Path) -> Tool {
        Tool::Here(vec![path.into()])
    }

    /// What people know it by.
    pub fn name(&self) -> String {
        match self {
            Tool::Here(words) => words.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            Tool::Inside(inside, name) => format!("{name} in the service {}", inside.name()),
        }
    }

    /// Runs it, and passes its output on.
    ///
    /// # Errors
    /// It cannot be run, or ended otherwise than well: its own words are in the error.
    pub fn run(&self, call: Call, to: &mut dyn Write, wanted: &dyn Wanted) -> Result<(), BackupError> {
        match self {
            Tool::Here(first) => {
                let mut words = first.iter();
                let mut command = Command::new(words.next().cloned().unwrap_or_default());
                command.args(words).args(&call.words);
                command.envs(call.variables.iter().map(|(name, value)| (name, value.as_str())));
                Program::start(command, call.input)?.pass(to, wanted)
            }
            Tool::Inside(inside, name) => {
                let mut words: Vec<OsString> = Vec::new();
                if !call.without.is_empty() {
                    words.push("env".into());
                    words.extend(call.without.iter().flat_map(|name| ["-u".into(), name.into()]));
                }
                words.push(name.into());
                words.extend(call.words);
                self.well(&inside.run(&words, &call.variables, to, wanted)?)
            }
        }
    }

    fn well(&self, ended: &Ended) -> Result<(), BackupError> {
        let said = ended.said.trim();
        let said = if said.is_empty() { "it said nothing" } else { said };
        match ended.code {
            0 => Ok(()),
            code => Err(BackupError(format!("{} did not come to its end (exit status {code}): {said}", self.name()))),
        }
    }

    /// All that it prints, which is little.
    ///
    /// # Errors
    /// Those of [`Tool::run`].
    pub fn output(&self, call: Call, wanted: &dyn Wanted) -> Result<String, BackupError> {
        let mut output = Vec::new();
        self.run(call, &mut output, wanted)?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// How it names itself.
    ///
    /// # Errors
    /// Those of [`Tool::run`].
    pub fn version(&self, wanted: &dyn Wanted) -> Result<String, BackupError> {
        let call = Call { words: vec!["--version".into()], ..Call::default() };
        Ok(self.output(call, wanted)?.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::backup::Always;

    /// A container in which programs end so, by their names; it remembers what was run.
    struct Container(Vec<(&'static str, i64, &'static str)>, Mutex<Vec<String>>);

    impl Inside for Container {
        fn name(&self) -> &str {
            "db"
        }

        fn run(
            &self,
            words: &[OsString],
            _: &[(&str, Zeroizing<String>)],
            _: &mut dyn Write,
            _: &dyn Wanted,
        ) -> Result<Ended, BackupError> {
            let words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            let ended = self.0.iter().find(|(name, ..)| words.iter().any(|word| word == name));
            self.1.lock().unwrap().push(words.join(" "));
            Ok(ended.map_or(Ended { code: MISSING, said: String::new() }, |(_, code, said)| Ended {
                code: *code,
                said: (*said).to_owned(),
            }))
        }
    }

    #[test]
    fn only_a_program_that_is_not_there_is_missing() {
        let found = |programs| {
            let inside: Arc<dyn Inside> = Arc::new(Container(programs, Mutex::default()));
            let found = Tool::find(Some(&inside), &["mariadb-dump", "mysqldump"], &Always);
            found.map(|tool| tool.map(|tool| tool.name())).map_err(|error| error.to_string())
        };
        assert_eq!(found(Vec::new()), Ok(None));
        assert_eq!(found(vec![("mysqldump", 0, "")]), Ok(Some("mysqldump in the service db".to_owned())));
        // One that is there and cannot be run is not passed over for another one.
        let why = "mariadb-dump in the service db did not come to its end (exit status 126): Permission denied";
        assert_eq!(
            found(vec![("mariadb-dump", 126, "Permission denied\n"), ("mysqldump", 0, "")]),
            Err(why.to_owned())
        );
    }

    #[test]
    fn what_a_container_sets_for_others_is_taken_away() {
        let inside = Arc::new(Container(vec![("psql", 0, "")], Mutex::default()));
        let call = Call { words: vec!["--quiet".into()], without: &["PGHOST", "PGSERVICE"], ..Call::default() };
        Tool::Inside(inside.clone(), "psql".to_owned()).run(call, &mut std::io::sink(), &Always).unwrap();
        assert_eq!(*inside.1.lock().unwrap(), ["env -u PGHOST -u PGSERVICE psql --quiet"]);
    }

    #[test]
    fn a_hint_names_what_the_database_knows() {
        for (program, word) in [
            ("/usr/lib/postgresql/15/bin/pg_dump", "pg_stat_activity"),
            ("psql", "pg_stat_activity"),
            ("/usr/bin/mariadb-dump", "SHOW PROCESSLIST"),
        ] {
            let told = silent(program, SILENCE);
            assert!(told.starts_with("for 15m it gave nothing") && told.contains(word), "{told}");
        }
    }
}
