//! Files whose contents Git LFS keeps elsewhere: what a commit has in their place is a pointer of a few lines, which no
//! application can use.

use std::io::{self, Read};

use super::pack::Unpacked;
use super::store::ArtifactError;

/// The first bytes of every pointer, by the specification of Git LFS.
const BEGIN: &[u8] = b"version https://git-lfs.github.com/spec/";
/// A pointer is smaller than this, by the same specification.
const MOST: u64 = 1024;
/// So many files are named.
const NAMED: usize = 5;

/// Pointers are no contents: a commit that has any is not taken. `place`: where it is from, for people.
///
/// # Errors
/// It has some: which, and what to do. The contents of a file could not be read.
pub fn refuse(unpacked: &Unpacked, place: &str) -> Result<(), ArtifactError> {
    let found = pointers(unpacked).map_err(|error| ArtifactError::Origin(format!("{place}: {error}")))?;
    if found.is_empty() {
        return Ok(());
    }
    let more = found.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = found.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(ArtifactError::Origin(format!(
        "{place} has files whose contents Git LFS keeps elsewhere, so that a release of it would have pointers in their place: \
         {names}{more}; have a build pack them into a bundle, keep them out of the archive (`export-ignore` in .gitattributes), \
         or put them into the repository itself"
    )))
}

/// The paths of pointers, in order.
fn pointers(unpacked: &Unpacked) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for (number, entry) in unpacked.manifest.entries().enumerate() {
        let Some((_, size)) = unpacked.manifest.file(number) else { continue };
        if size < BEGIN.len() as u64 || size >= MOST {
            continue;
        }
        let mut begin = [0; BEGIN.len()];
        unpacked.reader(number)?.read_exact(&mut begin)?;
        if begin == BEGIN {
            found.push(entry.path.to_string());
        }
    }
    Ok(found)
}
