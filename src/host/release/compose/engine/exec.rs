//! A program that runs inside a container, beside its own.

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::StartExecOptions;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures_util::StreamExt;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{ANSWER, Engine};
use crate::backup::dump::tool::Ended;
use crate::backup::{BackupError, Wanted, unwanted};
use crate::host::wire::HostError;

/// So often it is asked whether anybody still waits for it.
const TICK: Duration = Duration::from_millis(500);
/// Of what it complains about so much is kept.
const COMPLAINTS: usize = 8 * 1024;
/// A piece of its output has at most so many bytes.
const PIECE: usize = 256 * 1024;
/// What a shell says of a program that is not there.
const MISSING: i64 = 127;
/// Between its last word and its end.
const ENDS: Duration = Duration::from_secs(30);

impl Engine {
    /// Runs it, passes its output on until it ends, and says how it did. Where nobody takes its output any more it is cut off,
    /// and ends at its next word.
    ///
    /// # Errors
    /// The engine does not run it; whoever takes the output cannot; nobody wants it any more.
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
        loop {
            // Whoever takes the output blocks, and must not be on a thread on which something is waited for.
            let piece = match self.runtime.block_on(async { timeout(TICK, output.next()).await }) {
                Ok(Some(piece)) => piece.map_err(|error| failed(self.refused(&what, &error)))?,
                Ok(None) => break,
                Err(_) if wanted.is_wanted() => continue,
                Err(_) => return Err(BackupError(unwanted().to_string())),
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
                    let lost = |error| BackupError(format!("the output of a program in {container} is lost: {error}"));
                    to.write_all(&message).map_err(lost)?;
                }
                LogOutput::StdIn { .. } => {}
            }
        }
        let said = String::from_utf8_lossy(&said).into_owned();
        let code = self.ended(&made.id, &what).map_err(failed)?;
        // Older engines begin it all the same, and let it end so.
        let code = if matches!(code, 126 | 127) && is_missing(&said) { MISSING } else { code };
        Ok(Ended { code, said })
    }

    /// Its exit status. Between the end of its output and its own there may be a moment.
    fn ended(&self, exec: &str, what: &str) -> Result<i64, HostError> {
        let until = std::time::Instant::now() + ENDS;
        loop {
            let seen = self.wait(what, ANSWER, self.docker.inspect_exec(exec))?;
            match (seen.running, seen.exit_code) {
                (Some(true), _) | (_, None) if std::time::Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                (Some(false) | None, Some(code)) => return Ok(code),
                _ => return Err(HostError::Io(format!("the engine does not say how it ended: {what}"))),
            }
        }
    }
}

fn is_missing(message: &str) -> bool {
    ["executable file not found", "no such file or directory"].iter().any(|words| message.contains(words))
}
