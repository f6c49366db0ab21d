//! What the files of a release looked like when their contents were last read: who looks again reads only what looks
//! different now. A cache: without it everything is read.

use std::fs::{self, Metadata};

use crate::artifact::manifest::{ByPath, Manifest};
use crate::host::disk::beneath::{Dir, Parent};
use crate::host::disk::root::Root;
use crate::host::disk::stamp::{Stamp, tick};
use crate::model::ids::{Digest, ReleaseName};

/// What a file of stamps begins with.
const MAGIC: &[u8; 8] = b"soll st1";
const RECORD: usize = 24;
/// Stands for contents that nobody read.
const UNREAD: &[u8] = b"soll: not read";
/// Of a file that has to be read whatever it looks like: always too young to be believed.
const UNKNOWN: Stamp = Stamp { inode: 0, modified: 0, changed: i64::MAX };

/// What the files of a tree looked like before they were read, or after they were written, in the order of its manifest.
pub struct Looks {
    /// Before the first of them was looked at.
    pub taken: i64,
    pub files: Vec<Stamp>,
}

impl Looks {
    /// Looks at every file of a tree that nobody else writes to now.
    pub fn take(dir: &Dir, manifest: &Manifest) -> Option<Looks> {
        let taken = tick();
        let mut place = Parent::new(dir);
        let files = manifest.files().map(|(path, ..)| {
            let (dir, name) = place.of(path).ok()?;
            Some(Stamp::seen(&dir.stat(name).ok()??))
        });
        Some(Looks { taken, files: files.collect::<Option<_>>()? })
    }
}

/// The files of one tree, in the order of its manifest.
pub struct Stamps {
    tree: Digest,
    /// Contents that were not made durable survive no power cut: these hold during this boot only.
    boot: Option<String>,
    looks: Looks,
}

impl Stamps {
    /// Of a tree that is on the disk for good.
    pub fn durable(looks: Looks, tree: Digest) -> Stamps {
        Stamps { tree, boot: None, looks }
    }

    /// Of one that was just written. `None`: nobody can say when this machine was started.
    pub fn fresh(looks: Looks, tree: Digest) -> Option<Stamps> {
        Some(Stamps { tree, boot: Some(boot()?), looks })
    }

    /// Keeps them; what cannot be kept is read again next time.
    pub fn save(&self, root: &Root, name: &ReleaseName) {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.tree.as_bytes());
        bytes.extend(self.looks.taken.to_be_bytes());
        let boot = self.boot.as_deref().unwrap_or_default().as_bytes();
        bytes.extend((boot.len() as u64).to_be_bytes());
        bytes.extend(boot);
        for Stamp { inode, modified, changed } in &self.looks.files {
            bytes.extend(inode.to_be_bytes());
            bytes.extend(modified.to_be_bytes());
            bytes.extend(changed.to_be_bytes());
        }
        let _ = root.write(&file_name(name), &bytes);
    }
}

/// Files whose contents need not be read: where they look as they did, or where they cannot be what is wanted.
#[derive(Default)]
pub struct Known<'a> {
    taken: i64,
    boot: Option<String>,
    release: Option<(&'a Manifest, ByPath)>,
    /// What each entry of the release looked like; empty: nothing is known of any.
    stamps: Vec<Stamp>,
    /// What is found is compared with the release.
    compared: bool,
}

