//! The house: which room of `src` may import which, and which floor of a room (the map in `src/lib.rs`). Read off the
//! text of the files, so that an import that turns a direction around is found before it has become a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::source::{Token, tokens};

/// Each room, and the rooms that it may import. What is not here may not.
const ROOMS: &[(&str, &[&str])] = &[
    ("fault", &[]),
    ("model", &[]),
    ("plan", &["model"]),
    ("journal", &["model", "plan"]),
    ("artifact", &["model", "fault"]),
    ("health", &["model", "fault"]),
    ("link", &["model"]),
    ("backup", &["model", "link"]),
    ("host", &["model", "backup", "fault"]),
    ("state_repo", &["model", "fault"]),
    ("store", &["model", "fault"]),
    ("ssh", &["model", "link", "host", "fault"]),
    ("seal", &["model", "host"]),
    (
        "run",
        &[
            "model",
            "plan",
            "journal",
            "artifact",
            "health",
            "host",
            "state_repo",
            "store",
            "link",
            "ssh",
            "seal",
            "fault",
        ],
    ),
    ("web", &["model", "plan", "journal", "run"]),
    (
        "demo",
        &[
            "model",
            "plan",
            "journal",
            "artifact",
            "health",
            "host",
            "state_repo",
            "store",
            "link",
            "ssh",
            "run",
            "fault",
        ],
    ),
    (
        "cli",
        &[
            "model",
            "plan",
            "journal",
            "artifact",
            "health",
            "host",
            "state_repo",
            "store",
            "link",
            "ssh",
            "run",
            "web",
            "demo",
            "fault",
        ],
    ),
];

/// The floors of a room, from the bottom: one line each, and floors on one line do not know each other. What lies in the
/// room beside its floors (`run/controller.rs`, `host/mod.rs`) is below all of them.
const FLOORS: &[(&str, &[&[&str]])] = &[
    (
        "host",
        &[&["wire"], &["disk"], &["release"], &["backup", "convert", "examine", "provision"], &["serve"], &["call"]],
    ),
    ("run", &[&["look"], &["step", "doctor"], &["pass"], &["operate"]]),
];

/// What is allowed against the tables: from, to, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("host", "artifact::manifest", "the form of a tree is the same on the controller and on a host"),
    (
        "host",
        "artifact::terms",
        "a host that fetches for itself is told on what terms the application takes its bundle",
    ),
    ("host", "artifact::delta", "a tree is told by its difference from one that is there"),
    ("host", "artifact::picked", "files of a tree are named by their numbers in it"),
    ("host::release", "artifact", "a host that fetches for itself unpacks like a controller"),
    ("host::release::checkout", "state_repo", "a host that fetches for itself reads a commit like a controller"),
    ("health", "host::wire", "a probe that a host makes travels as an operation"),
    ("health::prober", "host::serve::ops", "the trait by which the host asks for checks that need a network"),
    ("store", "journal", "events are stored as what they are"),
];

/// One reference from a module to something of this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reference {
    file: PathBuf,
    line: usize,
    /// The module that refers, without `crate`.
    from: Vec<String>,
    /// What it refers to, without `crate`; may end in an item.
    to: Vec<String>,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} imports {}", self.file.display(), self.line, self.from.join("::"), self.to.join("::"))
    }
}

/// Reads the references of one file. `module`: its own, without `crate`; `children`: the modules below it.
struct Reader<'a> {
    file: &'a Path,
    tokens: &'a [(usize, Token)],
    at: usize,
    module: Vec<String>,
    children: &'a BTreeSet<String>,
    /// Modules that are written within the file, and the depth of braces at which each ends.
    inner: Vec<(String, usize)>,
    found: Vec<Reference>,
}

