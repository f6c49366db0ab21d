//! Asks systemd, and has it do something: one program with its arguments each time, no shell, an environment of our own. Knows
//! what systemd says, and judges nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::host::disk::command::{PATH, runtime_dir};
use crate::host::disk::people;
use crate::host::wire::HostError;
use crate::model::activation::{Unit, is_unit};

/// A question to systemd is answered at once, or its bus hangs.
const ANSWER: Duration = Duration::from_secs(30);
/// Of what a program says so many bytes are kept.
const KEPT: u64 = 256 * 1024;
const TICK: Duration = Duration::from_millis(10);

/// What is asked of a unit.
const PROPERTIES: &str = "LoadState,LoadError,ActiveState,SubState,Type,Result,MainPID,NRestarts,InvocationID,\
    NeedDaemonReload,Job,ExecMainCode,ExecMainStatus,WorkingDirectory,ExecStart,Triggers,ConditionResult,\
    ConditionTimestampMonotonic,FragmentPath";

/// A unit, as systemd has it at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// `loaded`, `not-found`, `masked`, `bad-setting`, `error`.
    pub load: String,
    pub load_error: String,
    /// `active`, `activating`, `failed`, …
    pub active: String,
    pub sub: String,
    /// `simple`, `notify`, `oneshot`, …; empty for what is no service.
    pub kind: String,
    pub result: String,
    /// 0: none.
    pub pid: u32,
    /// How often systemd has restarted it by itself since it was started.
    pub restarts: u64,
    /// Of the last time that it was started; empty: never.
    pub invocation: String,
    /// Its file is another one than systemd has read.
    pub stale: bool,
    /// Something is still to be done with it.
    pub job: bool,
    /// `exit status 3`, `killed by signal 9`.
    pub end: String,
    /// The condition of its last start held, as far as that is known.
    pub condition: bool,
    pub directory: String,
    /// The programs that it starts, with their arguments, as systemd prints them.
    pub exec: String,
    pub triggers: Vec<String>,
    pub fragment: String,
}

/// Who speaks to the managers of this host, and as whom.
pub struct Systemd {
    pub user: String,
    root: bool,
    pub host: String,
    runtime: Option<PathBuf>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Done {
    pub ok: bool,
    pub output: String,
    /// Its last line of complaint.
    pub said: String,
}

impl Systemd {
    /// As the user of the agent.
    pub fn here() -> Systemd {
        let uid = rustix::process::geteuid();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        Systemd { user: people::user(uid.as_raw()), root: uid.is_root(), host, runtime: runtime_dir() }
    }

    /// Whether a unit is changed by `sudo -n`.
    pub fn needs_sudo(&self, unit: &Unit) -> bool {
        !self.root && !unit.user
    }

    /// What a verb is called, as its rule in sudoers names it.
    pub fn words(&self, unit: &Unit, verb: &[&str]) -> Vec<String> {
        let mut words = Vec::new();
        if self.needs_sudo(unit) && verb.first() != Some(&"show") {
            words.extend(["sudo", "-n"]);
        }
        words.push("systemctl");
        if unit.user {
            words.push("--user");
        }
        words.extend(verb);
        words.into_iter().map(str::to_owned).collect()
    }

    /// Refuses what is no unit, and a user whose manager does not run: nothing can be asked of either.
    pub fn permit(&self, unit: &Unit) -> Result<(), HostError> {
        if !is_unit(&unit.name) {
            return Err(HostError::Precondition(format!("`{}` is not the name of a unit of systemd", unit.name)));
        }
        if unit.user && self.runtime.is_none() {
            return Err(HostError::Precondition(format!(
                "the user {} has no manager on {} that could run {} (/run/user/{} is not there); as root: loginctl \
                 enable-linger {}",
                self.user,
                self.host,
                unit.name,
                rustix::process::geteuid().as_raw(),
                self.user
            )));
        }
        Ok(())
    }

    /// Whether the manager of the user goes on when its last session has ended: an agent's own is one, so that one without
    /// this would take the units along that it has just started.
    pub fn lingers(&self, unit: &Unit) -> bool {
        !unit.user || Path::new("/var/lib/systemd/linger").join(&self.user).exists()
    }

    /// The unit as it is now.
    ///
    /// # Errors
    /// systemd does not run here, or does not answer.
    pub fn show(&self, unit: &Unit) -> Result<Seen, HostError> {
        Ok(self.show_all(&[unit], ANSWER)?.pop().unwrap_or_default())
    }

