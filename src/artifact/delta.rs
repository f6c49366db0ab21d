//! A manifest on its way to a host that may have most of it: whole, or as the difference from one that it has. It is told
//! line by line, so that neither side holds more of it than one line and the tree that comes out. Pure.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::manifest::{Line, Manifest, Times};
use crate::model::ids::Digest;

/// No line is longer: a path and a target of the greatest length, each byte of them escaped.
pub const LONGEST: usize = 64 << 10;

/// What is about to be told: 9,000 digests are longer than what a small change sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// What must come out.
    pub tree: Digest,
    /// The tree that it is the difference from; `None`: nothing needs to be known.
    pub base: Option<Digest>,
    /// So many lines follow, in the order of their paths, and then the times of the files.
    pub lines: u64,
}

/// Tells a manifest to somebody.
pub struct Telling {
    manifest: Arc<Manifest>,
    base: Option<Arc<Manifest>>,
    listing: Listing,
    /// Told whole each time: a build often differs from the one before in nothing else.
    times: Times,
    /// The next entry of the manifest, and of the base; the next of the times.
    next: (usize, usize),
    timed: usize,
}

impl Telling {
    /// All of it; with the digest of its tree.
    pub fn whole((manifest, tree): (&Arc<Manifest>, Digest)) -> Telling {
        let times = manifest.times();
        let listing = Listing { tree, base: None, lines: (manifest.len() + times.len()) as u64 };
        Telling { manifest: manifest.clone(), base: None, listing, times, next: (0, 0), timed: 0 }
    }

    /// The shorter way to say it to somebody who has `base`; both with their digests.
    pub fn against(new: (&Arc<Manifest>, Digest), (base, known): (&Arc<Manifest>, Digest)) -> Telling {
        let whole = Telling::whole(new);
        let mut telling = Telling { base: Some(base.clone()), ..whole };
        let most = telling.manifest.len() / 2 + telling.times.len();
        let mut lines = 0;
        while telling.line().is_some() {
            lines += 1;
            if lines > most {
                return Telling::whole(new);
            }
        }
        let listing = Listing { base: Some(known), lines: lines as u64, ..telling.listing };
        Telling { listing, next: (0, 0), timed: 0, ..telling }
    }

    /// What is said before the lines.
    pub fn listing(&self) -> Listing {
        self.listing
    }

    /// The next lines, as bytes: so many, and what the last line has more. None: it is told.
    pub fn bytes(&mut self, about: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < about {
            let Some(line) = self.line() else { break };
            // Writing our own plain data into memory has no failing case.
            let _ = serde_json::to_writer(&mut bytes, &line);
            bytes.push(b'\n');
        }
        bytes
    }

    fn line(&mut self) -> Option<Line<&str>> {
        let base = self.base.as_deref();
        let (at, from) = &mut self.next;
        loop {
            let (new, old) = (self.manifest.entry(*at), base.and_then(|base| base.entry(*from)));
            let order = match (new, old) {
                (None, None) => {
                    let (time, files) = *self.times.get(self.timed)?;
                    self.timed += 1;
                    return Some(Line::Times(time, files));
                }
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(new), Some(old)) => new.path.cmp(old.path),
            };
            *at += usize::from(order.is_le());
            *from += usize::from(order.is_ge());
            match order {
                Ordering::Greater => return old.map(|old| Line::Gone(old.path)),
                Ordering::Equal if new == old => {}
                Ordering::Less | Ordering::Equal => return new.map(Line::Is),
            }
        }
    }
}

/// Hears a manifest.
pub struct Hearing<'a> {
    listing: Listing,
    base: Option<&'a Manifest>,
    /// The next entry of the base.
    from: usize,
    heard: u64,
    made: Manifest,
    times: Times,
}