impl Reader<'_> {
    fn word(&self, at: usize) -> Option<&str> {
        match self.tokens.get(at) {
            Some((_, Token::Word(word))) => Some(word),
            _ => None,
        }
    }

    fn is(&self, at: usize, token: &Token) -> bool {
        self.tokens.get(at).is_some_and(|(_, there)| there == token)
    }

    fn read(mut self) -> Vec<Reference> {
        let mut depth = 0;
        while let Some((_, token)) = self.tokens.get(self.at) {
            match token {
                Token::Sign('{') => depth += 1,
                Token::Sign('}') => {
                    depth -= 1;
                    self.inner.retain(|(_, end)| *end <= depth);
                }
                Token::Word(word) if word == "mod" && self.is(self.at + 2, &Token::Sign('{')) => {
                    let name = self.word(self.at + 1).unwrap_or_default().to_owned();
                    self.inner.push((name, depth + 1));
                }
                // Who may see an item is no import.
                Token::Word(word) if word == "in" && self.is(self.at.wrapping_sub(1), &Token::Sign('(')) => {
                    while self.at < self.tokens.len() && !self.is(self.at, &Token::Sign(')')) {
                        self.at += 1;
                    }
                }
                Token::Text(text) if text.starts_with("crate::") => {
                    let parts = text.split("::").skip(1).map(str::to_owned).collect();
                    self.note(self.at, parts);
                }
                // The rest of a path that began elsewhere, or of one of another crate, is no beginning.
                Token::Word(_) if !self.is(self.at.wrapping_sub(1), &Token::Colons) => {
                    if let Some(start) = self.start() {
                        let base = self.base(&start);
                        self.at += start.len();
                        self.tree(base);
                        continue;
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
        self.found
    }

    /// The words at this place that say where a path of this crate begins: `crate`, `self`, `super::super`, a child.
    fn start(&self) -> Option<Vec<String>> {
        let first = self.word(self.at)?;
        let path = self.is(self.at + 1, &Token::Colons);
        let used = matches!(self.word(self.at.wrapping_sub(1)), Some("use"));
        match first {
            "super" if path => {
                let mut words = vec!["super".to_owned()];
                while self.word(self.at + 2 * words.len()) == Some("super") {
                    words.push("super".to_owned());
                }
                // Between two words lies a `::`, which belongs to the beginning, too.
                Some((1..2 * words.len()).map(|_| "super".to_owned()).collect())
            }
            "crate" | "self" if path => Some(vec![first.to_owned()]),
            _ if self.inner.is_empty() && self.children.contains(first) && (path || used) => {
                Some(vec![first.to_owned()])
            }
            _ => None,
        }
    }

    fn base(&self, start: &[String]) -> Vec<String> {
        let mut own = self.module.clone();
        own.extend(self.inner.iter().map(|(name, _)| name.clone()));
        match start[0].as_str() {
            "crate" => Vec::new(),
            "self" => own,
            "super" => {
                own.truncate(own.len().saturating_sub(start.len().div_ceil(2)));
                own
            }
            child => {
                own.push(child.to_owned());
                own
            }
        }
    }

    /// A path, or a tree of them in braces, after what is known of it.
    fn tree(&mut self, mut path: Vec<String>) {
        let line = self.at.saturating_sub(1);
        while self.is(self.at, &Token::Colons) {
            self.at += 1;
            if let Some(word) = self.word(self.at) {
                path.push(word.to_owned());
                self.at += 1;
            } else if self.is(self.at, &Token::Sign('{')) {
                self.at += 1;
                while self.at < self.tokens.len() && !self.is(self.at, &Token::Sign('}')) {
                    if let Some(word) = self.word(self.at) {
                        let mut longer = path.clone();
                        if word != "self" {
                            longer.push(word.to_owned());
                        }
                        self.at += 1;
                        self.tree(longer);
                        if self.word(self.at) == Some("as") {
                            self.at += 2;
                        }
                    } else {
                        self.at += 1;
                    }
                }
                self.at += 1;
                return;
            } else {
                // A glob, or the generic arguments of a call.
                break;
            }
        }
        self.note(line, path);
    }

    fn note(&mut self, at: usize, to: Vec<String>) {
        let line = self.tokens.get(at).map_or(0, |(line, _)| *line);
        self.found.push(Reference { file: self.file.to_owned(), line, from: self.module.clone(), to });
    }
}

/// The module of a file below `src`.
fn module(relative: &Path) -> Vec<String> {
    let mut parts: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let last = parts.pop().unwrap_or_default();
    let name = last.trim_end_matches(".rs");
    if !matches!(name, "mod" | "lib" | "main") {
        parts.push(name.to_owned());
    }
    parts
}

/// Every reference of these files, by path relative to `src`, in a crate of these modules.
fn references(files: &BTreeMap<PathBuf, String>, modules: &BTreeSet<Vec<String>>) -> Vec<Reference> {
    let mut all = Vec::new();
    for (file, source) in files {
        let own = module(file);
        let children = modules.iter().filter(|m| m.len() == own.len() + 1 && m.starts_with(&own));
        let children: BTreeSet<String> = children.filter_map(|m| m.last().cloned()).collect();
        let tokens = tokens(source);
        let file = Path::new("src").join(file);
        let (inner, found) = (Vec::new(), Vec::new());
        let reader = Reader { file: &file, tokens: &tokens, at: 0, module: own, children: &children, inner, found };
        all.extend(reader.read());
    }
    all
}

/// The height of a module above the ground of its room; `None`: the room has no floors.
fn height(path: &[String]) -> Option<(usize, Option<&str>)> {
    let (_, floors) = FLOORS.iter().find(|(room, _)| Some(*room) == path.first().map(String::as_str))?;
    let floor = path.get(1).map(String::as_str);
    let found = floors.iter().position(|same| floor.is_some_and(|floor| same.contains(&floor)));
    Some(found.map_or((0, None), |at| (at + 1, floor)))
}

/// Why a reference is forbidden; `None`: it is not.
fn forbidden(reference: &Reference) -> Option<String> {
    let (from, to) = (reference.from.first()?, reference.to.first()?);
    if from != to {
        // What is no room is a macro of the crate's root.
        if !ROOMS.iter().any(|(room, _)| room == to) {
            return None;
        }
        let Some((_, may)) = ROOMS.iter().find(|(room, _)| room == from) else {
            return Some(format!("the room `{from}` has no row in the table: say what it may import"));
        };
        return (!may.contains(&to.as_str())).then(|| format!("`{from}` may import {may:?}, and not `{to}`"));
    }
    let ((below, mine), (above, theirs)) = (height(&reference.from)?, height(&reference.to)?);
    if reference.to.len() == 1 {
        // Whoever has the whole room in hand has every floor of it.
        return Some(format!("the whole room `{to}` is imported within itself: name the floor"));
    }
    let theirs = theirs.filter(|theirs| Some(*theirs) != mine)?;
    let mine =
        mine.map_or_else(|| format!("what lies beside the floors of `{from}`"), |mine| format!("`{from}::{mine}`"));
    if above > below {
        return Some(format!("{mine} is below `{to}::{theirs}`"));
    }
    (above == below).then(|| format!("{mine} and `{to}::{theirs}` do not know each other"))
}

/// The exception that a reference is covered by.
fn exception(reference: &Reference) -> Option<usize> {
    let below = |path: &[String], of: &str| {
        let path = path.join("::");
        path == of || path.starts_with(&format!("{of}::"))
    };
    EXCEPTIONS.iter().position(|(from, to, _)| below(&reference.from, from) && below(&reference.to, to))
}

/// What is wrong with these files, one line each; and which exceptions somebody needs.
fn judge(files: &BTreeMap<PathBuf, String>, modules: &BTreeSet<Vec<String>>) -> (Vec<String>, BTreeSet<usize>) {
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for reference in references(files, modules) {
        let Some(why) = forbidden(&reference) else { continue };
        match exception(&reference) {
            Some(index) => drop(used.insert(index)),
            None => wrong.push(format!("{reference}: {why}")),
        }
    }
    (wrong, used)
}

fn sources(dir: &Path, root: &Path, into: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, root, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            into.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read_to_string(&path).unwrap());
        }
    }
}

