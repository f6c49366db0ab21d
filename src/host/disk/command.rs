//! Runs one configured command, the only shell there is. Knows nothing of roots and releases.
//!
//! The command gets a process group of its own, no input, an environment of its own, and a limit on time. Its output is
//! read to the end, however much it is, and kept up to a bound.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};

use crate::host::disk::{behind, envfile, file};
use crate::host::wire::{CommandResult, Exit, HostError};
use crate::model::record::Command;

/// Of the output so many bytes are kept from the beginning, and as many from the end.
pub const KEPT: usize = 32 * 1024;
/// Where commands find programs.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Between asking a process group to end and killing it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long output is awaited after the command itself has ended: a process left behind may hold the pipe for ever.
const LINGER: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_millis(20);
/// So often it is asked whether somebody wants it to stop.
const ASKED: Duration = Duration::from_millis(200);

/// Runs `command` in `dir` and waits for it.
///
/// # Errors
/// Only where it could not be started; how it ended is in the result.
pub fn run(command: &Command, dir: &Path) -> Result<CommandResult, HostError> {
    run_until(command, dir, &mut || false)
}

/// The same; it is asked to end, and killed where it does not, once somebody wants it to `stop`.
///
/// # Errors
/// As before.
pub fn run_until(command: &Command, dir: &Path, stop: &mut dyn FnMut() -> bool) -> Result<CommandResult, HostError> {
    let started = Instant::now();
    let failed =
        |error: io::Error| HostError::Io(format!("cannot run `{}` in {}: {error}", command.name, dir.display()));
    let (mut reader, writer) = io::pipe().map_err(failed)?;
    let mut shell = std::process::Command::new("/bin/sh");
    shell.arg("-c").arg(&command.run).current_dir(dir).env_clear().process_group(0).stdin(Stdio::null());
    shell.env("PATH", PATH).env("LANG", "C.UTF-8");
    for name in ["HOME", "USER", "LOGNAME"] {
        shell.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    // Without it `systemctl --user` finds no manager, and a login by key does not always set it.
    shell.envs(runtime_dir().map(|dir| ("XDG_RUNTIME_DIR", dir)));
    shell.envs(&command.env);
    shell.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
    let child = shell.spawn().map_err(failed)?;
    // Holds our ends of the pipe: kept, they would hide the end of the output.
    drop(shell);
    let mut run = Run { child, output: Output::default(), group: None, left: Vec::new() };
    run.group = i32::try_from(run.child.id()).ok().and_then(Pid::from_raw);
    let deadline = started + command.timeout;
    let exit = run.follow(&mut reader, deadline, stop).map_err(failed)?;
    Ok(CommandResult {
        exit,
        output: hidden(run.output.text(), &command.hides),
        left: run.left.into_iter().map(|left| hidden(left, &command.hides)).collect(),
        millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// Where the user's own services are spoken to, if any run.
pub fn runtime_dir() -> Option<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let dir = PathBuf::from(format!("/run/user/{user}"));
    let own = std::fs::symlink_metadata(&dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == user);
    own.then_some(dir)
}

/// What a program prints of its own configuration stays on the host. A file that is not there, or that the agent may not
/// read, hides nothing: the command could not read it either. Of one that is no regular file nobody can say what the
/// command got from it: then its output stays on the host as a whole.
pub fn hidden(output: String, files: &[String]) -> String {
    let mut output = output;
    for path in files {
        match file::read(Path::new(path), file::CONFIGURATION) {
            Ok(bytes) => output = envfile::mask(&output, &String::from_utf8_lossy(&bytes)),
            Err(error) if file::is_unfit(&error) => {
                return format!("(the output is not shown, because secrets of {path} may be in it: {error})");
            }
            Err(_) => {}
        }
    }
    output
}

struct Run {
    child: Child,
    output: Output,
    group: Option<Pid>,
    /// What went on after the command had ended, and kept its output open.
    left: Vec<String>,
}

impl Run {
    fn follow(
        &mut self,
        reader: &mut PipeReader,
        deadline: Instant,
        stop: &mut dyn FnMut() -> bool,
    ) -> io::Result<Exit> {
        // Why it was asked to end before its time, and when it is killed.
        let (mut open, mut ended, mut kill_at) = (true, None, None);
        let mut asked = Instant::now();
        let status = loop {
            if open {
                open = self.drain(reader, TICK)?;
            } else {
                std::thread::sleep(TICK.min(Duration::from_millis(2)));
            }
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            let now = Instant::now();
            let wanted = now.duration_since(asked) >= ASKED && {
                asked = now;
                stop()
            };
            if ended.is_none() && (wanted || now >= deadline) {
                ended = Some(if wanted { Exit::Stopped } else { Exit::TimedOut });
                kill_at = Some(now + PATIENCE);
                self.signal(Signal::TERM);
            }
            if kill_at.is_some_and(|at| now >= at) {
                self.signal(Signal::KILL);
            }
        };
        // After that the rest of the group has its patience too; otherwise what holds the output is a leftover.
        let until = kill_at.unwrap_or(Instant::now() + LINGER);
        while (open || ended.is_some() && self.group_lives()) && Instant::now() < until {
            match open {
                true => open = self.drain(reader, TICK)?,
                false => std::thread::sleep(TICK),
            }
        }
        let left = if open && ended.is_none() { behind::who(&*reader, self.group) } else { Vec::new() };
        if open || ended.is_some() {
            self.signal(Signal::KILL);
        }
        self.left = left.iter().map(|process| process.told(self.group)).collect();
        Ok(ended.unwrap_or_else(|| end(status)))
    }

    /// Reads what is there, waiting no longer than `wait` for it. `false`: the output has ended.
    fn drain(&mut self, reader: &mut PipeReader, wait: Duration) -> io::Result<bool> {
        let mut fds = [PollFd::new(&*reader, PollFlags::IN)];
        let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
        match rustix::event::poll(&mut fds, Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(true),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [0; 64 * 1024];
        match reader.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(n) => {
                self.output.push(&buffer[..n]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn group_lives(&self) -> bool {
        self.group.is_some_and(|group| rustix::process::test_kill_process_group(group).is_ok())
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }
}

fn end(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

/// The first and the last part of a stream.
#[derive(Default)]
struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Output {
    fn push(&mut self, bytes: &[u8]) {
        let room = KEPT - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..over);
        self.left_out += over as u64;
    }

    fn text(&self) -> String {
        let mut bytes = self.head.clone();
        if self.left_out > 0 {
            bytes.extend(format!("\n… {} bytes left out …\n", self.left_out).bytes());
        }
        bytes.extend(&self.tail);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
