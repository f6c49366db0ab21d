//! Looks at a root that `soll` did not make, and plans its conversion. Changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::Journal;
use crate::host::disk::beneath::check;
use crate::host::disk::foreign::{self, LAYOUT};
use crate::host::disk::layers;
use crate::host::disk::revision;
use crate::host::disk::root::{Root, list};
use crate::host::release::link;
use crate::host::release::observe::current;
use crate::host::wire::HostError;
use crate::host::wire::convert::{Kind, Lying, LyingKind, Step, Survey, Surveyed};
use crate::host::wire::excerpt::Excerpt;
use crate::model::ids::{ReleaseName, Sha};
use crate::model::observed::Current;
use crate::model::record::Record;

/// What every build makes anew, wherever it lies.
const REBUILT: [&str; 6] = ["vendor", "node_modules", "__pycache__", ".venv", "venv", "bower_components"];
/// So many files and directories of one release are counted for its size.
const COUNTED: usize = 200_000;
/// Where the repository of a converted checkout is kept: it may hold commits that are nowhere else.
const GIT: &str = "checkout.git";

/// Looks.
pub fn survey(root: &Root, ask: &Survey) -> Result<Surveyed, HostError> {
    for shared in &ask.shared {
        check(&shared.path)?;
        check(&shared.from)?;
    }
    let current = current(root)?;
    let journal = Journal::load(root)?;
    let entries: Vec<String> =
        names(root.path())?.into_iter().filter(|name| !LAYOUT.contains(&name.as_str())).collect();
    let record = root.record()?;
    let mut releases = Vec::new();
    for name in names(&root.releases())? {
        releases.push(lying(root, &record, name));
    }
    let kind = match &journal {
        Some(journal) if journal.back => Kind::Undoing,
        Some(journal) if !journal.finished => Kind::Converting,
        _ if current != Current::Missing || record.confirmed.is_some() => Kind::Releases,
        _ if !foreign::found(root, &current, false)?.is_empty() => Kind::Checkout,
        _ if !releases.is_empty() => Kind::Releases,
        _ => Kind::Empty,
    };
    let head = revision::of(root.path());
    let tail = head.as_ref().map_or("checkout", Sha::short);
    let bad = |error: crate::model::ids::BadId| HostError::Precondition(error.to_string());
    let name = match &journal {
        Some(journal) => journal.name.clone(),
        None => format!("{}-{tail}", ask.time).parse().map_err(bad)?,
    };
    let mut seen = Surveyed {
        kind,
        current,
        releases: releases.into(),
        head,
        uncovered: Excerpt::default(),
        rebuilt: Excerpt::default(),
        edited: Excerpt::default(),
        missing: Vec::new(),
        refused: Excerpt::default(),
        name,
        steps: journal.map(|journal| journal.steps).unwrap_or_default().into(),
        epoch: record.epoch,
    };
    if kind == Kind::Checkout {
        let mut look = Look {
            root,
            ask,
            seen: &mut seen,
            mutable: globs(&ask.mutable),
            relinks: Vec::new(),
            usual: usual(root, &entries),
        };
        look.data(&entries)?;
        look.obstacles(&entries)?;
        let relinks = look.relinks;
        seen.steps = plan(root, ask, &entries, &seen, relinks).into();
    }
    Ok(seen)
}

fn lying(root: &Root, record: &Record, name: String) -> Lying {
    let path = root.releases().join(&name);
    let directory = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
    let kind = match name.parse::<ReleaseName>() {
        Ok(name) if directory && (record.releases.contains_key(&name) || name.is_dated()) => LyingKind::Release,
        Ok(_) if directory => LyingKind::Stranger,
        _ => LyingKind::Other,
    };
    let mut left = COUNTED;
    Lying { name, kind, bytes: size(&path, &mut left) }
}

/// What lies at a path and below it takes so many bytes, links not followed; `None`: more entries than are `left`.
fn size(path: &Path, left: &mut usize) -> Option<u64> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Some(0) };
    *left = left.checked_sub(1)?;
    let mut bytes = meta.len();
    if meta.is_dir() {
        bytes = 0;
        for entry in list(path).unwrap_or_default() {
            bytes += size(&entry.path(), left)?;
        }
    }
    Some(bytes)
}

