//! Agents of other versions that lie beside this one, as a controller puts them there: `soll-DIGEST`. Several may stand
//! side by side; one that nothing has used for a while and that does not run is removed.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A controller of another version that comes once a day finds its agent again.
const KEEP: Duration = Duration::from_secs(2 * 24 * 3600);

/// Notes that this program is in use, and removes those beside it that are not. Does nothing where this program does not
/// lie among agents. What cannot be removed stays: the next agent tries again.
pub fn tidy(own: &Path) {
    let Some((dir, name)) = own.parent().zip(own.file_name().and_then(|name| name.to_str())) else { return };
    if !is_agent(name) {
        return;
    }
    let now = SystemTime::now();
    if let Ok(file) = fs::File::open(own) {
        let _ = file.set_modified(now);
    }
    let me = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(dir) else { return };
    let old: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            entry.file_name().to_str().is_some_and(|other| other != name && (is_agent(other) || is_part(other)))
        })
        .filter(|entry| {
            let Ok(meta) = entry.metadata() else { return false };
            let age = meta.modified().ok().and_then(|at| now.duration_since(at).ok());
            meta.is_file() && meta.uid() == me && age.is_some_and(|age| age > KEEP)
        })
        .map(|entry| entry.path())
        .collect();
    if old.is_empty() {
        return;
    }
    let running = running();
    for path in old.into_iter().filter(|path| !running.contains(path)) {
        let _ = fs::remove_file(path);
    }
}

/// `soll-` and a SHA-256.
fn is_agent(name: &str) -> bool {
    name.strip_prefix("soll-").is_some_and(|digest| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// An upload that did not come to its end.
fn is_part(name: &str) -> bool {
    name.strip_prefix(".soll-").is_some_and(|part| part.len() == 16 && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The programs of all processes that can be seen.
fn running() -> HashSet<PathBuf> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| fs::read_link(process.path().join("exe")).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn what_is_old_and_does_not_run_goes_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().canonicalize().unwrap();
        let agent = |digit: char| dir.join(format!("soll-{}", digit.to_string().repeat(64)));
        let (own, young, old, busy) = (agent('1'), agent('2'), agent('3'), agent('4'));
        let (part, other) = (dir.join(".soll-0123456789abcdef"), dir.join("soll-notes"));
        for path in [&own, &young, &old, &part, &other] {
            fs::write(path, "x").unwrap();
        }
        fs::copy("/bin/sleep", &busy).unwrap();
        let mut process = Command::new(&busy).arg("1000").stdout(Stdio::null()).spawn().unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(7 * 24 * 3600);
        for path in [&own, &old, &busy, &part, &other] {
            fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
        }
        tidy(&dir.join("soll-of-the-user"));
        assert!(old.exists(), "a program that is no agent removes none");
        tidy(&own);
        let left: Vec<bool> = [&own, &young, &old, &busy, &part, &other].iter().map(|path| path.exists()).collect();
        let is_used = fs::metadata(&own).unwrap().modified().unwrap() > long_ago + KEEP;
        process.kill().unwrap();
        process.wait().unwrap();
        assert_eq!(left, [true, true, false, true, false, true]);
        assert!(is_used);
    }
}
