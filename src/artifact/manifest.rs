//! The canonical tree of a release: what was in the archive, no more, no less. Pure.
//!
//! Half a million entries are held in one text and one table of rows, some eighty bytes for each: a controller has several
//! trees in memory at once, and a host may have little of it.

use std::fmt;
use std::io::{self, BufWriter, Write};

use crate::model::ids::{Digest, Hasher};

mod form;
mod index;

pub use form::{Line, from_file};
pub use index::{ByDigest, ByPath};

/// A release's contents, sorted by path; parents come before what they hold. Entries are known by their number in this
/// order, too.
#[derive(Clone, Default)]
pub struct Manifest {
    /// The path of each entry, and behind it the target of a link.
    text: String,
    rows: Vec<Row>,
}

#[derive(Clone, Copy)]
struct Row {
    /// Of a file.
    sha256: Digest,
    /// Of a file; of a link the length of its target.
    size: u64,
    /// Where its path begins.
    at: u32,
    /// The length of its path.
    path: u16,
    /// [`PLAIN`]: the one of its kind.
    mode: u16,
    kind: RowKind,
    /// Of a file: seconds since 1970; [`UNSAID`].
    mtime: i64,
}

/// No mode: an entry that has none of its own.
const PLAIN: u16 = u16::MAX;
/// No time: that of the deployment.
const UNSAID: i64 = i64::MIN;

#[derive(Clone, Copy, PartialEq, Eq)]
enum RowKind {
    Dir,
    File,
    Executable,
    Link,
}

/// One path of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<S = String> {
    /// Relative, `/`-separated, UTF-8, without `.`, `..` or empty parts.
    pub path: S,
    pub node: Node<S>,
    /// Where it is not the one of its kind: 755 for directories and programs, 644 for other files (A8).
    pub mode: Option<u16>,
}

/// The modification times of files, in their order: each time, and of how many files in a row it is; `None`: not said.
/// Files of one build often have one time, and a build differs from the next in its times alone.
pub type Times = Vec<(Option<i64>, u32)>;

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node<S = String> {
    Dir,
    File {
        sha256: Digest,
        size: u64,
        executable: bool,
    },
    /// Where it leads is the application's matter ([`super::terms`]).
    Link {
        target: S,
    },
}

/// Names that are too long for a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has a path of more than {} bytes, or more than {} bytes in all paths together", u16::MAX, u32::MAX)]
pub struct TooLong;

/// The bits of a mode that a release may give: nobody else writes it, and nothing in it runs as its owner.
const PERMISSIONS: u16 = 0o755;

impl<S: AsRef<str>> Entry<S> {
    /// The same in the text of somebody else.
    pub fn as_ref(&self) -> Entry<&str> {
        Entry { path: self.path.as_ref(), node: self.node.as_ref(), mode: self.mode }
    }
}

impl<S> Entry<S> {
    /// With the mode of its kind.
    pub fn plain(path: S, node: Node<S>) -> Entry<S> {
        Entry { path, node, mode: None }
    }

    /// The mode that it has on a host.
    pub fn mode(&self) -> u32 {
        self.mode.map_or_else(|| u32::from(self.node.usual_mode()), u32::from)
    }
}

impl<S> Node<S> {
    /// The mode that most of its kind have.
    pub fn usual_mode(&self) -> u16 {
        match self {
            Node::File { executable: false, .. } => 0o644,
            _ => 0o755,
        }
    }

    /// What a release keeps of the mode that an archive or a directory has: the writable bits of others and what lets a
    /// program run as somebody else go, its owner can read it, and go through a directory. `None`: the usual one.
    pub fn kept_mode(&self, mode: u32) -> Option<u16> {
        let mode = (mode & u32::from(PERMISSIONS)) as u16;
        let mode = match self {
            Node::Dir => mode | 0o700,
            Node::File { executable, .. } => mode | if *executable { 0o500 } else { 0o400 },
            Node::Link { .. } => return None,
        };
        (mode != self.usual_mode()).then_some(mode)
    }
}

