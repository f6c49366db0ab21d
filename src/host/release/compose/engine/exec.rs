//! A program that runs inside a container, beside its own.

use std::ffi::OsString;
use std::io::Write;
use std::time::{Duration, Instant};

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::StartExecOptions;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures_util::{Stream, StreamExt};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{ANSWER, Engine};
use crate::backup::dump::tool::{Ended, MISSING, SILENCE, silent};
use crate::backup::{BackupError, Wanted, unwanted};
use crate::host::wire::HostError;

/// So often it is asked whether anybody still waits for it.
const TICK: Duration = Duration::from_millis(500);
/// Of what it complains about so much is kept.
const COMPLAINTS: usize = 8 * 1024;
/// A piece of its output has at most so many bytes.
const PIECE: usize = 256 * 1024;
/// Between its last word and its end.
const ENDS: Duration = Duration::from_secs(30);

impl Engine {
    /// Runs it, passes its output on until it ends, and says how it did. Where nobody takes its output any more it is ended, as
    /// far as this user may: an engine lets it go on to its end, unheard.
    ///
    /// # Errors
    /// The engine does not run it; whoever takes the output cannot; it gave nothing for too long; nobody wants it any more.
    pub fn exec(
        &self,
        container: &str,
        words: &[OsString],
        variables: &[(&str, Zeroizing<String>)],
        to: &mut dyn Write,
        wanted: &dyn Wanted,
    ) -> Result<Ended, BackupError> {
        let what = format!("to run a program in container {container}");
        let failed = |error: HostError| BackupError(error.to_string());
        let config = ExecConfig {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(words.iter().map(|word| word.to_string_lossy().into_owned()).collect()),
            env: Some(variables.iter().map(|(name, value)| format!("{name}={}", value.as_str())).collect()),
            ..ExecConfig::default()
        };
        let made = self.wait(&what, ANSWER, self.docker.create_exec(container, config)).map_err(failed)?;
        let options = StartExecOptions { output_capacity: Some(PIECE), ..StartExecOptions::default() };
        let started = self.ask(ANSWER, self.docker.start_exec(&made.id, Some(options))).map_err(failed)?;
        let mut output = match started {
            Ok(StartExecResults::Attached { output, .. }) => output,
            Ok(StartExecResults::Detached) => {
                return Err(BackupError(format!("the engine does not show what {what} says")));
            }
            // The engine's way to say that there is none.
            Err(Error::DockerResponseServerError { message, .. }) if is_missing(&message) => {
                return Ok(Ended { code: MISSING, said: message });
            }
            Err(error) => return Err(failed(self.refused(&what, &error))),
        };
        let mut said = Vec::new();
        let passed = self.pass(&what, &mut output, words, (to, &mut said), wanted);
        drop(output);
        if passed.is_err() {
            self.end_exec(&made.id, &what, words);
        }
        passed?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let code = self.ended(&made.id, &what).map_err(failed)?;
        // Older engines begin it all the same, and let it end so.
        let code = if matches!(code, 126 | 127) && is_missing(&said) { MISSING } else { code };
        Ok(Ended { code, said })
    }

    /// Passes its output on until that ends.
    fn pass(
        &self,
        what: &str,
        output: &mut (impl Stream<Item = Result<LogOutput, Error>> + Unpin),
        words: &[OsString],
        (to, said): (&mut dyn Write, &mut Vec<u8>),
        wanted: &dyn Wanted,
    ) -> Result<(), BackupError> {
        let program = program(words).first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut heard = Instant::now();
        loop {
            // Whoever takes the output blocks, and must not be on a thread on which something is waited for.
            let piece = match self.runtime.block_on(async { timeout(TICK, output.next()).await }) {
                Ok(Some(piece)) => piece.map_err(|error| BackupError(self.refused(what, &error).to_string()))?,
                Ok(None) => return Ok(()),
                Err(_) if !wanted.is_wanted() => return Err(BackupError(unwanted().to_string())),
                Err(_) if heard.elapsed() >= SILENCE => {
                    let why = silent(&program, SILENCE);
                    return Err(BackupError(format!("{program} hangs: {why}{}", also(said))));
                }
                Err(_) => continue,
            };
            if !wanted.is_wanted() {
                return Err(BackupError(unwanted().to_string()));
            }
            match piece {
                LogOutput::StdErr { message } => {
                    let room = COMPLAINTS.saturating_sub(said.len());
                    said.extend_from_slice(&message[..message.len().min(room)]);
                }
                LogOutput::StdOut { message } | LogOutput::Console { message } => {
                    to.write_all(&message).map_err(|error| {
                        BackupError(format!("the output of {program} is lost: {error}{}", also(said)))
                    })?;
                }
                LogOutput::StdIn { .. } => {}
            }
            heard = Instant::now();
        }
    }