impl<'a> Hearing<'a> {
    /// Of what was announced, where `base` is the tree that it is told against.
    pub fn new(listing: Listing, base: Option<&'a Manifest>) -> Hearing<'a> {
        Hearing { listing, base, from: 0, heard: 0, made: Manifest::default(), times: Times::new() }
    }

    /// Whether more lines follow.
    pub fn wants_more(&self) -> bool {
        self.heard < self.listing.lines
    }

    /// Takes one line. The error says what is wrong with it.
    pub fn take(&mut self, line: &[u8]) -> Result<(), String> {
        self.heard += 1;
        let line: Line<Cow<'_, str>> = Line::read(line)?;
        let path = match &line {
            Line::Is(entry) => &entry.path,
            Line::Gone(path) => path,
            Line::Times(time, files) => {
                self.times.push((*time, *files));
                return Ok(());
            }
        };
        self.keep_until(Some(path))?;
        let old = self.base.and_then(|base| base.entry(self.from)).filter(|old| old.path == path);
        self.from += usize::from(old.is_some());
        match &line {
            Line::Is(entry) => self.made.push(entry.as_ref()).map_err(|error| error.to_string()),
            Line::Gone(_) if old.is_some() => Ok(()),
            Line::Gone(path) => Err(format!("`{path}` cannot go, because it was not there")),
            Line::Times(..) => Ok(()),
        }
    }

    /// What the base has before this path stays; `None`: all that is left of it.
    fn keep_until(&mut self, path: Option<&str>) -> Result<(), String> {
        while let Some(old) = self.base.and_then(|base| base.entry(self.from)) {
            if path.is_some_and(|path| old.path >= path) {
                break;
            }
            self.made.push(old).map_err(|error| error.to_string())?;
            self.from += 1;
        }
        Ok(())
    }

    /// The manifest that was meant. `None`: something else came out.
    pub fn finish(mut self) -> Option<Manifest> {
        self.keep_until(None).ok()?;
        self.made.set_times(self.times);
        (self.made.digest() == self.listing.tree).then_some(self.made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::manifest::{Entry, Node};

    fn tree(files: &[(&'static str, &str)]) -> Arc<Manifest> {
        let node = |text: &str| Node::File { sha256: Digest::of(text.as_bytes()), size: 1, executable: false };
        Manifest::of(files.iter().map(|(path, text)| Entry::plain(*path, node(text)))).unwrap().into()
    }

    fn heard(mut telling: Telling, base: Option<&Manifest>) -> Option<Manifest> {
        let mut hearing = Hearing::new(telling.listing(), base);
        // However it is cut.
        let mut bytes = Vec::new();
        loop {
            let more = telling.bytes(1);
            if more.is_empty() {
                break;
            }
            bytes.extend(more);
        }
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        while hearing.wants_more() {
            hearing.take(lines.next()?).ok()?;
        }
        assert!(lines.next().is_none(), "more was told than was announced");
        hearing.finish()
    }

    #[test]
    fn what_is_told_is_what_was_meant_or_nothing() {
        let base = tree(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1"), ("f", "1"), ("g", "1")]);
        let next = tree(&[("a", "1"), ("aa", "new"), ("b", "2"), ("d", "1"), ("e", "1"), ("f", "1")]);
        let since =
            |next: &Arc<Manifest>, base: &Arc<Manifest>| Telling::against((next, next.digest()), (base, base.digest()));
        let short = tree(&[("a", "1"), ("aa", "new"), ("b", "2"), ("d", "1"), ("e", "1"), ("f", "1"), ("g", "1")]);
        let listing = since(&short, &base).listing();
        assert_eq!((listing.lines, listing.base), (3, Some(base.digest())));
        assert_eq!(heard(since(&short, &base), Some(&base)).as_ref(), Some(&*short));
        // More than half of it is different: nothing needs to be known.
        assert_eq!(since(&next, &base).listing().base, None);
        assert_eq!(heard(since(&next, &base), None).as_ref(), Some(&*next));
        // Against anything else it is not what was meant, and that is noticed.
        let drifted = tree(&[("a", "x"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1"), ("f", "1"), ("g", "1")]);
        assert_eq!(heard(since(&short, &base), Some(&drifted)), None);
        assert_eq!(heard(since(&short, &base), Some(&tree(&[("a", "1")]))), None);
        assert_eq!(heard(since(&short, &base), None), None);
        assert_eq!(since(&base, &base).listing().lines, 0);
        assert_eq!(heard(since(&base, &base), Some(&base)).as_ref(), Some(&*base));
        assert_eq!(heard(Telling::whole((&base, base.digest())), None).as_ref(), Some(&*base));
        // The same files, built a minute later.
        let mut later = Manifest::clone(&base);
        later.set_times([(Some(1_700_000_060), 7)]);
        let later = Arc::new(later);
        assert_eq!(since(&later, &base).listing().lines, 1);
        assert_eq!(heard(since(&later, &base), Some(&base)).as_ref(), Some(&*later));
        assert_eq!(heard(since(&base, &later), Some(&later)).as_ref(), Some(&*base));
    }
}
