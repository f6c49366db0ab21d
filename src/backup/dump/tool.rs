//! A program of a database: on this machine, or inside the container in which the database runs.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::process::{Program, find};
use crate::backup::{BackupError, Wanted};

/// A container in which programs can be run.
pub trait Inside: Send + Sync {
    /// The service, for people.
    fn name(&self) -> &str;

    /// Runs a program with these words and variables, passes its output on until it ends, and says how it did.
    ///
    /// # Errors
    /// It cannot be run there; whoever takes the output cannot; nobody wants it any more.
    fn run(
        &self,
        words: &[OsString],
        variables: &[(&str, Zeroizing<String>)],
        to: &mut dyn Write,
        wanted: &dyn Wanted,
    ) -> Result<Ended, BackupError>;
}

/// How a program ended.
pub struct Ended {
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
    /// Of its environment it has these alone, and what finds programs.
    pub variables: Vec<(&'static str, Zeroizing<String>)>,
    /// Its standard input, on this machine.
    pub input: Option<File>,
}

impl Tool {
    /// The first of these programs that is there.
    ///
    /// # Errors
    /// Nothing can be run in the container.
    pub fn find(
        inside: Option<&Arc<dyn Inside>>,
        names: &[&str],
        wanted: &dyn Wanted,
    ) -> Result<Option<Tool>, BackupError> {
        let Some(inside) = inside else { return Ok(find(names).map(|path| Tool::at(&path))) };
        for name in names {
            let tool = Tool::Inside(inside.clone(), (*name).to_owned());
            let words = [OsString::from(name), OsString::from("--version")];
            if inside.run(&words, &[], &mut std::io::sink(), wanted)?.code == 0 {
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
                let words: Vec<OsString> = std::iter::once(name.into()).chain(call.words).collect();
                let Ended { code, said } = inside.run(&words, &call.variables, to, wanted)?;
                let said = said.trim();
                let said = if said.is_empty() { "it said nothing" } else { said };
                match code {
                    0 => Ok(()),
                    code => Err(BackupError(format!(
                        "{} did not come to its end (exit status {code}): {said}",
                        self.name()
                    ))),
                }
            }
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
