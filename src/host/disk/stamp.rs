//! How one file looks without being read. Nobody changes a file, or puts another in its place, without changing its inode
//! or its `ctime`, which no user can set.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

/// Where a file system counts whole seconds (or pairs of them).
pub const COARSE: i64 = 2_500_000_000;

/// One file as it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub inode: u64,
    /// Nanoseconds since 1970, both.
    pub modified: i64,
    pub changed: i64,
}

impl Stamp {
    /// Of what was looked at, the link itself where it is one.
    pub fn of(meta: &Metadata) -> Stamp {
        Stamp {
            inode: meta.ino(),
            modified: moment(meta.mtime(), meta.mtime_nsec()),
            changed: moment(meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// The same, as the directory says it.
    pub fn seen(stat: &Stat) -> Stamp {
        Stamp {
            inode: stat.st_ino,
            modified: moment(stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: moment(stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }

    /// Whether it could have been changed after this moment ([`tick`]) and look the same.
    pub fn is_racy(&self, taken: i64) -> bool {
        let slack = if self.changed % 1_000_000_000 == 0 { COARSE } else { 0 };
        self.changed >= taken.saturating_sub(slack)
    }
}

fn moment(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// The clock that the kernel stamps files by, in nanoseconds since 1970. It stands still for some milliseconds: what changes
/// within one of its ticks has the same stamp, and what changes after this moment has this one or a later one.
pub fn tick() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    moment(now.tv_sec, now.tv_nsec as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_in_the_tick_of_the_look_or_later_is_racy() {
        let stamp = |changed| Stamp { inode: 1, modified: 0, changed };
        let now = 5_000_000_123;
        assert_eq!([now - 1, now, now + 1].map(|changed| stamp(changed).is_racy(now)), [false, true, true]);
        // Whole seconds may be rounded ones.
        let whole = 2_000_000_000;
        assert_eq!([whole + COARSE, whole + COARSE + 1].map(|now| stamp(whole).is_racy(now)), [true, false]);
    }
}
