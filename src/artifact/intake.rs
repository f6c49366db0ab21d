//! Members of an archive on their way into a tree and a pack, in the order of the archive. Hashing is what takes the time:
//! small contents are gathered for it and hashed side by side.

use std::io::Read;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::model::ids::Digest;

use super::apple_double::{self, LeftOut};
use super::decode::grows;
use super::files::FileError;
use super::manifest::{Entry, Node};
use super::pack::{CHUNK, PackError, PackWriter};
use super::tarball::{Cause, Fault, Member, MemberKind, Members};
use super::tree::{Reason, Tree, canonical, shown};
use super::unpack::Limits;

/// So many bytes are gathered, or so many members.
const BATCH: usize = 1 << 20;
const MEMBERS: usize = 1024;
/// More threads than this only wait for whoever decodes.
const THREADS: usize = 4;

/// What was taken so far.
pub(super) struct Intake<'a> {
    tree: Tree,
    pack: &'a mut PackWriter,
    limits: &'a Limits,
    /// Bytes of all files.
    total: u64,
    /// Those of them that nothing in the archive stands for.
    holes: u64,
    waiting: Vec<Waiting>,
    /// Bytes of those that wait.
    gathered: usize,
    left_out: LeftOut,
}

/// A member that is still to be entered.
struct Waiting {
    name: Vec<u8>,
    path: String,
    /// As the archive has it.
    mode: u32,
    time: Option<i64>,
    what: What,
}

enum What {
    Node(Node),
    File { contents: Vec<u8>, executable: bool, sha256: OnceLock<Digest> },
}

/// Why nothing more is taken.
pub(super) enum Stop {
    Archive(Fault),
    File(FileError),
}

impl Stop {
    fn at(name: &[u8], cause: Cause) -> Stop {
        Stop::Archive(Fault { entry: Some(name.to_owned()), cause })
    }

    fn refused(name: &[u8], reason: Reason) -> Stop {
        Stop::at(name, Cause::Refused(reason))
    }
}

impl<'a> Intake<'a> {
    /// Nothing yet.
    pub(super) fn new(pack: &'a mut PackWriter, limits: &'a Limits) -> Self {
        Intake {
            tree: Tree::new(limits.entries),
            pack,
            limits,
            total: 0,
            holes: 0,
            waiting: Vec::new(),
            gathered: 0,
            left_out: LeftOut::default(),
        }
    }

    /// The next member of `members`, taken; `false`: there is none. What is wrong is said of the first that has a fault.
    pub(super) fn next<R: Read>(&mut self, members: &mut Members<R>) -> Result<bool, Stop> {
        let gathered = match members.next() {
            Ok(None) => return Ok(false),
            Ok(Some(member)) => self.gather(member, members),
            Err(fault) => Err(Stop::Archive(fault)),
        };
        if gathered.is_err() || self.gathered >= BATCH || self.waiting.len() >= MEMBERS {
            self.enter()?;
        }
        gathered.map(|()| true)
    }

