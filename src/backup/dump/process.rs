//! A program of the database, as a child: its credentials come through a file that has no name, its output is read to the
//! end, and how it ended is asked. A pipeline whose first program was killed would look like a short database.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::backup::{BackupError, Wanted};

/// Where programs are found, as for every configured command.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Of what a program complains about so much is kept.
const COMPLAINTS: usize = 8 * 1024;
/// A dumper that gives nothing for so long hangs: it waits for a lock, or for a server that is gone. How long its reader takes
/// is not counted.
const SILENCE: Duration = Duration::from_secs(15 * 60);
/// While a program is quiet it is asked so often whether anybody still waits for it.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// A program that has closed its output ends; one that does not hangs.
const ENDS: Duration = Duration::from_secs(30);

/// The first of these programs that is here.
pub fn find(names: &[&str]) -> Option<PathBuf> {
    let dirs = || PATH.split(':').map(PathBuf::from);
    let runs = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    names.iter().flat_map(|name| dirs().map(move |dir| dir.join(name))).find(runs)
}

/// A text that a program reads as its standard input, and nobody else: no path leads to it, and it is on no disk (law 9).
pub fn unnamed(text: &str) -> Result<File, BackupError> {
    let made = || -> io::Result<File> {
        let mut file = File::from(rustix::fs::memfd_create("soll-login", MemfdFlags::CLOEXEC)?);
        // What everybody might read is refused by the clients of MySQL and PostgreSQL.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        io::Seek::rewind(&mut file)?;
        Ok(file)
    };
    made().map_err(|error| BackupError(format!("a login cannot be handed over: {error}")))
}

/// The path by which a program that [`Program::fed`] starts reads a file that has no name.
pub fn inherited(hidden: &File) -> String {
    format!("/dev/fd/{}", hidden.as_raw_fd())
}

/// A program that runs.
pub struct Program {
    name: String,
    child: Child,
    complaints: std::thread::JoinHandle<Vec<u8>>,
}

impl Program {
    /// Starts it, with `input` as its standard input, and of this environment only what the command sets itself. Where this
    /// process dies nobody reads its output, and it ends.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command, input: Option<File>) -> Result<Program, BackupError> {
        let name = command.get_program().to_string_lossy().into_owned();
        let failed = |error: io::Error| BackupError(format!("cannot run {name}: {error}"));
        let own: Vec<_> =
            command.get_envs().map(|(name, value)| (name.to_owned(), value.map(OsStr::to_owned))).collect();
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").process_group(0);
        command.envs(own.into_iter().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(input.map_or_else(Stdio::null, Stdio::from)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let stderr = child.stderr.take();
        let complaints = std::thread::spawn(move || stderr.map(first).unwrap_or_default());
        Ok(Program { name, child, complaints })
    }

    /// Starts one that reads `hidden` by the path that [`inherited`] gives, and takes its input from whoever has what comes
    /// with it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn fed(mut command: Command, hidden: File) -> Result<(Program, ChildStdin), BackupError> {
        let name = command.get_program().to_string_lossy().into_owned();
        let failed = |error: io::Error| BackupError(format!("cannot run {name}: {error}"));
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let keep = move || rustix::io::fcntl_setfd(&hidden, rustix::io::FdFlags::empty()).map_err(io::Error::from);
        // SAFETY: it runs in the child between fork and exec, and makes one system call that is allowed there. Only there the
        // file is inherited: a program that is started at the same time does not get it.
        unsafe { command.pre_exec(keep) };
        let mut child = command.spawn().map_err(failed)?;
        let stderr = child.stderr.take();
        let complaints = std::thread::spawn(move || stderr.map(first).unwrap_or_default());
        let input = child.stdin.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        Ok((Program { name, child, complaints }, input))
    }