fn modules(files: &BTreeMap<PathBuf, String>) -> BTreeSet<Vec<String>> {
    files.keys().map(|file| module(file)).collect()
}

fn house() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    sources(&root, &root, &mut files);
    files
}

#[test]
fn imports_go_one_way() {
    let files = house();
    let (wrong, used) = judge(&files, &modules(&files));
    assert!(wrong.is_empty(), "{} import(s) in the wrong direction:\n{}", wrong.len(), wrong.join("\n"));
    let unused: Vec<_> = EXCEPTIONS.iter().enumerate().filter(|(at, _)| !used.contains(at)).map(|(_, it)| it).collect();
    assert!(unused.is_empty(), "exceptions that nobody needs any more: {unused:?}");
}

/// Law 11: the secrets of a commit's encrypted files are opened where it is known to be accepted, and nowhere else.
#[test]
fn files_with_secrets_are_opened_for_accepted_commits_alone() {
    let house = house();
    let with = |call: &str| -> Vec<String> {
        let files = house.iter().filter(|(_, text)| text.contains(call));
        files.map(|(path, _)| path.display().to_string()).collect()
    };
    assert_eq!(with("secrets.accepted("), ["run/accepted.rs"]);
    assert_eq!(with("Opened::of("), ["run/secrets.rs"]);
    assert_eq!(with("AcceptedSnapshot {"), ["run/accepted.rs"]);
    // Whoever acts on the word of a commit asks `AcceptedSnapshot::secrets`, which has those files; the controller's own alone
    // are for its listener, for what it reads of others, and for what no commit vouches for.
    let own = [
        "cli/plan.rs",
        "run/accepted.rs",
        "run/doctor/controller.rs",
        "run/look/others.rs",
        "run/look/planned_commit.rs",
        "web/mod.rs",
    ];
    assert_eq!(with("settings.secrets"), own);
}