impl<S: AsRef<str>> Node<S> {
    /// The same in the text of somebody else.
    pub fn as_ref(&self) -> Node<&str> {
        match self {
            Node::Dir => Node::Dir,
            Node::File { sha256, size, executable } => {
                Node::File { sha256: *sha256, size: *size, executable: *executable }
            }
            Node::Link { target } => Node::Link { target: target.as_ref() },
        }
    }
}

impl Node<&str> {
    /// The same with a text of its own.
    pub fn owned(self) -> Node {
        match self {
            Node::Dir => Node::Dir,
            Node::File { sha256, size, executable } => Node::File { sha256, size, executable },
            Node::Link { target } => Node::Link { target: target.to_owned() },
        }
    }
}

impl Manifest {
    /// Of these entries, in this order.
    ///
    /// # Errors
    /// See [`Manifest::push`].
    pub fn of<S: AsRef<str>>(entries: impl IntoIterator<Item = Entry<S>>) -> Result<Manifest, TooLong> {
        let mut manifest = Manifest::default();
        for entry in entries {
            manifest.push(entry.as_ref())?;
        }
        Ok(manifest)
    }

    /// One more entry behind the others.
    ///
    /// # Errors
    /// Its path, or all of them together, are longer than any file system has them.
    pub fn push(&mut self, Entry { path, node, mode }: Entry<&str>) -> Result<(), TooLong> {
        let at = u32::try_from(self.text.len()).map_err(|_| TooLong)?;
        let length = u16::try_from(path.len()).map_err(|_| TooLong)?;
        let none = Digest::from_bytes([0; 32]);
        let (sha256, size, kind) = match node {
            Node::Dir => (none, 0, RowKind::Dir),
            Node::File { sha256, size, executable: false } => (sha256, size, RowKind::File),
            Node::File { sha256, size, executable: true } => (sha256, size, RowKind::Executable),
            Node::Link { target } => (none, target.len() as u64, RowKind::Link),
        };
        self.text.push_str(path);
        if let Node::Link { target } = node {
            self.text.push_str(target);
        }
        let mode = mode.unwrap_or(PLAIN);
        self.rows.push(Row { sha256, size, at, path: length, mode, kind, mtime: UNSAID });
        Ok(())
    }

    /// The entry with this number has this mode.
    pub fn set_mode(&mut self, number: usize, mode: Option<u16>) {
        if let Some(row) = self.rows.get_mut(number) {
            row.mode = mode.unwrap_or(PLAIN);
        }
    }

    /// The file with this number was modified then, in seconds since 1970.
    pub fn set_time(&mut self, number: usize, time: i64) {
        if let Some(row) = self.rows.get_mut(number).filter(|row| row.is_file()) {
            row.mtime = time;
        }
    }

    /// When the file with this number was modified; `None`: that is not said.
    pub fn time(&self, number: usize) -> Option<i64> {
        self.rows.get(number).map(|row| row.mtime).filter(|time| *time != UNSAID)
    }

    /// The times of all files; empty: none is said.
    pub fn times(&self) -> Times {
        let mut times = Times::new();
        for row in self.rows.iter().filter(|row| row.is_file()) {
            let time = Some(row.mtime).filter(|time| *time != UNSAID);
            match times.last_mut() {
                Some((last, files)) if *last == time => *files += 1,
                _ => times.push((time, 1)),
            }
        }
        if times.iter().all(|(time, _)| time.is_none()) { Times::new() } else { times }
    }

    /// Sets the times of files, as far as they are told.
    pub fn set_times(&mut self, times: impl IntoIterator<Item = (Option<i64>, u32)>) {
        let each = times.into_iter().flat_map(|(time, files)| std::iter::repeat_n(time, files as usize));
        let files = self.rows.iter_mut().filter(|row| row.is_file());
        files.zip(each).for_each(|(row, time)| row.mtime = time.unwrap_or(UNSAID));
    }