    /// Units of one manager as they are now, in their order.
    ///
    /// # Errors
    /// systemd does not run here, or does not answer within `limit`, or not of each of them.
    pub fn show_all(&self, units: &[&Unit], limit: Duration) -> Result<Vec<Seen>, HostError> {
        let Some(first) = units.first() else { return Ok(Vec::new()) };
        for unit in units {
            self.permit(unit)?;
        }
        let property = format!("--property={PROPERTIES}");
        let mut verb = vec!["show", &property];
        verb.extend(units.iter().map(|unit| unit.name.as_str()));
        let done = self.run(&self.words(first, &verb), limit)?;
        let all = parse_all(&done.output);
        if !done.ok || all.len() != units.len() {
            return Err(HostError::Precondition(format!(
                "systemd of {} says nothing about {}: {}. Name a `unit` only where systemd is the running init; elsewhere \
                 let a post-switch hook restart the service",
                self.host, first.name, done.said
            )));
        }
        Ok(all)
    }

    /// Has something done that systemd answers at once.
    ///
    /// # Errors
    /// The user may not do that.
    pub fn do_now(&self, unit: &Unit, verb: &[&str]) -> Result<Done, HostError> {
        let words = self.words(unit, verb);
        let done = self.run(&words, ANSWER)?;
        self.refused(unit, verb, &done)?;
        Ok(done)
    }

    /// Whether the user may do that, without doing it. Only asked of sudo: root and owners may.
    pub fn may(&self, unit: &Unit, verb: &[&str]) -> Result<(), HostError> {
        if !self.needs_sudo(unit) {
            return Ok(());
        }
        let mut words = self.words(unit, verb);
        words.insert(2, "-l".to_owned());
        let done = self.run(&words, ANSWER)?;
        if done.ok { Ok(()) } else { Err(self.forbidden(unit, verb, &done.said)) }
    }

    /// An error where a program was not allowed to do its work.
    pub fn refused(&self, unit: &Unit, verb: &[&str], done: &Done) -> Result<(), HostError> {
        const REFUSALS: [&str; 8] = [
            "access denied",
            "authentication required",
            "password is required",
            "not allowed",
            "may not run",
            "not in the sudoers",
            "no new privileges",
            "permission denied",
        ];
        let said = done.said.to_ascii_lowercase();
        let refused = !done.ok && REFUSALS.iter().any(|word| said.contains(word));
        if refused { Err(self.forbidden(unit, verb, &done.said)) } else { Ok(()) }
    }

    fn forbidden(&self, unit: &Unit, verb: &[&str], said: &str) -> HostError {
        let words = verb.join(" ");
        HostError::Precondition(format!(
            "{} may not run `systemctl {words}` on {}, which {} needs: {said}. Allow it there, in a file of /etc/sudoers.d: {} \
             ALL=(root) NOPASSWD: /usr/bin/systemctl {words}",
            self.user, self.host, unit.name, self.user
        ))
    }

    /// Starts a program and waits for it.
    pub fn run(&self, words: &[String], limit: Duration) -> Result<Done, HostError> {
        let mut running = self.start(words)?;
        let deadline = Instant::now() + limit;
        loop {
            if let Some(done) = running.ended()? {
                return Ok(done);
            }
            if Instant::now() >= deadline {
                running.stop();
                let (words, host) = (words.join(" "), &self.host);
                return Err(HostError::Io(format!("`{words}` did not end within {limit:?} on {host}")));
            }
            std::thread::sleep(TICK);
        }
    }

    /// Starts a program.
    ///
    /// # Errors
    /// It is not there.
    pub fn start(&self, words: &[String]) -> Result<Running, HostError> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(HostError::Io("no program was named".to_owned()));
        };
        let mut command = Command::new(program);
        command.args(arguments).current_dir("/").env_clear().stdin(Stdio::null());
        command.env("PATH", PATH).env("LC_ALL", "C").env("SYSTEMD_COLORS", "0").env("SYSTEMD_PAGER", "");
        for name in ["HOME", "USER", "LOGNAME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(self.runtime.as_ref().map(|dir| ("XDG_RUNTIME_DIR", dir)));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| {
            let next = match (error.kind(), program.as_str()) {
                (io::ErrorKind::NotFound, "sudo") => {
                    format!("install sudo there and give {} the rule that docs/units.md names", self.user)
                }
                (io::ErrorKind::NotFound, _) => {
                    "name a `unit` only where systemd is the running init; elsewhere let a hook restart the service"
                        .to_owned()
                }
                _ => "look at that program there".to_owned(),
            };
            HostError::Precondition(format!("`{program}` cannot be run on {}: {error}; {next}", self.host))
        })?;
        let output = child.stdout.take().map(read);
        let said = child.stderr.take().map(read);
        Ok(Running { child, output, said, words: words.join(" ") })
    }
}

