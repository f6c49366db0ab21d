//! What a release may contain: the one set of rules for bundles that come in and bundles that are made. Pure.
//!
//! A tree that was accepted here has only plain relative paths, no path twice, nothing below a link or a file, and no
//! link that leads out of the release, not even by way of another link.

use std::collections::BTreeMap;

use crate::model::ids::Digest;

use super::manifest::{Entry, Manifest, Node};

/// A whole path, and one part of it: what Linux file systems can hold.
const MAX_PATH: usize = 4096;
const MAX_PART: usize = 255;
/// All paths and link targets of a release together: what keeps the manifest in memory.
const MAX_NAMES: usize = 128 << 20;
/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;
/// Parts of paths that are looked at for all links together.
const MAX_STEPS: u64 = 20_000_000;

/// A release that is being put together.
#[derive(Debug)]
pub struct Tree {
    nodes: BTreeMap<String, Known>,
    max_entries: usize,
    names: usize,
}

#[derive(Debug)]
struct Known {
    node: Node,
    /// Named by an entry of its own, not only as the parent of something.
    named: bool,
}

impl Tree {
    /// An empty tree that may grow to `max_entries` paths, parents that are never named included.
    pub fn new(max_entries: usize) -> Self {
        Tree { nodes: BTreeMap::new(), max_entries, names: 0 }
    }

    /// Adds an entry. The error says which rule it breaks.
    pub fn add(&mut self, path: &str, node: Node) -> Result<(), String> {
        if let Node::Link { target } = &node {
            check_target(target)?;
        }
        for (at, _) in path.match_indices('/') {
            let parent = &path[..at];
            match self.nodes.get(parent).map(|known| &known.node) {
                Some(Node::Dir) => {}
                Some(Node::Link { .. }) => return Err(format!("it lies below the symbolic link `{parent}`")),
                Some(Node::File { .. }) => return Err(format!("it lies below `{parent}`, which is a file")),
                None => {
                    self.insert(parent, Known { node: Node::Dir, named: false })?;
                }
            }
        }
        match self.nodes.get_mut(path) {
            None => self.insert(path, Known { node, named: true }),
            Some(known) if known.node == Node::Dir && node == Node::Dir && !known.named => {
                known.named = true;
                Ok(())
            }
            Some(known) => Err(format!("its name was used before, by {}", kind(&known.node))),
        }
    }

    /// The file at a path, for a hard link to it: digest, size, executable.
    pub fn file(&self, path: &str) -> Option<(Digest, u64, bool)> {
        match self.nodes.get(path)?.node {
            Node::File { sha256, size, executable } => Some((sha256, size, executable)),
            _ => None,
        }
    }

    fn insert(&mut self, path: &str, known: Known) -> Result<(), String> {
        self.names += path.len() + if let Node::Link { target } = &known.node { target.len() } else { 0 };
        if self.nodes.len() >= self.max_entries {
            return Err(format!("there are more than {} entries", self.max_entries));
        }
        if self.names > MAX_NAMES {
            return Err(format!("the names of all entries together have more than {MAX_NAMES} bytes"));
        }
        self.nodes.insert(path.to_owned(), known);
        Ok(())
    }

    /// Nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What a path leads to after all links, where that exists.
    pub fn resolve(&self, path: &str) -> Option<&Node> {
        let end = self.walk(path, &mut { MAX_STEPS }).ok()?;
        self.nodes.get(&end).map(|known| &known.node)
    }

    /// Checks every link, now that all entries are known. The error carries the path of the bad one.
    pub fn finish(self) -> Result<Manifest, (String, String)> {
        let mut budget = MAX_STEPS;
        for (path, known) in &self.nodes {
            if let Node::Link { target } = &known.node {
                self.walk(path, &mut budget)
                    .map_err(|why| (path.clone(), format!("its target `{}` {why}", shown(target))))?;
            }
        }
        let entries = self.nodes.into_iter().map(|(path, known)| Entry { path, node: known.node }).collect();
        Ok(Manifest { entries })
    }

    /// Follows a path as the kernel would, in this tree alone. What does not exist (yet) is taken as it is written.
    /// Every step is paid from `budget`: a thousand links with a thousand parts each must not cost minutes.
    fn walk(&self, path: &str, budget: &mut u64) -> Result<String, String> {
        let mut left: Vec<&str> = path.rsplit('/').collect();
        let mut at = String::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            *budget = budget.checked_sub(1).ok_or("makes the links of this archive too many to follow")?;
            match part {
                "" | "." => continue,
                ".." if at.is_empty() => return Err("leads out of the release".to_owned()),
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let parent = at.len();
            if parent > 0 {
                at.push('/');
            }
            at.push_str(part);
            if let Some(Known { node: Node::Link { target }, .. }) = self.nodes.get(&at) {
                links += 1;
                if links > MAX_LINKS {
                    return Err("goes round in circles or through too many links".to_owned());
                }
                at.truncate(parent);
                left.extend(target.rsplit('/'));
            }
        }
        Ok(at)
    }
}

/// A name as an archive spells it, made canonical: a leading `./` and a trailing `/` go. `None` is the root itself.
pub fn canonical(name: &[u8]) -> Result<Option<String>, String> {
    if name.is_empty() {
        return Err("it has no name".to_owned());
    }
    if name.contains(&0) {
        return Err("its name contains a NUL byte".to_owned());
    }
    let name = std::str::from_utf8(name).map_err(|_| "its name is not UTF-8".to_owned())?;
    if name.starts_with('/') {
        return Err("its path is absolute".to_owned());
    }
    let mut name = name;
    while let Some(rest) = name.strip_prefix("./") {
        name = rest;
    }
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.is_empty() || name == "." {
        return Ok(None);
    }
    if name.len() > MAX_PATH {
        return Err(format!("its path has {} bytes; {MAX_PATH} are the limit", name.len()));
    }
    for part in name.split('/') {
        match part {
            "" => return Err("its path has an empty part (`//`)".to_owned()),
            "." => return Err("its path has a part `.`".to_owned()),
            ".." => return Err("its path has a part `..`".to_owned()),
            _ if part.len() > MAX_PART => {
                return Err(format!("a part of its path has {} bytes; {MAX_PART} are the limit", part.len()));
            }
            _ => {}
        }
    }
    if name == ".soll" || name.starts_with(".soll/") {
        return Err("`.soll` is reserved for the records of soll itself".to_owned());
    }
    Ok(Some(name.to_owned()))
}

fn check_target(target: &str) -> Result<(), String> {
    if target.is_empty() {
        return Err("it is a symbolic link without a target".to_owned());
    }
    if target.len() > MAX_PATH {
        return Err(format!("its target has {} bytes; {MAX_PATH} are the limit", target.len()));
    }
    if target.contains('\0') {
        return Err("its target contains a NUL byte".to_owned());
    }
    if target.starts_with('/') {
        return Err(format!("its target `{}` is absolute; a release may only link inside itself", shown(target)));
    }
    Ok(())
}

fn kind(node: &Node) -> &'static str {
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