    /// Puts the entries in order. Gives which number each of them had.
    pub fn sort(&mut self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..u32::try_from(self.rows.len()).unwrap_or(u32::MAX)).collect();
        order.sort_unstable_by_key(|number| self.path(&self.rows[*number as usize]));
        // In place: a second table would take as much again.
        for at in 0..order.len() {
            let mut from = order[at] as usize;
            while from < at {
                from = order[from] as usize;
            }
            self.rows.swap(at, from);
        }
        order
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The entry with this number.
    pub fn entry(&self, number: usize) -> Option<Entry<&str>> {
        self.rows.get(number).map(|row| self.seen(row))
    }

    /// Every entry, in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<&str>> + Clone {
        self.rows.iter().map(|row| self.seen(row))
    }

    fn path(&self, row: &Row) -> &str {
        let at = row.at as usize;
        &self.text[at..at + usize::from(row.path)]
    }

    fn seen(&self, row: &Row) -> Entry<&str> {
        let node = match row.kind {
            RowKind::Dir => Node::Dir,
            RowKind::File | RowKind::Executable => {
                Node::File { sha256: row.sha256, size: row.size, executable: row.kind == RowKind::Executable }
            }
            RowKind::Link => {
                let at = row.at as usize + usize::from(row.path);
                let end = at + usize::try_from(row.size).unwrap_or(0);
                Node::Link { target: &self.text[at..end] }
            }
        };
        Entry { path: self.path(row), node, mode: (row.mode != PLAIN).then_some(row.mode) }
    }

    /// The digest of the whole tree: that of its JSON form.
    pub fn digest(&self) -> Digest {
        let mut hashed = BufWriter::with_capacity(64 << 10, Hasher::new());
        // Writing our own plain data to where nothing can be refused has no failing case.
        let _ = serde_json::to_writer(&mut hashed, self).map_err(io::Error::from).and_then(|()| hashed.flush());
        hashed.into_parts().0.finish()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files().map(|(_, _, size)| size).sum()
    }

    /// Path, digest and size of every file.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Digest, u64)> {
        let files = self.rows.iter().filter(|row| row.is_file());
        files.map(|row| (self.path(row), &row.sha256, row.size))
    }

    /// Digest and size of the entry with this number, if it is a file.
    pub fn file(&self, number: usize) -> Option<(&Digest, u64)> {
        self.rows.get(number).filter(|row| row.is_file()).map(|row| (&row.sha256, row.size))
    }

    /// The number of the entry at a path.
    pub fn find(&self, path: &str) -> Option<usize> {
        self.rows.binary_search_by_key(&path, |row| self.path(row)).ok()
    }

    /// The entry at a path.
    pub fn get(&self, path: &str) -> Option<Entry<&str>> {
        self.find(path).and_then(|number| self.entry(number))
    }
}

impl Row {
    fn is_file(&self) -> bool {
        matches!(self.kind, RowKind::File | RowKind::Executable)
    }
}

impl PartialEq for Manifest {
    fn eq(&self, other: &Manifest) -> bool {
        self.entries().eq(other.entries()) && self.times() == other.times()
    }
}