fn names(dir: &Path) -> Result<Vec<String>, HostError> {
    let mut names: Vec<_> = list(dir)?.into_iter().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn globs(patterns: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    let whole = patterns.iter().filter_map(|pattern| pattern.strip_suffix("/**"));
    for pattern in patterns.iter().map(String::as_str).chain(whole) {
        if let Ok(glob) = GlobBuilder::new(pattern).literal_separator(true).build() {
            set.add(glob);
        }
    }
    set.build().unwrap_or_default()
}

struct Look<'a> {
    root: &'a Root,
    ask: &'a Survey,
    seen: &'a mut Surveyed,
    mutable: GlobSet,
    relinks: Vec<Step>,
    /// The user that most of the checkout belongs to. Not that of ROOT, which is the agent's.
    usual: Option<u32>,
}

/// Who owns the most of these.
fn usual(root: &Root, entries: &[String]) -> Option<u32> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for name in entries {
        if let Ok(meta) = fs::symlink_metadata(root.path().join(name)) {
            *counts.entry(meta.uid()).or_default() += 1;
        }
    }
    let own = fs::metadata(root.path()).map(|meta| meta.uid()).ok();
    counts.into_iter().max_by_key(|(uid, count)| (*count, Some(*uid) == own)).map(|(uid, _)| uid)
}