impl<'a> Known<'a> {
    /// What is known of a release with this manifest and its digest; nothing where that cannot be trusted.
    pub fn load(root: &Root, name: &ReleaseName, (manifest, tree): (&'a Manifest, Digest)) -> Known<'a> {
        let bytes = root.read_own(&file_name(name)).ok().flatten().unwrap_or_default();
        parse(&bytes, manifest, tree).unwrap_or_default()
    }

    /// What has another size than in this release, or should not be there, is not read either: what was put into a release
    /// can be of any length, and differs already. Where looks are known, they are those of this release.
    #[must_use]
    pub fn and_wanted(self, manifest: &'a Manifest) -> Known<'a> {
        let release = self.release.unwrap_or_else(|| (manifest, ByPath::of(manifest)));
        Known { release: Some(release), compared: true, ..self }
    }

    /// The stamps of a release (its manifest, and the digest of that) after it was compared: `found` is what it holds now,
    /// and `looks` what that looked like before it was read. `None`: nothing is to be known otherwise than before.
    pub fn renewed(&self, (manifest, tree): (&Manifest, Digest), found: &Manifest, looks: &Looks) -> Option<Stamps> {
        // Both are in the order of their paths.
        let mut seen = found.files().zip(&looks.files).peekable();
        let (mut read, mut lost) = (false, false);
        let files = (0..manifest.len()).filter_map(|number| {
            let entry = manifest.entry(number)?;
            let (digest, size) = manifest.file(number)?;
            while seen.next_if(|((other, ..), _)| *other < entry.path).is_some() {}
            let same =
                seen.peek().filter(|((other, is, length), _)| *other == entry.path && *is == digest && *length == size);
            let good = same.map(|(_, stamp)| **stamp);
            let before = self.stamps.get(number).copied().filter(|stamp| !stamp.is_racy(self.taken));
            read |= good.is_some() && good != before;
            lost |= good.is_none() && before.is_some();
            Some(good.unwrap_or(UNKNOWN))
        });
        let looks = Looks { taken: looks.taken, files: files.collect() };
        // Whoever wrote what was read now need not have made it durable.
        let boot = if read { Some(boot()?) } else { self.boot.clone() };
        (read || lost).then_some(Stamps { tree, boot, looks })
    }

    /// Digest and size of a file, where it looks as it did when it was read; the size alone, with a digest that is no
    /// file's, where that tells enough.
    pub fn contents(&self, path: &str, meta: &Metadata) -> Option<(Digest, u64)> {
        let (manifest, by_path) = self.release.as_ref()?;
        let number = by_path.find(manifest, path);
        let known = number.and_then(|number| manifest.file(number));
        if self.compared && known.map(|(_, size)| size) != Some(meta.len()) {
            return Some((Digest::of(UNREAD), meta.len()));
        }
        let (digest, size) = known?;
        let stamp = self.stamps.get(number?)?;
        let same = meta.len() == size && Stamp::of(meta) == *stamp && !stamp.is_racy(self.taken);
        same.then_some((*digest, size))
    }
}

fn parse<'a>(bytes: &[u8], manifest: &'a Manifest, of: Digest) -> Option<Known<'a>> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (tree, rest) = rest.split_first_chunk::<32>()?;
    let (taken, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (boot_then, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
    let holds = boot_then.is_empty() || boot().is_some_and(|now| now.as_bytes() == boot_then);
    if tree != of.as_bytes() || !holds || rest.len() != manifest.files().count() * RECORD {
        return None;
    }
    let (stamps, _) = rest.as_chunks::<RECORD>();
    let number = |part: &[u8]| part.try_into().map(i64::from_be_bytes).ok();
    let mut files = stamps.iter().map(|stamp| {
        let inode = number(&stamp[..8])?.cast_unsigned();
        Some(Stamp { inode, modified: number(&stamp[8..16])?, changed: number(&stamp[16..])? })
    });
    let each = |number| if manifest.file(number).is_some() { files.next()? } else { Some(UNKNOWN) };
    let stamps = (0..manifest.len()).map(each).collect::<Option<_>>()?;
    let boot = (!boot_then.is_empty()).then(|| String::from_utf8_lossy(boot_then).into_owned());
    let release = Some((manifest, ByPath::of(manifest)));
    Some(Known { taken: i64::from_be_bytes(*taken), boot, release, stamps, compared: false })
}

/// Where the stamps of a release are kept, below `.soll/`.
pub fn file_name(name: &ReleaseName) -> String {
    format!("manifests/{name}.stamps")
}

fn boot() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::manifest::{Entry, Node};
    use crate::host::disk::stamp::COARSE;

    #[test]
    fn what_was_read_is_believed_from_then_on_and_what_differs_never() {
        let file = |path, text: &str| {
            let sha256 = Digest::of(text.as_bytes());
            Entry::plain(path, Node::<&str>::File { sha256, size: 1, executable: false })
        };
        let of =
            |files: &[(&'static str, &str)]| Manifest::of(files.iter().map(|(path, text)| file(*path, text))).unwrap();
        let manifest = of(&["a", "b", "c", "d"].map(|path| (path, path)));
        let tree = manifest.digest();
        let stamp = |changed| Stamp { inode: 1, modified: 1, changed };
        let known = |taken, stamps: &[Stamp]| Known {
            taken,
            release: Some((&manifest, ByPath::of(&manifest))),
            stamps: stamps.to_vec(),
            ..Known::default()
        };
        let first = known(50, &[stamp(10); 4]);
        // `a` as it was; `b` touched; `c` looks the same and is something else: a disk made that of it; `d` is gone.
        let found = of(&[("a", "a"), ("b", "b"), ("c", "x")]);
        let looks = Looks { taken: 90, files: vec![stamp(10), stamp(60), stamp(10)] };
        let renewed = first.renewed((&manifest, tree), &found, &looks).unwrap();
        assert_eq!(renewed.looks.files, [stamp(10), stamp(60), UNKNOWN, UNKNOWN]);
        assert!(renewed.looks.taken == 90 && renewed.boot.is_some(), "what was read need not be durable");
        assert!(UNKNOWN.is_racy(i64::MAX));
        // The same found again says nothing new.
        let again = known(90, &renewed.looks.files);
        assert!(again.renewed((&manifest, tree), &found, &looks).is_none());
        // What is only not believed any more leaves the rest as durable as it was.
        let found = of(&[("a", "x"), ("b", "b")]);
        let looks = Looks { taken: 95, files: vec![stamp(10), stamp(60)] };
        let renewed = again.renewed((&manifest, tree), &found, &looks).unwrap();
        assert_eq!((renewed.looks.files, renewed.boot), (vec![UNKNOWN, stamp(60), UNKNOWN, UNKNOWN], None));
    }

    #[test]
    fn only_what_looks_the_same_and_is_old_enough_is_believed() {
        let temp = tempfile::tempdir().unwrap();
        let root = Root::at(temp.path().to_str().unwrap()).unwrap();
        root.prepare().unwrap();
        let name: ReleaseName = "r1".parse().unwrap();
        let node = |text: &str| Node::<&str>::File { sha256: Digest::of(text.as_bytes()), size: 1, executable: false };
        let manifest = Manifest::of(["a", "b"].map(|path| Entry::plain(path, node(path)))).unwrap();
        for path in ["a", "b"] {
            fs::write(temp.path().join(path), path).unwrap();
        }
        let meta = |path: &str| fs::symlink_metadata(temp.path().join(path)).unwrap();
        let looks = Looks::take(&Dir::open(temp.path()).unwrap(), &manifest).unwrap();
        let mut stamps = Stamps::fresh(looks, manifest.digest()).unwrap();
        let known = |stamps: &Stamps| {
            stamps.save(&root, &name);
            let known = Known::load(&root, &name, (&manifest, manifest.digest()));
            ["a", "b"].map(|path| known.contents(path, &meta(path)).is_some())
        };
        // Written within the tick in which they were looked at: a change after that would look the same.
        let [first, last] = [stamps.looks.files[0].changed, stamps.looks.files[1].changed];
        stamps.looks.taken = first.min(last);
        assert_eq!(known(&stamps), [false, false]);
        // Where a file system counts whole seconds, a tick later is not late enough.
        stamps.looks.taken = first.max(last) + 2 * COARSE;
        assert_eq!(known(&stamps), [true, true]);
        // Same size, same `mtime`: the inode or `ctime` tells.
        let before = meta("a").modified().unwrap();
        while Stamp::of(&meta("a")).changed == first {
            fs::write(temp.path().join("a"), "x").unwrap();
            fs::File::options().write(true).open(temp.path().join("a")).unwrap().set_modified(before).unwrap();
        }
        assert_eq!(known(&stamps), [false, true]);
        // Of another boot, of another tree, cut short.
        stamps.boot = Some("another".to_owned());
        assert_eq!(known(&stamps), [false, false]);
        stamps.boot = None;
        assert_eq!(known(&stamps), [false, true]);
        stamps.tree = Digest::of(b"other");
        assert_eq!(known(&stamps), [false, false]);
        stamps.tree = manifest.digest();
        stamps.looks.files.pop();
        assert_eq!(known(&stamps), [false, false]);
    }
}