impl Eq for Manifest {}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn entries_are_written_as_they_always_were() {
        let digest = Digest::of(b"x");
        let all = [
            (Node::Dir, r#"{"path":"a","type":"dir"}"#.to_owned()),
            (
                Node::File { sha256: digest, size: 1, executable: true },
                format!(r#"{{"path":"a","type":"file","sha256":"{digest}","size":1,"executable":true}}"#),
            ),
            (Node::Link { target: "b\"" }, r#"{"path":"a","type":"link","target":"b\""}"#.to_owned()),
        ];
        for (node, text) in &all {
            let entry = Entry::plain("a", *node);
            assert_eq!(serde_json::to_string(&entry).unwrap(), *text);
            let read: Entry<Cow<'_, str>> = serde_json::from_str(text).unwrap();
            assert_eq!((&*read.path, read.node.as_ref()), ("a", *node));
        }
        let manifest = Manifest::of(all.iter().map(|(node, _)| Entry::plain("a", *node))).unwrap();
        let text = format!(r#"{{"entries":[{},{},{}]}}"#, all[0].1, all[1].1, all[2].1);
        assert_eq!(serde_json::to_string(&manifest).unwrap(), text);
        assert_eq!(manifest.digest(), Digest::of(text.as_bytes()));
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
        assert_eq!(serde_json::from_reader::<_, Manifest>(text.as_bytes()).unwrap(), manifest);
        for bad in [
            r#"{"path":"a","type":"file"}"#,
            r#"{"path":"a","type":"dir","target":"b"}"#,
            r#"{"path":"a"}"#,
            r#"{"path":"a","type":"gone"}"#,
        ] {
            assert!(serde_json::from_str::<Entry<Cow<'_, str>>>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modes_and_times_are_written_where_they_are_said() {
        let digest = Digest::of(b"x");
        let file = Node::File { sha256: digest, size: 1, executable: false };
        let key = Entry { mode: file.kept_mode(0o600), ..Entry::plain("b", file) };
        let mut manifest = Manifest::of([Entry::plain("a", file), key, Entry::plain("c", file)]).unwrap();
        let plain = format!(r#""type":"file","sha256":"{digest}","size":1,"executable":false"#);
        let entries = format!(r#"{{"path":"a",{plain}}},{{"path":"b",{plain},"mode":384}},{{"path":"c",{plain}}}"#);
        assert_eq!(serde_json::to_string(&manifest).unwrap(), format!(r#"{{"entries":[{entries}]}}"#));
        manifest.set_time(1, 1_700_000_000);
        manifest.set_time(2, 1_700_000_000);
        let text = format!(r#"{{"entries":[{entries}],"times":[[null,1],[1700000000,2]]}}"#);
        assert_eq!(serde_json::to_string(&manifest).unwrap(), text);
        let read: Manifest = serde_json::from_str(&text).unwrap();
        assert_eq!((&read, read.time(0), read.time(2)), (&manifest, None, Some(1_700_000_000)));
        assert!(serde_json::from_str::<Manifest>(&text.replace("384", "2541")).is_err(), "set-user-id");
    }

    #[test]
    fn what_a_release_keeps_of_a_mode() {
        let file = |executable| Node::<&str>::File { sha256: Digest::of(b""), size: 0, executable };
        let kept = |node: Node<&str>, mode: u32| Entry { mode: node.kept_mode(mode), ..Entry::plain("", node) }.mode();
        for (mode, wanted) in [(0o644, 0o644), (0o666, 0o644), (0o600, 0o600), (0o440, 0o440), (0o000, 0o400)] {
            assert_eq!(kept(file(false), mode), wanted, "{mode:o}");
        }
        for (mode, wanted) in [(0o777, 0o755), (0o4755, 0o755), (0o700, 0o700), (0o010, 0o510)] {
            assert_eq!(kept(file(true), mode), wanted, "{mode:o}");
        }
        for (mode, wanted) in [(0o1777, 0o755), (0o2770, 0o750), (0o555, 0o755), (0o000, 0o700)] {
            assert_eq!(kept(Node::Dir, mode), wanted, "{mode:o}");
        }
    }

    #[test]
    fn entries_are_found_by_path_and_by_contents() {
        let file = |path, text: &str| {
            Entry::plain(path, Node::File { sha256: Digest::of(text.as_bytes()), size: 1, executable: false })
        };
        let link = Entry::plain("b", Node::Link { target: "a/x" });
        let mut manifest =
            Manifest::of([file("a/x", "1"), link, Entry::plain("a", Node::Dir), file("a-x", "1")]).unwrap();
        assert_eq!(manifest.sort(), [2, 3, 0, 1]);
        assert_eq!(manifest.entries().map(|entry| entry.path).collect::<Vec<_>>(), ["a", "a-x", "a/x", "b"]);
        assert_eq!((manifest.get("b"), manifest.find("a/x"), manifest.get("c")), (Some(link), Some(2), None));
        let by_digest = ByDigest::of(&manifest);
        assert_eq!(by_digest.first(&manifest, &Digest::of(b"1")), Some(1));
        assert_eq!(by_digest.first(&manifest, &Digest::of(b"2")), None);
        assert!(manifest.push(Entry::plain(&"x".repeat(1 << 16), Node::Dir)).is_err());
    }
}
