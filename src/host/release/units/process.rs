//! From which release a process runs (I7): read off `/proc`, and off the unit where another user's process does not show it.
//!
//! What leads into another release of this root is a verdict: the unit is pinned to it, or it kept its old code. Where nothing
//! leads into any release, that is no verdict but is said: a daemon may stand in `/`, and an interpreter lies outside of every
//! release, so that a unit which never was about this root looks the same.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::systemctl::Seen;
use crate::host::disk::root::Root;
use crate::model::ids::ReleaseName;

/// Where a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runs {
    /// In the release that `current` leads to.
    Here,
    /// In another one of this root: what does, and which one.
    Elsewhere(String),
    /// Nothing of it leads into a release.
    Nowhere,
    /// It is gone: another one may be there by now.
    Gone,
}

/// What is known of a process.
#[derive(Debug, Default)]
struct Facts {
    directory: Option<PathBuf>,
    program: Option<PathBuf>,
    arguments: Vec<PathBuf>,
}

/// Looks at the main process of a unit.
pub fn runs(root: &Root, live: &ReleaseName, seen: &Seen) -> Runs {
    let of = Path::new("/proc").join(seen.pid.to_string());
    let mut facts = Facts::default();
    for (name, into) in [("cwd", &mut facts.directory), ("exe", &mut facts.program)] {
        match fs::read_link(of.join(name)) {
            Ok(path) => *into = Some(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Runs::Gone,
            // Another user's: the unit says where it was started, and it was started after the link had moved.
            Err(_) => {}
        }
    }
    if facts.directory.is_none() && !seen.directory.is_empty() {
        facts.directory = Some(PathBuf::from(&seen.directory));
    }
    let line = fs::read(of.join("cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).map(OsStr::from_bytes);
    // Of `--config=/srv/…` what is a path.
    let path = |word: &OsStr| {
        let text = word.as_bytes();
        let start = text.iter().position(|byte| *byte == b'/')?;
        (start == 0 || text[start - 1] == b'=').then(|| PathBuf::from(OsStr::from_bytes(&text[start..])))
    };
    facts.arguments = words.filter_map(path).collect();
    judge(&Places::of(root), live, &facts)
}

/// How paths of a root may be written.
struct Places {
    releases: Vec<PathBuf>,
    current: Vec<PathBuf>,
}

impl Places {
    fn of(root: &Root) -> Places {
        let real = |path: PathBuf| fs::canonicalize(root.path()).ok().map(|real| real.join(path));
        Places {
            releases: real("releases".into()).into_iter().chain([root.releases()]).collect(),
            current: real("current".into()).into_iter().chain([root.current()]).collect(),
        }
    }

    /// The release that a path leads into; `Some("")`: through `current`.
    fn release<'a>(&self, path: &'a Path) -> Option<&'a str> {
        if self.current.iter().any(|current| path.starts_with(current)) {
            return Some("");
        }
        let below = self.releases.iter().find_map(|releases| path.strip_prefix(releases).ok())?;
        let first = below.components().next()?.as_os_str().to_str()?;
        // So it is told of a directory that was removed meanwhile.
        Some(first.trim_end_matches(" (deleted)"))
    }
}

fn judge(places: &Places, live: &ReleaseName, facts: &Facts) -> Runs {
    let directory = facts.directory.iter().map(|path| ("its working directory", path));
    let program = facts.program.iter().map(|path| ("its program", path));
    let arguments = facts.arguments.iter().map(|path| ("an argument of it", path));
    let mut here = false;
    for (what, path) in directory.chain(program).chain(arguments) {
        match places.release(path) {
            None => {}
            Some(name) if name.is_empty() || name == live.as_str() => here = true,
            Some(name) => {
                let path = path.display();
                return Runs::Elsewhere(format!(
                    "{what} is {path}, in the release {name}, and `current` leads to {live}: let WorkingDirectory and ExecStart \
                     lead through `current`"
                ));
            }
        }
    }
    if here { Runs::Here } else { Runs::Nowhere }
}

/// What of a unit names a release by its directory: it would run the same one for ever.
pub fn pinned(root: &Root, seen: &Seen) -> Option<String> {
    let places = Places::of(root);
    let named = |text: &str| {
        places.releases.iter().find_map(|releases| {
            let start = text.find(&format!("{}/", releases.display()))?;
            let end = text[start..].find([' ', ';', '"', '\'']).map_or(text.len(), |end| start + end);
            Some(text[start..end].to_owned())
        })
    };
    named(&seen.directory).or_else(|| named(&seen.exec))
}

/// Whether a unit leads through `current`.
pub fn follows(root: &Root, seen: &Seen) -> bool {
    let places = Places::of(root);
    let through = |text: &str| places.current.iter().any(|current| text.contains(&current.display().to_string()));
    through(&seen.directory) || through(&seen.exec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places {
            releases: vec!["/data/app/releases".into(), "/srv/app/releases".into()],
            current: vec!["/srv/app/current".into()],
        }
    }

    fn judged(directory: Option<&str>, program: Option<&str>, arguments: &[&str]) -> Runs {
        let facts = Facts {
            directory: directory.map(PathBuf::from),
            program: program.map(PathBuf::from),
            arguments: arguments.iter().map(PathBuf::from).collect(),
        };
        judge(&places(), &"20260101_000000-bbbbbbbb".parse().unwrap(), &facts)
    }

    #[test]
    fn only_what_leads_into_another_release_is_a_verdict() {
        let new = "/data/app/releases/20260101_000000-bbbbbbbb";
        let old = "/srv/app/releases/20250101_000000-aaaaaaaa/bin/x";
        assert_eq!(judged(Some(new), Some("/usr/bin/python3"), &[]), Runs::Here);
        assert_eq!(judged(Some("/"), Some("/usr/bin/python3"), &["/srv/app/current/server.py"]), Runs::Here);
        assert_eq!(judged(Some("/"), Some("/usr/bin/python3"), &[]), Runs::Nowhere);
        assert_eq!(judged(None, None, &[]), Runs::Nowhere);
        for elsewhere in [
            judged(Some(old), Some(new), &[]),
            judged(Some(new), Some(old), &[]),
            judged(Some(new), None, &[old]),
            judged(Some(&format!("{old} (deleted)")), None, &[]),
        ] {
            let Runs::Elsewhere(why) = elsewhere else { panic!("{elsewhere:?}") };
            assert!(why.contains("20250101_000000-aaaaaaaa") && why.contains("through `current`"), "{why}");
        }
    }
}