    /// Ends it: its input is over, or broke off. Waits for as long as somebody wants it, however long its last work takes.
    ///
    /// # Errors
    /// It ended otherwise than well: its own words are in the error.
    pub fn finish(mut self, wanted: &dyn Wanted) -> Result<(), BackupError> {
        let output = self.child.stdout.take();
        // Little comes of it, and it must not wait for room.
        let said = std::thread::spawn(move || output.map(first).unwrap_or_default());
        let status = loop {
            let status = self.child.try_wait();
            let status = status.map_err(|error| BackupError(format!("cannot wait for {}: {error}", self.name)))?;
            if let Some(status) = status {
                break status;
            }
            if !wanted.is_wanted() {
                self.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        drop(said);
        let complaints = self.complaints.join().unwrap_or_default();
        let said = String::from_utf8_lossy(&complaints).trim().to_owned();
        match status.success() {
            true => Ok(()),
            false => Err(BackupError(format!("{} did not come to its end ({status}): {said}", self.name))),
        }
    }

    /// Passes its output on until it ends, while somebody wants it.
    ///
    /// # Errors
    /// Whoever takes the output cannot; it gave nothing for too long, and was ended; it ended otherwise than well: its own words
    /// are in the error.
    pub fn pass(self, to: &mut dyn Write, wanted: &dyn Wanted) -> Result<(), BackupError> {
        self.pass_within(SILENCE, to, wanted)
    }

    fn pass_within(mut self, silence: Duration, to: &mut dyn Write, wanted: &dyn Wanted) -> Result<(), BackupError> {
        let passed = match self.child.stdout.take() {
            Some(mut output) => pass(&mut output, to, wanted, silence),
            None => Ok(()),
        };
        if passed.is_err() {
            self.kill();
        }
        let status = self.end()?;
        let complaints = self.complaints.join().unwrap_or_default();
        let said = String::from_utf8_lossy(&complaints).trim().to_owned();
        passed.map_err(|error| {
            let also = if said.is_empty() { String::new() } else { format!("; it said: {said}") };
            match error.kind() {
                io::ErrorKind::TimedOut => BackupError(format!("{} hangs: {error}{also}", self.name)),
                _ => BackupError(format!("the output of {} is lost: {error}{also}", self.name)),
            }
        })?;
        match status.success() {
            true => Ok(()),
            false => {
                let said = if said.is_empty() { "it said nothing".to_owned() } else { said };
                Err(BackupError(format!("{} did not come to its end ({status}): {said}", self.name)))
            }
        }
    }

    fn end(&mut self) -> Result<ExitStatus, BackupError> {
        let until = Instant::now() + ENDS;
        loop {
            let status = self.child.try_wait();
            let status = status.map_err(|error| BackupError(format!("cannot wait for {}: {error}", self.name)))?;
            if let Some(status) = status {
                return Ok(status);
            }
            if Instant::now() >= until {
                self.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.kill();
    }
}

fn pass(from: &mut ChildStdout, to: &mut dyn Write, wanted: &dyn Wanted, silence: Duration) -> io::Result<()> {
    let mut piece = vec![0; 256 * 1024];
    let mut heard = Instant::now();
    loop {
        if !wanted.is_wanted() {
            return Err(crate::backup::unwanted());
        }
        match poll(&mut [PollFd::new(from, PollFlags::IN)], Some(&LOOK)) {
            Ok(0) if heard.elapsed() >= silence => {
                let silence = humantime::format_duration(silence);
                let why = "it gave nothing, and was ended; look what its database waits for (SHOW PROCESSLIST)";
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("for {silence} {why}")));
            }
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let length = match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(&piece[..length])?;
        heard = Instant::now();
    }
}

/// The first of it; the rest is read and forgotten, so that nobody waits for room in the pipe.
fn first(mut from: impl Read) -> Vec<u8> {
    let (mut kept, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = from.read(&mut piece) {
        let room = COMPLAINTS.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..length.min(room)]);
    }
    kept
}
#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Somebody who is gone after having been asked so often.
    struct Until(Cell<u32>);
    impl Wanted for Until {
        fn is_wanted(&self) -> bool {
            self.0.set(self.0.get().saturating_sub(1));
            self.0.get() > 0
        }
    }

    fn hanging() -> Program {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo 'waiting for a lock' >&2; echo begun; sleep 600"]);
        Program::start(command, None).unwrap()
    }

    #[test]
    fn a_program_that_hangs_is_ended_and_told() {
        let silence = Duration::from_millis(100);
        let mut output = Vec::new();
        let begun = Instant::now();
        let told = hanging().pass_within(silence, &mut output, &Until(Cell::new(u32::MAX))).unwrap_err().to_string();
        assert!(told.starts_with("/bin/sh hangs: for 100ms it gave nothing, and was ended; "), "{told}");
        assert!(told.ends_with("; it said: waiting for a lock"), "{told}");
        assert_eq!((output.as_slice(), begun.elapsed() < Duration::from_secs(60)), (&b"begun\n"[..], true));
    }

    #[test]
    fn a_quiet_program_that_nobody_waits_for_is_ended() {
        let begun = Instant::now();
        let told = hanging().pass(&mut Vec::new(), &Until(Cell::new(4))).unwrap_err().to_string();
        assert!(told.contains("nobody waits for this backup any more"), "{told}");
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