fn read(from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What comes after that is read and dropped: a program that cannot write does not end.
        let mut from = from;
        let _ = from.by_ref().take(KEPT).read_to_end(&mut bytes);
        let _ = io::copy(&mut from, &mut io::sink());
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A program under way.
pub struct Running {
    child: Child,
    output: Option<JoinHandle<String>>,
    said: Option<JoinHandle<String>>,
    words: String,
}

impl Running {
    /// How it ended; `None`: it is still at it.
    pub fn ended(&mut self) -> Result<Option<Done>, HostError> {
        let status = self.child.try_wait();
        let status = status.map_err(|error| HostError::Io(format!("`{}` was lost: {error}", self.words)))?;
        Ok(status.map(|status| {
            let text = |thread: Option<JoinHandle<String>>| thread.and_then(|t| t.join().ok()).unwrap_or_default();
            let (output, said) = (text(self.output.take()), text(self.said.take()));
            let last = said.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.starts_with("See "));
            let said =
                last.map_or_else(|| format!("`{}` ended with {status} and said nothing", self.words), str::to_owned);
            Done { ok: status.success(), output, said }
        }))
    }

    /// Ends it: what systemd was told it does all the same.
    pub fn stop(mut self) {
        // sudo hands this on.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| rustix::process::kill_process(pid, Signal::TERM));
        for _ in 0..50 {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(TICK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `systemctl show` prints of several units: an empty line lies between them.
fn parse_all(text: &str) -> Vec<Seen> {
    text.trim().split("\n\n").filter(|block| !block.is_empty()).map(parse).collect()
}

/// What `systemctl show` prints of one.
pub fn parse(text: &str) -> Seen {
    let mut all: BTreeMap<&str, String> = BTreeMap::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        // One line for each program that it starts.
        let known = all.entry(key).or_default();
        let gap = if known.is_empty() { "" } else { " " };
        known.push_str(&format!("{gap}{value}"));
    }
    let get = |key: &str| all.get(key).cloned().unwrap_or_default();
    let number = |key: &str| get(key).parse::<u64>().unwrap_or_default();
    let status = number("ExecMainStatus");
    let end = match number("ExecMainCode") {
        1 => format!("exit status {status}"),
        2 => format!("killed by signal {status}"),
        3 => format!("killed by signal {status}, with a core dump"),
        _ => String::new(),
    };
    Seen {
        load: get("LoadState"),
        load_error: get("LoadError"),
        active: get("ActiveState"),
        sub: get("SubState"),
        kind: get("Type"),
        result: get("Result"),
        pid: u32::try_from(number("MainPID")).unwrap_or_default(),
        restarts: number("NRestarts"),
        invocation: get("InvocationID"),
        stale: get("NeedDaemonReload") == "yes",
        job: number("Job") > 0,
        end,
        condition: get("ConditionResult") != "no" || number("ConditionTimestampMonotonic") == 0,
        // `!` and `-` before a path say how it is used.
        directory: get("WorkingDirectory").trim_start_matches(['!', '-']).to_owned(),
        exec: get("ExecStart"),
        triggers: get("Triggers").split_whitespace().map(str::to_owned).collect(),
        fragment: get("FragmentPath"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_prints_is_read() {
        let text = "Type=notify\nMainPID=812\nNRestarts=2\nResult=exit-code\nExecMainCode=1\nExecMainStatus=3\nLoadState=loaded\n\
                    ActiveState=activating\nSubState=auto-restart\nInvocationID=abc\nNeedDaemonReload=yes\nJob=77\nTriggers=a.service b.service\n\
                    WorkingDirectory=!-/srv/app/current\nExecStart={ path=/usr/bin/x ; argv[]=/usr/bin/x --a=b ; ignore_errors=no }\n";
        let seen = parse(text);
        assert_eq!((seen.kind.as_str(), seen.pid, seen.restarts, seen.job, seen.stale), ("notify", 812, 2, true, true));
        assert_eq!((seen.end.as_str(), seen.directory.as_str()), ("exit status 3", "/srv/app/current"));
        assert_eq!(seen.triggers, ["a.service", "b.service"]);
        assert!(seen.exec.contains("argv[]=/usr/bin/x --a=b"), "{}", seen.exec);
        let two = "ExecStart={ path=/bin/a ; }\nExecStart={ path=/bin/b ; }\n";
        assert_eq!(parse(two).exec, "{ path=/bin/a ; } { path=/bin/b ; }");
        let pids: Vec<u32> = parse_all("MainPID=1\nType=simple\n\nMainPID=2\n").iter().map(|seen| seen.pid).collect();
        assert_eq!((pids, parse_all("").len()), (vec![1, 2], 0));
        assert_eq!(parse("ExecMainCode=2\nExecMainStatus=9\n").end, "killed by signal 9");
        assert!(parse("ConditionResult=no\nConditionTimestampMonotonic=0\n").condition, "nobody has asked it");
        assert!(!parse("ConditionResult=no\nConditionTimestampMonotonic=7\n").condition);
    }
}
