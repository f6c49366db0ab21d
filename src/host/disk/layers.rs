//! Whether a directory of an overlay file system can be renamed: not where it lies in a lower layer, unless the overlay was
//! mounted with `redirect_dir=on`. Asks the kernel in a way that changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// `OVERLAYFS_SUPER_MAGIC`.
const OVERLAY: u64 = 0x794c_7630;

/// Whether the kernel would refuse to rename this directory, which lies in `root`. Where that cannot be asked it is not
/// known, and a rename says it.
pub fn is_stuck(dir: &Path, root: &Path) -> bool {
    // The type of this number differs from one processor to the next.
    let is_overlay = |stat: rustix::fs::StatFs| u64::try_from(stat.f_type).is_ok_and(|kind| kind == OVERLAY);
    if !rustix::fs::statfs(dir).is_ok_and(is_overlay) {
        return false;
    }
    // A rename over a directory that is not empty never happens. Whether the directory could be renamed at all is looked at
    // first: the error tells which of both it was.
    let others = [root.join(".git"), PathBuf::from("/usr"), PathBuf::from("/etc")];
    let apart = |other: &&PathBuf| !dir.starts_with(other) && !other.starts_with(dir);
    let full = |other: &&PathBuf| fs::read_dir(other).is_ok_and(|mut entries| entries.next().is_some());
    let said = |other: &PathBuf| match rustix::fs::rename(dir, other) {
        Err(Errno::XDEV) if same_mount(dir, other) => Some(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Some(false),
        _ => None,
    };
    others.iter().filter(apart).filter(full).find_map(said).unwrap_or(false)
}

/// Between two mounts nothing can be renamed, whatever layer it lies in.
fn same_mount(one: &Path, other: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    let mount = |path: &Path| {
        let stat = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
        (stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(stat.stx_mnt_id)
    };
    mount(one).is_some_and(|mount_id| mount(other) == Some(mount_id))
}