    fn gather<R: Read>(&mut self, member: Member, members: &mut Members<R>) -> Result<(), Stop> {
        let Member { name, kind, size, holes, mode, time } = member;
        let executable = mode & 0o111 != 0;
        let refused = |text: String| Stop::refused(&name, Reason::Packing(text));
        let path = match (canonical(&name).map_err(|reason| Stop::refused(&name, reason))?, &kind) {
            (Some(path), MemberKind::Dir) => path,
            (None, MemberKind::Dir) => return Ok(()),
            (None, _) => return Err(refused("it takes the place of the release itself".to_owned())),
            (Some(_), _) if name.ends_with(b"/") => {
                return Err(refused("it is no directory, and yet its name ends in `/`".to_owned()));
            }
            (Some(path), _) => path,
        };
        let what = match kind {
            MemberKind::Dir => What::Node(Node::Dir),
            MemberKind::Link(target) => {
                let target = String::from_utf8(target).map_err(|_| refused("its target is not UTF-8".to_owned()))?;
                What::Node(Node::Link { target })
            }
            MemberKind::File if size <= CHUNK as u64 => {
                self.charge(&name, size, holes)?;
                let mut contents = vec![0; size as usize];
                members.read_exact(&mut contents).map_err(|error| Stop::at(&name, error.into()))?;
                if apple_double::is_one(&path, &contents) {
                    self.left_out.add(&path);
                    return Ok(());
                }
                What::File { contents, executable, sha256: OnceLock::new() }
            }
            MemberKind::File => {
                self.charge(&name, size, holes)?;
                let mut start = [0; apple_double::MAGIC.len()];
                members.read_exact(&mut start).map_err(|error| Stop::at(&name, error.into()))?;
                if apple_double::is_one(&path, &start) {
                    self.left_out.add(&path);
                    return Ok(());
                }
                let sha256 =
                    self.pack.add(&mut start.as_slice().chain(&mut *members), size).map_err(|error| match error {
                        PackError::Source(error) => Stop::at(&name, error.into()),
                        PackError::File(error) => Stop::File(error),
                    })?;
                What::Node(Node::File { sha256, size, executable })
            }
            MemberKind::Hard(target) => {
                // The file that the hard link names may still wait to be entered.
                self.enter()?;
                let spelt = shown(&String::from_utf8_lossy(&target));
                let known =
                    canonical(&target).ok().flatten().and_then(|target| self.tree.get(&target).map(Node::owned));
                match known {
                    Some(Node::File { sha256, size, executable }) => {
                        self.charge(&name, size, 0)?;
                        What::Node(Node::File { sha256, size, executable })
                    }
                    // Two names of one link: it says the same from wherever it is.
                    Some(Node::Link { target }) => What::Node(Node::Link { target }),
                    Some(Node::Dir) | None => {
                        return Err(refused(format!(
                            "it is a hard link to `{spelt}`, which is not a file that came before it in this archive"
                        )));
                    }
                }
            }
        };
        if let What::File { contents, .. } = &what {
            self.gathered += contents.len();
        }
        self.waiting.push(Waiting { name, path, mode, time, what });
        Ok(())
    }

    /// All of it, with nothing left to enter, and what people should know of it.
    pub(super) fn finish(mut self) -> Result<(Tree, Vec<String>), Stop> {
        self.enter()?;
        Ok((self.tree, self.left_out.told().into_iter().collect()))
    }

    fn charge(&mut self, name: &[u8], size: u64, holes: u64) -> Result<(), Stop> {
        let Limits { file_bytes, total_bytes, .. } = self.limits;
        self.total += size;
        self.holes += holes;
        let too_much = |text: String| Err(Stop::refused(name, Reason::Contents(text)));
        if size > *file_bytes {
            return too_much(format!("it has {size} bytes; {file_bytes} are the limit for one file: leave it out"));
        }
        // A hole of gigabytes takes a few bytes of an archive: the same bomb as any other.
        if self.holes > self.limits.ratio_after && self.holes / self.limits.ratio > self.total - self.holes {
            return Err(Stop::refused(name, grows(self.limits)));
        }
        if self.total > *total_bytes {
            return too_much(format!(
                "with it the release has more than {total_bytes} bytes; leave out what the application does not need to run"
            ));
        }
        Ok(())
    }

    /// Enters those that wait.
    fn enter(&mut self) -> Result<(), Stop> {
        let waiting = std::mem::take(&mut self.waiting);
        self.gathered = 0;
        hash(&waiting);
        for Waiting { name, path, mode, time, what } in waiting {
            let node = match what {
                What::Node(node) => node,
                What::File { contents, executable, sha256 } => {
                    let sha256 = *sha256.get_or_init(|| Digest::of(&contents));
                    self.pack.keep(sha256, &contents).map_err(Stop::File)?;
                    Node::File { sha256, size: contents.len() as u64, executable }
                }
            };
            let entry = Entry { path: path.as_str(), node: node.as_ref(), mode: node.kept_mode(mode) };
            self.tree.add(entry, time).map_err(|reason| Stop::refused(&name, reason))?;
        }
        Ok(())
    }
}

/// Hashes the contents of all that wait. Where no thread can be had, fewer do it.
fn hash(waiting: &[Waiting]) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(one) = waiting.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let What::File { contents, sha256, .. } = &one.what {
                sha256.get_or_init(|| Digest::of(contents));
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS).min(waiting.len());
    thread::scope(|scope| {
        for _ in 1..threads {
            let _ = thread::Builder::new().name("hasher".to_owned()).spawn_scoped(scope, work);
        }
        work();
    });
}
