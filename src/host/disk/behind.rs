//! Who a command has left behind: processes that go on after it and keep its output open. Reads `/proc`; ends nobody.

use std::fs;
use std::os::fd::AsFd;

use rustix::process::Pid;

/// Of a command line so many characters are told.
const TOLD: usize = 100;
/// Of many processes so many are told.
const MOST: usize = 5;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pid: i32,
    group: i32,
    /// Its words, separated by blanks.
    command: String,
}

/// Those that hold the other end of this pipe, and those of this process group. Which pipes the processes of other users hold
/// is not to be seen, so that one that another user runs is found by its group alone.
pub fn who(pipe: impl AsFd, group: Option<Pid>) -> Vec<Process> {
    let Ok(stat) = rustix::fs::fstat(pipe) else { return Vec::new() };
    let wanted = format!("pipe:[{}]", stat.st_ino);
    let group = group.map(|group| group.as_raw_nonzero().get());
    let ours = i32::try_from(std::process::id()).ok();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut found: Vec<Process> = pids
        .filter(|pid| Some(*pid) != ours)
        .filter_map(read)
        .filter(|process| Some(process.group) == group || holds(process.pid, &wanted))
        .collect();
    found.sort_by_key(|process| process.pid);
    found.truncate(MOST);
    found
}

impl Process {
    /// `` `sleep 600` (pid 4711, ended)``: whoever is of the command's own group is ended with it.
    pub fn told(&self, group: Option<Pid>) -> String {
        let same = group.is_some_and(|group| group.as_raw_nonzero().get() == self.group);
        let lives = read(self.pid).is_some_and(|now| now.command == self.command);
        let fate = match (same, lives) {
            // Killed, and not yet gone; or of another user, whose processes are not ours to end.
            (true, true) if !may_end(self.pid) => "goes on: it belongs to another user",
            (true, _) | (false, false) => "ended",
            (false, true) => "goes on",
        };
        format!("`{}` (pid {}, {fate})", self.command, self.pid)
    }
}

fn may_end(pid: i32) -> bool {
    let asked = Pid::from_raw(pid).map(rustix::process::test_kill_process);
    !matches!(asked, Some(Err(rustix::io::Errno::PERM)))
}

/// One that lives; a zombie holds nothing any more.
fn read(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let (state, _parent, group) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
    if matches!(state, "Z" | "X") {
        return None;
    }
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).replace('\0', " ");
    let command = match words.trim() {
        "" => name.split_once('(').map_or("", |(_, name)| name),
        words => words,
    };
    let command = command.chars().take(TOLD).map(|c| if c.is_control() { ' ' } else { c }).collect();
    Some(Process { pid, group, command })
}

fn holds(pid: i32, wanted: &str) -> bool {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|link| link.as_os_str() == wanted)
}
