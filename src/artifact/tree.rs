//! What a release may contain: the one set of rules for bundles that come in and bundles that are made. Pure.
//!
//! A tree that was accepted here has only plain relative paths, no path twice, nothing below a link or a file, and no
//! link that goes round in circles. Whether a link may lead out of the release is for the application to say
//! ([`super::terms`]): here a link is a text, whatever it says.

use std::fmt;

use super::links::{End, Links};
use super::manifest::{ByPath, Entry, Manifest, Node};

/// A whole path, and one part of it: what Linux file systems can hold.
const MAX_PATH: usize = 4096;
const MAX_PART: usize = 255;
/// What no release may have at its top.
pub(super) const RESERVED: &str = ".soll";
/// All paths and link targets of a release together: what keeps the manifest in memory.
const MAX_NAMES: usize = 128 << 20;

/// Why something cannot be part of a release: what is wrong, and, in its own words or in the usual ones, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It was packed badly: the same directory, packed by us, is good.
    Packing(String),
    /// What was packed is at fault. The text says what to do about that.
    Contents(String),
}

impl Reason {
    /// One of how it was packed.
    pub fn packing(text: impl Into<String>) -> Reason {
        Reason::Packing(text.into())
    }

    /// One of what was packed, with what to do.
    pub fn contents(text: impl Into<String>) -> Reason {
        Reason::Contents(text.into())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Packing(text) | Reason::Contents(text) => f.write_str(text),
        }
    }
}

/// A release that is being put together.
#[derive(Debug)]
pub struct Tree {
    /// In the order in which they came.
    nodes: Manifest,
    by_path: ByPath,
    max_entries: usize,
    /// How many of them are directories.
    dirs: usize,
    names: usize,
}

impl Tree {
    /// An empty tree that may grow to `max_entries` files and links, and to as many directories, parents that are never
    /// named included: whoever is told of so many files need not know how they are spread.
    pub fn new(max_entries: usize) -> Self {
        let (nodes, by_path) = Default::default();
        Tree { nodes, by_path, max_entries, dirs: 0, names: 0 }
    }

    /// Adds an entry, with the modification time of a file. The error says which rule it breaks.
    pub fn add(&mut self, entry: Entry<&str>, time: Option<i64>) -> Result<(), Reason> {
        let Entry { path, node, mode } = entry;
        if let Node::Link { target } = node {
            check_target(target)?;
        }
        let below = |what: String| Reason::packing(format!("it lies below {what}"));
        for (at, _) in path.match_indices('/') {
            let parent = &path[..at];
            match self.get(parent) {
                Some(Node::Dir) => {}
                Some(Node::Link { .. }) => return Err(below(format!("the symbolic link `{parent}`"))),
                Some(Node::File { .. }) => return Err(below(format!("`{parent}`, which is a file"))),
                None => self.insert(Entry::plain(parent, Node::Dir))?,
            }
        }
        let number = match self.by_path.find(&self.nodes, path) {
            None => {
                self.insert(entry)?;
                self.nodes.len() - 1
            }
            // The same thing twice is that thing: tar packs what is named to it twice.
            Some(number) if self.get(path) == Some(node) => {
                self.nodes.set_mode(number, mode);
                number
            }
            Some(_) => {
                let what = self.get(path).map_or("", kind);
                let text = format!("its name was used before, by {what}; was something appended to the archive?");
                return Err(Reason::packing(text));
            }
        };
        if let Some(time) = time {
            self.nodes.set_time(number, time);
        }
        Ok(())
    }

    /// What was added at a path.
    pub fn get(&self, path: &str) -> Option<Node<&str>> {
        self.nodes.entry(self.by_path.find(&self.nodes, path)?).map(|entry| entry.node)
    }

    fn insert(&mut self, entry: Entry<&str>) -> Result<(), Reason> {
        self.names += entry.path.len() + if let Node::Link { target } = entry.node { target.len() } else { 0 };
        let is_dir = entry.node == Node::Dir;
        let of_its_kind = if is_dir { self.dirs } else { self.nodes.len() - self.dirs };
        if of_its_kind >= self.max_entries {
            return Err(Reason::contents(format!(
                "there are more than {} entries; leave out what the application does not need to run",
                self.max_entries
            )));
        }
        if self.names > MAX_NAMES {
            return Err(Reason::contents(format!(
                "the names of all entries together have more than {MAX_NAMES} bytes; leave out what the application does \
                 not need to run"
            )));
        }
        self.nodes.push(entry).map_err(|error| Reason::contents(error.to_string()))?;
        self.dirs += usize::from(is_dir);
        self.by_path.add(&self.nodes, self.nodes.len() - 1);
        Ok(())
    }

