//! A network namespace that lives as long as its holder: a `cat` that ends with the test process, whatever becomes of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::support::site::{Process, until};

/// Its own network and its own mounts; files and processes are the machine's.
pub struct Namespace {
    holder: Child,
}

impl Namespace {
    /// A new one with a loopback device, in which this script was run.
    pub fn new(script: &str) -> Namespace {
        assert!(rustix::process::geteuid().is_root(), "this test makes network namespaces and must be run as root");
        let script = format!("set -e; ip link set lo up; {script}\necho ready; exec cat");
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--propagation", "slave", "--", "sh", "-c", &script]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare (util-linux)");
        let mut said = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        let namespace = Namespace { holder };
        assert_eq!(said, "ready\n", "no network namespace (package iproute2, and a kernel that allows it)");
        namespace
    }

    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// The words before a command that is to be on this network. It dies with the thread that starts it.
    pub fn enter(&self) -> Vec<String> {
        let words = ["setpriv", "--pdeathsig", "KILL", "nsenter"].map(str::to_owned).into_iter();
        words.chain([format!("--net=/proc/{}/ns/net", self.pid())]).collect()
    }

    /// The same for one that is to see the mounts as well. Its working directory is `/`.
    pub fn enter_whole(&self) -> Vec<String> {
        [self.enter(), vec![format!("--mount=/proc/{}/ns/mnt", self.pid())]].concat()
    }

    /// The file that stands for its network.
    pub fn network(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid()))
    }

    /// A path as it is seen in it.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid()))
    }

    /// Runs a script in it, which must do.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let words = self.enter_whole();
        let done = Command::new(&words[0]).args(&words[1..]).args(["sh", "-ec", script]).output().unwrap();
        assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Whatever runs in it.
    pub fn processes(&self) -> Vec<Process> {
        let ours = fs::read_link(format!("/proc/{}/ns/net", self.pid())).ok();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            // A process that has ended is in no namespace.
            let here = fs::read_link(entry.path().join("ns/net")).is_ok_and(|its| ours.as_ref() == Some(&its));
            if here && pid.cast_unsigned() != self.pid() {
                let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let words = String::from_utf8_lossy(&words).replace('\0', " ").trim().to_owned();
                found.push(Process { pid, words });
            }
        }
        found
    }

    /// `kill -9` for those whose command line is so; returns once they are gone.
    pub fn kill(&self, which: impl Fn(&str) -> bool) {
        until("what was killed is gone", || {
            let mut left = self.processes();
            left.retain(|process| which(&process.words));
            left.iter().for_each(|process| process.kill(Signal::KILL));
            left.is_empty()
        });
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A command that ends may be followed by another one: until nothing is left.
        for _ in 0..200 {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            left.iter().for_each(|process| process.kill(Signal::KILL));
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
