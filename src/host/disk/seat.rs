//! Which directory a root is, whatever path leads there: told so that two names of one place are the same word. It holds for
//! as long as the machine runs, and says nothing to who did not see both.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::model::ids::Digest;

/// Made anew at each start. Machines that were copied from one image have the same machine id, and not this one.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
const APPLICATION: &[u8] = b"soll: which directory a root is, 1";

/// The directory, links followed; of one that is not there yet the nearest that is, and the way from there.
pub fn of(root: &Path) -> Option<Digest> {
    let boot = fs::read(BOOT).ok()?;
    let (mut at, mut missing) = (root, Vec::new());
    let meta = loop {
        match fs::metadata(at) {
            Ok(meta) => break meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing.push(at.file_name()?);
                at = at.parent()?;
            }
            Err(_) => return None,
        }
    };
    let mut hash = Sha256::new();
    hash.update(APPLICATION);
    hash.update(boot);
    hash.update(meta.dev().to_be_bytes());
    hash.update(meta.ino().to_be_bytes());
    for name in missing.iter().rev() {
        hash.update(b"/");
        hash.update(name.as_bytes());
    }
    Some(Digest::from_bytes(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_place_are_one_word_before_and_after_it_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| of(&dir.path().join(name)).unwrap();
        fs::create_dir(dir.path().join("srv")).unwrap();
        std::os::unix::fs::symlink("srv", dir.path().join("www")).unwrap();
        assert_eq!(at("srv/api"), at("www/api"));
        assert_ne!(at("srv/api"), at("srv/web"));
        assert_ne!(at("srv/api"), at("api"));
        let before = at("srv/api");
        fs::create_dir(dir.path().join("srv/api")).unwrap();
        assert_eq!(at("srv/api"), at("www/api"));
        assert_ne!(at("srv/api"), before);
        std::os::unix::fs::symlink("srv/api", dir.path().join("api")).unwrap();
        assert_eq!(at("srv/api"), at("api"));
    }
}