    /// Ends a program whose output nobody takes any more. The engine has no word for that: it says which process of this machine
    /// it is, and that one is ended where it is seen to be the program, and this user may.
    fn end_exec(&self, exec: &str, what: &str, words: &[OsString]) {
        let Ok(seen) = self.wait(what, ANSWER, self.docker.inspect_exec(exec)) else { return };
        let pid = seen.pid.filter(|_| seen.running == Some(true)).and_then(|pid| i32::try_from(pid).ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else { return };
        let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        if is_line_of(&line, words)
            && let Err(error) = kill_process(pid, Signal::KILL)
        {
            tracing::warn!(%error, "a program in a container goes on, and nobody takes its output any more");
        }
    }

    /// Its exit status. Between the end of its output and its own there may be a moment.
    fn ended(&self, exec: &str, what: &str) -> Result<i64, HostError> {
        let until = Instant::now() + ENDS;
        loop {
            let seen = self.wait(what, ANSWER, self.docker.inspect_exec(exec))?;
            match (seen.running, seen.exit_code) {
                (Some(true), _) | (_, None) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                (Some(false) | None, Some(code)) => return Ok(code),
                _ => return Err(HostError::Io(format!("the engine does not say how it ended: {what}"))),
            }
        }
    }
}

/// The program and its words, after `env` and what that takes away.
fn program(words: &[OsString]) -> &[OsString] {
    let Some((_, mut rest)) = words.split_first().filter(|(first, _)| *first == "env") else { return words };
    while let [flag, _, more @ ..] = rest
        && flag == "-u"
    {
        rest = more;
    }
    rest
}

/// Whether a command line, as Linux shows it, is this program's. What runs a script stands before that.
fn is_line_of(line: &[u8], words: &[OsString]) -> bool {
    let Some((name, words)) = program(words).split_first() else { return false };
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    let line: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let Some(head) = line.len().checked_sub(words.len()).filter(|head| *head > 0) else { return false };
    let is_name = |word: &&[u8]| word.rsplit(|byte| *byte == b'/').next() == Some(name.as_encoded_bytes());
    line[..head].iter().any(is_name) && line[head..].iter().zip(words).all(|(a, b)| *a == b.as_encoded_bytes())
}

/// What it complained about, behind why its output ended.
fn also(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    if said.trim().is_empty() { String::new() } else { format!("; it said: {}", said.trim()) }
}

fn is_missing(message: &str) -> bool {
    ["executable file not found", "no such file or directory"].iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_program_itself_is_ended() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let shown = |line: &str| format!("{}\0", line.replace(' ', "\0")).into_bytes();
        let asked = words("env -u PGHOST -u PGSERVICE pg_dump --format=plain shop");
        for (line, is) in [
            ("pg_dump --format=plain shop", true),
            ("/usr/bin/perl -w /usr/bin/pg_dump --format=plain shop", true),
            ("pg_dump --format=plain shop2", false),
            ("pg_dumpall --format=plain shop", false),
            ("--format=plain shop", false),
            ("shop", false),
            ("", false),
        ] {
            assert_eq!(is_line_of(&shown(line), &asked), is, "{line}");
        }
        assert!(is_line_of(&shown("/bin/sh"), &words("sh")) && !is_line_of(&shown("/bin/bash"), &words("sh")));
    }
}