fn covers(outer: &str, path: &str) -> bool {
    path == outer || path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

impl Look<'_> {
    /// Data that a deployment would leave behind.
    fn data(&mut self, entries: &[String]) -> Result<(), HostError> {
        if !self.root.path().join(".git").exists() {
            for name in entries {
                self.suspect(name)?;
            }
            return Ok(());
        }
        let why = "open it as the user that it belongs to, or move .git away: then nothing is known of what Git tracks";
        let failed = |error: git2::Error| {
            (format!("the Git repository in ROOT cannot be read ({})", error.message()), why.to_owned())
        };
        let statuses = (|| {
            let repository = git2::Repository::open(self.root.path())?;
            let mut options = git2::StatusOptions::new();
            options.include_untracked(true).include_ignored(true).recurse_untracked_dirs(false).update_index(false);
            let statuses = repository.statuses(Some(&mut options))?;
            let found =
                statuses.iter().map(|entry| (String::from_utf8_lossy(entry.path_bytes()).into_owned(), entry.status()));
            Ok::<Vec<_>, git2::Error>(found.collect())
        })();
        match statuses {
            Err(error) => self.seen.refused.push(failed(error)),
            Ok(found) => {
                for (path, status) in found {
                    let path = path.trim_end_matches('/');
                    let first = path.split('/').next().unwrap_or_default();
                    if LAYOUT.contains(&first) {
                        continue;
                    }
                    if status.intersects(git2::Status::WT_NEW | git2::Status::IGNORED | git2::Status::INDEX_NEW) {
                        self.uncovered(path, "Git does not track it")?;
                    } else if !status.is_empty() && status != git2::Status::CURRENT {
                        self.seen.edited.push(path.to_owned());
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes what of a path no shared path, glob or word covers.
    fn uncovered(&mut self, path: &str, why: &str) -> Result<(), HostError> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let ask = self.ask;
        if ask.shared.iter().any(|one| covers(&one.path, path))
            || ask.leave.iter().any(|one| covers(one.trim_end_matches('/'), path))
            || self.mutable.is_match(path)
        {
            return Ok(());
        }
        if REBUILT.contains(&name) {
            self.seen.rebuilt.push(path.to_owned());
            return Ok(());
        }
        let full = self.root.path().join(path);
        let inner = ask.shared.iter().map(|one| &one.path).chain(&ask.leave).any(|one| covers(path, one))
            || ask.mutable.iter().any(|glob| glob.starts_with(&format!("{path}/")));
        let is_dir = fs::symlink_metadata(&full).is_ok_and(|meta| meta.is_dir());
        if is_dir && inner {
            for name in names(&full)? {
                self.uncovered(&format!("{path}/{name}"), why)?;
            }
        } else if !is_dir || !names(&full)?.is_empty() {
            self.seen.uncovered.push((path.to_owned(), why.to_owned()));
        }
        Ok(())
    }

    /// Without Git: what looks like data by its owner, its mode or its name.
    fn suspect(&mut self, path: &str) -> Result<(), HostError> {
        let full = self.root.path().join(path);
        let Ok(meta) = fs::symlink_metadata(&full) else { return Ok(()) };
        if meta.is_symlink() {
            return Ok(());
        }
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        let ends = [".sqlite", ".sqlite3", ".db", ".log", ".rdb", ".mdb", "-wal", "-journal"]
            .iter()
            .any(|end| name.ends_with(end));
        let called = ["uploads", "upload", "storage", "data", "logs", "backups", "media"].contains(&name.as_str());
        let why = match () {
            () if self.usual.is_some_and(|usual| meta.uid() != usual) => "another user owns it than most of the rest",
            () if meta.mode() & 0o022 != 0 => "others than its owner may write it",
            () if ends || (meta.is_dir() && called) || name.starts_with(".env") && !name.contains("example") => {
                "its name speaks of data"
            }
            () if meta.is_dir() && !REBUILT.contains(&name.as_str()) => {
                for name in names(&full)? {
                    self.suspect(&format!("{path}/{name}"))?;
                }
                return Ok(());
            }
            () => return Ok(()),
        };
        self.uncovered(path, why)
    }

    /// What renames cannot do.
    fn obstacles(&mut self, entries: &[String]) -> Result<(), HostError> {
        let device = fs::metadata(self.root.path()).map(|meta| meta.dev()).unwrap_or_default();
        if let Some(first) = self.seen.releases.first() {
            let what = format!("releases/{} is there already, and soll keeps its releases in releases/", first.name);
            self.refuse(
                what,
                "where releases/ is the application's, choose another root; else move what is no release out of ROOT, so \
                 that releases/ is taken over as it is",
            );
        }
        for name in names(&self.root.shared())? {
            let mut refuse = true;
            for one in self.ask.shared.iter().filter(|one| covers(&name, &one.from)) {
                refuse = self.root.path().join(&one.path).exists() && self.root.shared().join(&one.from).exists();
            }
            if refuse {
                let what = format!("shared/{name} is there already");
                self.refuse(what, "move it out of ROOT/shared, or out of the tree, before the conversion");
            }
        }
        for one in &self.ask.shared {
            let path = self.root.path().join(&one.path);
            self.journals(&one.path);
            let outer = Path::new(&one.path).ancestors().skip(1).filter(|outer| !outer.as_os_str().is_empty());
            for outer in outer.filter(|outer| self.root.path().join(outer).is_symlink()).collect::<Vec<_>>() {
                self.refuse(
                    format!("the shared path `{}` lies behind the link `{}`", one.path, outer.display()),
                    "put the directory itself in the place of the link: nothing is moved through a link",
                );
            }
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_symlink() && fs::read_link(&path).is_ok_and(|text| text.is_relative()) => self
                    .refuse(
                        format!("the shared path `{}` is a relative link", one.path),
                        "make it absolute, so that it still leads there from shared/",
                    ),
                Ok(meta) if !meta.is_symlink() && meta.is_dir() != one.directory => {
                    let is = if meta.is_dir() { "a directory" } else { "a file" };
                    self.refuse(
                        format!("the shared path `{}` is {is} here", one.path),
                        "list it where it belongs (shared_dirs, shared_files)",
                    );
                }
                Ok(meta) if meta.dev() != device => {
                    self.refuse(
                        format!("`{}` lies on another file system", one.path),
                        "unmount it, mount it at its place in shared/, and put a link here",
                    );
                }
                Ok(_) => {}
                Err(_) if one.directory => {}
                Err(_) if self.root.shared().join(&one.from).exists() => {}
                Err(_) => self.seen.missing.push(one.path.clone()),
            }
        }
        for name in entries.iter().filter(|name| *name != ".git") {
            self.links(name, device)?;
        }
        self.borders(entries, device);
        Ok(())
    }

    /// Renames do not cross a border of file systems, nor, for directories, one between the layers of an overlay.
    fn borders(&mut self, entries: &[String], device: u64) {
        for home in [self.root.shared(), self.root.releases()] {
            if fs::metadata(&home).is_ok_and(|meta| meta.dev() != device) {
                self.refuse(
                    format!("{} lies on another file system than {}", home.display(), self.root.path().display()),
                    "mount that file system at ROOT itself, or move it away until the conversion is done",
                );
            }
        }
        let root = self.root.path().to_owned();
        let shared = self.ask.shared.iter().map(|one| &one.path).filter(|path| !entries.contains(path));
        for path in entries.iter().chain(shared) {
            let full = root.join(path);
            if fs::symlink_metadata(&full).is_ok_and(|meta| meta.is_dir()) && layers::is_stuck(&full, &root) {
                let full = full.display();
                self.refuse(
                    format!("`{path}` lies in a lower layer of an overlay file system, where a directory cannot be renamed"),
                    &format!(
                        "bring it into the upper layer: cp -a {full} {full}.up && rm -rf {full} && mv {full}.up {full}; or \
                         mount the overlay with redirect_dir=on"
                    ),
                );
            }
        }
    }

    /// What SQLite has not folded into its database yet would stay behind, and be lost.
    fn journals(&mut self, path: &str) {
        for end in ["-wal", "-journal"] {
            let beside = format!("{path}{end}");
            let full = self.root.path().join(&beside);
            let shared = self.ask.shared.iter().any(|one| covers(&one.path, &beside));
            if !shared && fs::metadata(full).is_ok_and(|meta| meta.is_file() && meta.len() > 0) {
                self.refuse(
                    format!("`{beside}` holds changes that are not in the database yet"),
                    "stop the application, so that SQLite folds them in, then run it again",
                );
            }
        }
    }

    fn refuse(&mut self, what: String, next: &str) {
        self.seen.refused.push((what, next.to_owned()));
    }

    /// Links and mounts in the tree: those that name the old place are made anew, those that would lead elsewhere refused.
    fn links(&mut self, path: &str, device: u64) -> Result<(), HostError> {
        let full = self.root.path().join(path);
        let Ok(meta) = fs::symlink_metadata(&full) else { return Ok(()) };
        if meta.is_dir() {
            if meta.dev() != device {
                self.refuse(format!("`{path}` lies on another file system"), "unmount it before the conversion");
                return Ok(());
            }
            for name in names(&full)? {
                self.links(&format!("{path}/{name}"), device)?;
            }
        } else if meta.is_symlink()
            && let Ok(text) = fs::read_link(&full)
        {
            if let Ok(inside) = text.strip_prefix(self.root.path()) {
                let first = inside.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned());
                if first.is_some_and(|first| !LAYOUT.contains(&first.as_str())) {
                    let to = self.root.current().join(inside).display().to_string();
                    let was = text.display().to_string();
                    self.relinks.push(Step::Relink { path: path.to_owned(), was, text: to });
                }
            } else if text.is_relative() && leaves(path, &text) {
                self.refuse(format!("the link `{path}` leads out of ROOT by a relative path"), "make it absolute");
            }
        }
        Ok(())
    }
}

/// Whether a relative link in ROOT comes out of it.
fn leaves(path: &str, text: &Path) -> bool {
    let mut depth = path.split('/').count() - 1;
    for part in text.components() {
        match part {
            Component::ParentDir if depth == 0 => return true,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
    }
    false
}

/// The steps, in an order that leaves `current` for the end.
fn plan(root: &Root, ask: &Survey, entries: &[String], seen: &Surveyed, relinks: Vec<Step>) -> Vec<Step> {
    let home = format!("releases/{}", seen.name);
    let make = |path: &str| Step::Make { path: path.to_owned() };
    let mut steps = vec![make("releases"), make(&home), make("shared")];
    steps.extend(relinks);
    for name in entries {
        let to = if name == ".git" { format!("shared/{GIT}") } else { format!("{home}/{name}") };
        steps.push(Step::Move { from: name.clone(), to });
    }
    for one in &ask.shared {
        let there = fs::symlink_metadata(root.path().join(&one.path)).is_ok();
        if !there && seen.missing.contains(&one.path) {
            continue;
        }
        let mut way = |base: &str, rel: &str| {
            let parts: Vec<_> = rel.split('/').collect();
            for end in 1..parts.len() {
                let step = make(&format!("{base}/{}", parts[..end].join("/")));
                if !steps.contains(&step) {
                    steps.push(step);
                }
            }
        };
        way("shared", &one.from);
        way(&home, &one.path);
        let (path, from) = (format!("{home}/{}", one.path), format!("shared/{}", one.from));
        match there {
            true => steps.push(Step::Move { from: path.clone(), to: from }),
            false if one.directory => steps.push(make(&from)),
            false => {}
        }
        steps.push(Step::Link { path, text: link::target(one) });
    }
    steps.push(Step::Current { text: home });
    if ask.keep_links {
        let kept = entries.iter().filter(|name| *name != ".git");
        steps.extend(kept.map(|name| Step::Link { path: name.clone(), text: format!("current/{name}") }));
    }
    steps
}
