//! The parties that are not trusted: another user of a host, a host that answers, a machine that took another one's name.
//! Each test plays the exploit; the control beside it shows that the same words do work where they may.

mod ownership;
mod peer;
mod provision;
mod words;

use std::os::unix::fs::chown;
use std::path::Path;

use crate::support::world::Ran;

/// Debian's `www-data`, the user of an application.
pub const APPLICATION: u32 = 33;

/// Gives a path, not what it leads to, to the application's user.
pub fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(APPLICATION), Some(APPLICATION)).unwrap();
}

/// Gives a path back to the user of these tests.
pub fn take(path: &Path) {
    chown(path, Some(rustix::process::geteuid().as_raw()), None).unwrap();
}

/// Runs what `doctor` prints as the fix of its `ownership` findings, word for word. Gives how many there were.
#[track_caller]
pub fn mend(doctor: &Ran) -> usize {
    let all = doctor.json();
    let of_ownership = all.as_array().unwrap().iter().filter(|finding| finding["check"] == "ownership");
    let mut fixes = Vec::new();
    for finding in of_ownership {
        let fix = finding["fix"].as_str().unwrap();
        fixes.push(fix.split_once("as root: ").unwrap_or_else(|| panic!("no command in {fix}")).1.to_owned());
    }
    for fix in &fixes {
        let done = std::process::Command::new("sh").args(["-ec", fix]).output().unwrap();
        assert!(done.status.success(), "{fix}: {}", String::from_utf8_lossy(&done.stderr));
    }
    fixes.len()
}