    /// Nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Checks every link, now that all entries are known. The error carries the path of the bad one.
    pub fn finish(self) -> Result<Manifest, (String, Reason)> {
        let Tree { nodes: mut manifest, by_path, .. } = self;
        drop(by_path);
        manifest.sort();
        let mut links = Links::of(&manifest);
        for entry in manifest.entries() {
            if let Node::Link { target } = entry.node {
                links.follow(entry.path).map_err(|why| {
                    let text = format!("its target `{}` {why}; correct or leave out the link", shown(target));
                    (entry.path.to_owned(), Reason::contents(text))
                })?;
            }
        }
        Ok(manifest)
    }
}

/// What a path of a release leads to.
pub enum Found<'a> {
    Nothing,
    Node(Node<&'a str>),
    /// It leads out: only the host knows.
    Outside,
}

/// Looks up a path, after all links.
pub fn resolve<'a>(manifest: &'a Manifest, path: &str) -> Found<'a> {
    match Links::of(manifest).follow(path) {
        Ok(End::Inside(end)) => manifest.get(&end).map_or(Found::Nothing, |entry| Found::Node(entry.node)),
        Ok(End::Outside(_)) => Found::Outside,
        Err(_) => Found::Nothing,
    }
}

/// A name as an archive spells it, made canonical, as every reader makes it: parts that are empty or `.` go, and so does a `/`
/// at the end. `None` is the root itself, be it called `./` or `/`.
pub fn canonical(name: &[u8]) -> Result<Option<String>, Reason> {
    if name.is_empty() {
        return Err(Reason::packing("it has no name"));
    }
    if name.contains(&0) {
        return Err(Reason::packing("its name contains a NUL byte"));
    }
    let Ok(name) = std::str::from_utf8(name) else {
        return Err(Reason::contents("its name is not UTF-8; rename it where it is built"));
    };
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(Reason::packing(
            "its path has a part `..`; pack from inside the directory: `tar -C DIR -czf FILE .`",
        ));
    }
    if parts.is_empty() {
        return Ok(None);
    }
    if name.starts_with('/') {
        return Err(Reason::packing("its path is absolute; pack from inside the directory: `tar -C DIR -czf FILE .`"));
    }
    if let Some(part) = parts.iter().find(|part| part.len() > MAX_PART) {
        let length = part.len();
        let text = format!("a part of its path has {length} bytes; {MAX_PART} are the limit of Linux: shorten it");
        return Err(Reason::contents(text));
    }
    let path = parts.join("/");
    if path.len() > MAX_PATH {
        let text = format!("its path has {} bytes; {MAX_PATH} are the limit of Linux: shorten it", path.len());
        return Err(Reason::contents(text));
    }
    if parts[0] == RESERVED {
        return Err(Reason::contents(format!("`{RESERVED}` is reserved for the records of soll itself; leave it out")));
    }
    Ok(Some(path))
}

fn check_target(target: &str) -> Result<(), Reason> {
    if target.is_empty() {
        return Err(Reason::packing("it is a symbolic link without a target"));
    }
    if target.len() > MAX_PATH {
        let text = format!("its target has {} bytes; {MAX_PATH} are the limit of Linux: shorten it", target.len());
        return Err(Reason::contents(text));
    }
    if target.contains('\0') {
        return Err(Reason::packing("its target contains a NUL byte"));
    }
    Ok(())
}

fn kind(node: Node<&str>) -> &'static str {
    match node {
        Node::Dir => "a directory",
        Node::File { .. } => "a file",
        Node::Link { .. } => "a symbolic link",
    }
}

/// A text from an archive, safe for a terminal: control characters escaped, long ones cut.
pub fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(120).flat_map(char::escape_debug).collect();
    if text.chars().nth(120).is_some() {
        out.push('…');
    }
    out
}