/// A line of a comment that is longer breaks in the middle wherever two files stand beside each other.
#[test]
fn comments_end_at_130_columns() {
    let is_long = |line: &&str| line.trim_start().starts_with("//") && line.chars().count() > 130;
    let long = house().into_iter().flat_map(|(path, text)| {
        let lines: Vec<_> = text.lines().enumerate().filter(|(_, line)| is_long(line)).map(|(n, _)| n + 1).collect();
        lines.into_iter().map(move |line| format!("src/{}:{line}", path.display()))
    });
    let long: Vec<_> = long.collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_room_and_every_floor_has_a_row() {
    let files = house();
    let rooms: BTreeSet<String> = files.keys().filter_map(|file| module(file).first().cloned()).collect();
    let rows: BTreeSet<String> = ROOMS.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(rooms, rows);
    for (room, floors) in FLOORS {
        let dir = Path::new(room);
        let folders =
            files.keys().filter_map(|file| file.strip_prefix(dir).ok()).filter(|file| file.iter().count() > 1);
        let folders: BTreeSet<String> =
            folders.filter_map(|file| Some(file.iter().next()?.to_string_lossy().into_owned())).collect();
        let rows: BTreeSet<String> =
            floors.iter().flat_map(|same| same.iter().map(|floor| (*floor).to_owned())).collect();
        assert!(folders.is_subset(&rows), "floors of {room} without a row: {:?}", folders.difference(&rows));
        let there = |floor: &String| folders.contains(floor) || files.contains_key(&dir.join(format!("{floor}.rs")));
        assert!(rows.iter().all(there), "rows of {room} without a floor");
    }
}

/// The test above would be worth nothing if it could not fail: each way of writing an import, one that is wrong.
#[test]
fn whatever_way_an_import_is_written_it_is_seen() {
    let modules = modules(&house());
    let wrong = |file: &str, source: &str| {
        let one = BTreeMap::from([(PathBuf::from(file), source.to_owned())]);
        judge(&one, &modules).0
    };
    let cases = [
        (
            "plan/step.rs",
            "\n\nuse crate::run::controller::Controller;\n",
            "src/plan/step.rs:3: plan::step imports run::controller::Controller",
        ),
        (
            "plan/step.rs",
            "use crate::{model::ids, host::{wire::Op, disk}};",
            "src/plan/step.rs:1: plan::step imports host::wire::Op",
        ),
        (
            "plan/step.rs",
            "fn now() -> X {\n    crate::store::now()\n}",
            "src/plan/step.rs:2: plan::step imports store::now",
        ),
        ("plan/step.rs", "use super::super::host::wire;", "src/plan/step.rs:1: plan::step imports host::wire"),
        ("plan/step.rs", "mod tests { use super::super::super::cli; }", "src/plan/step.rs:1: plan::step imports cli"),
        (
            "plan/step.rs",
            "#[serde(with = \"crate::cli::x\")]\nstruct A;",
            "src/plan/step.rs:1: plan::step imports cli::x",
        ),
        ("plan/step.rs", "pub use crate::{cli as shell};", "src/plan/step.rs:1: plan::step imports cli"),
        ("lib.rs", "", ""),
        (
            "host/wire/frame.rs",
            "use crate::host::disk::root::Root;",
            "src/host/wire/frame.rs:1: host::wire::frame imports host::disk::root::Root",
        ),
        (
            "host/wire/frame.rs",
            "use super::super::{wire, call};",
            "src/host/wire/frame.rs:1: host::wire::frame imports host::call",
        ),
        ("host/wire/frame.rs", "use crate::host;", "src/host/wire/frame.rs:1: host::wire::frame imports host"),
        (
            "host/examine/nginx.rs",
            "use crate::host::convert::guard;",
            "src/host/examine/nginx.rs:1: host::examine::nginx imports host::convert::guard",
        ),
        ("host/mod.rs", "pub mod wire;\nfn f() { wire::Op::x() }", "src/host/mod.rs:2: host imports host::wire::Op::x"),
        (
            "run/controller.rs",
            "use crate::run::pass::hold;",
            "src/run/controller.rs:1: run::controller imports run::pass::hold",
        ),
        (
            "run/look/reach.rs",
            "use crate::run::step::task;",
            "src/run/look/reach.rs:1: run::look::reach imports run::step::task",
        ),
    ];
    for (file, source, says) in cases {
        let found = wrong(file, source);
        if says.is_empty() {
            assert!(found.is_empty(), "{file}: {found:?}");
        } else {
            assert!(found.iter().any(|line| line.starts_with(says)), "{file}: `{source}` gives {found:?}, not {says}");
        }
    }
    // What only looks like one is none.
    let innocent = "//! crate::run::x\n/* crate::cli::y /* z */ crate::cli */\nfn f<'a>(c: char) -> &'a str {\n    \
                    let _ = ('\"', '\\'', 'x', r#\"use crate::cli;\"#, \"\\\"crate::cli\", \"use crate::cli;\");\n    \"\"\n}\n\
                    pub(in crate::plan) fn g() {}\nuse std::run::x;\n";
    assert_eq!(wrong("plan/step.rs", innocent), Vec::<String>::new());
}
