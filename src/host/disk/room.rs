//! What is free on a file system for the user of the agent, in bytes and in inodes, and whether it is enough. Whatever the
//! file system has: a user with a quota has what that leaves.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::host::disk::beneath::at;
use crate::host::wire::HostError;

/// What something takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    pub bytes: u64,
    pub inodes: u64,
}

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    pub bytes: u64,
    /// `None`: the file system counts none.
    pub inodes: Option<u64>,
    /// A file takes whole blocks of so many bytes.
    pub block: u64,
    /// It is the user's quota that leaves no more.
    pub quota: bool,
}

impl Need {
    /// One more file with so many bytes.
    pub fn file(&mut self, bytes: u64, block: u64) {
        self.bytes = self.bytes.saturating_add(bytes.div_ceil(block.max(1)).saturating_mul(block.max(1)));
        self.inodes = self.inodes.saturating_add(1);
    }
}

impl Free {
    /// Whether it is enough.
    pub fn fits(&self, need: Need) -> bool {
        need.bytes <= self.bytes && self.inodes.is_none_or(|inodes| need.inodes <= inodes)
    }

    /// Why a release does not fit below this directory, in words for people.
    pub fn lacks(&self, need: Need, dir: &Path) -> String {
        let whose = if self.quota { "the quota of this user on" } else { "" };
        let (of, next) = match self.quota {
            true => (format!("{whose} the file system of {}", dir.display()), "raise the quota, or make room"),
            false => (format!("the file system of {}", dir.display()), "make room"),
        };
        let missing = match self.inodes {
            Some(inodes) if need.inodes > inodes => {
                format!("{} inodes (files and directories) are needed, {inodes} are free", need.inodes)
            }
            _ => format!("{} bytes are needed, {} are free", need.bytes, self.bytes),
        };
        format!(
            "there is no room for the release on {of}: {missing}; {next} (or lower `keep_releases`: what goes by it goes \
             before a release is staged, where there is no room), then run again"
        )
    }
}

/// What is free where this directory is.
pub fn free(dir: &Path) -> Result<Free, HostError> {
    let failed = at("ask for the free space of", dir);
    let stat = rustix::fs::statvfs(dir).map_err(failed)?;
    let mut free = Free {
        bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        inodes: (stat.f_files > 0).then_some(stat.f_favail),
        block: stat.f_frsize.max(1),
        quota: false,
    };
    if let Some(left) = File::open(dir).ok().and_then(|dir| quota(dir.as_fd())) {
        free.quota = left.bytes < free.bytes || free.inodes.is_none_or(|inodes| left.inodes < inodes);
        free.bytes = free.bytes.min(left.bytes);
        free.inodes = Some(free.inodes.unwrap_or(u64::MAX).min(left.inodes)).filter(|inodes| *inodes < u64::MAX);
    }
    Ok(free)
}

/// Whether a file with so many bytes has no room there, as far as can be said.
pub fn is_full(dir: &Path, bytes: u64) -> bool {
    let mut need = Need::default();
    free(dir).is_ok_and(|free| {
        need.file(bytes, free.block);
        !free.fits(need)
    })
}

/// Whether copies share their blocks in this directory; `None`: it could not be tried. Two files are made for that, which
/// have no name.
pub fn reflink(dir: &Path) -> Option<bool> {
    let open = || rustix::fs::open(dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR).ok();
    let (from, to) = (open()?, open()?);
    rustix::io::write(&from, &[1; 4096]).ok()?;
    Some(rustix::fs::ioctl_ficlone(&to, &from).is_ok())
}

/// Whether this error says that there is no room.
pub fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What the quota of this user leaves; `None`: there is none, it binds nobody like this user, or the kernel does not say.
fn quota(dir: BorrowedFd<'_>) -> Option<Need> {
    /// `QCMD(Q_GETQUOTA, USRQUOTA)`.
    const USER: libc::c_int = 0x0080_0007 << 8;
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return None;
    }
    let mut said = MaybeUninit::<libc::dqblk>::zeroed();
    // SAFETY: the descriptor is open, and the kernel writes at most one `dqblk` to where one is.
    let done = unsafe { libc::syscall(libc::SYS_quotactl_fd, dir.as_raw_fd(), USER, uid.as_raw(), said.as_mut_ptr()) };
    if done != 0 {
        return None;
    }
    // SAFETY: it was zeroed, which is a valid value, before the kernel wrote to it.
    Some(left(&unsafe { said.assume_init() }, now()))
}

fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    u64::try_from(now.tv_sec).unwrap_or(0)
}

/// What is left of a quota at this time. A soft limit is one when its time of grace is over.
fn left(quota: &libc::dqblk, now: u64) -> Need {
    let limit = |hard: u64, soft: u64, grace: u64| match (hard, soft) {
        (_, soft) if soft > 0 && grace > 0 && grace <= now => soft,
        (0, _) => u64::MAX,
        (hard, _) => hard,
    };
    let bytes = limit(quota.dqb_bhardlimit, quota.dqb_bsoftlimit, quota.dqb_btime).saturating_mul(1024);
    let inodes = limit(quota.dqb_ihardlimit, quota.dqb_isoftlimit, quota.dqb_itime);
    Need { bytes: bytes.saturating_sub(quota.dqb_curspace), inodes: inodes.saturating_sub(quota.dqb_curinodes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_leaves_what_its_limits_leave() {
        // SAFETY: every bit pattern is one.
        let mut quota: libc::dqblk = unsafe { MaybeUninit::zeroed().assume_init() };
        (quota.dqb_curspace, quota.dqb_curinodes) = (10 << 10, 7);
        assert!(left(&quota, 100).bytes > 1 << 60, "no limit");
        (quota.dqb_bhardlimit, quota.dqb_bsoftlimit, quota.dqb_ihardlimit) = (30, 15, 10);
        assert_eq!(left(&quota, 100), Need { bytes: 20 << 10, inodes: 3 });
        quota.dqb_btime = 101;
        assert_eq!(left(&quota, 100).bytes, 20 << 10);
        quota.dqb_btime = 100;
        assert_eq!(left(&quota, 100).bytes, 5 << 10);
        quota.dqb_curspace = 99 << 10;
        assert_eq!(left(&quota, 100).bytes, 0);
    }

    #[test]
    fn a_file_takes_whole_blocks_and_one_inode() {
        let mut need = Need::default();
        for bytes in [0, 1, 4096, 4097] {
            need.file(bytes, 4096);
        }
        assert_eq!(need, Need { bytes: 4 * 4096, inodes: 4 });
        let free = Free { bytes: 4 * 4096, inodes: Some(4), block: 4096, quota: false };
        assert!(free.fits(need) && !Free { inodes: Some(3), ..free }.fits(need));
        assert!(Free { inodes: None, ..free }.fits(need) && !Free { bytes: 4 * 4096 - 1, ..free }.fits(need));
    }
}
