//! A small disk: a tmpfs, gone when it is dropped.

use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Disk {
    path: PathBuf,
    /// The directory that it is mounted on, where nobody else made one.
    dir: Option<tempfile::TempDir>,
}

impl Disk {
    /// One on a directory of its own.
    pub fn new(size: &str) -> Disk {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = Disk::on(dir.path().to_owned(), size);
        disk.dir = Some(dir);
        disk
    }

    /// One on this directory, which is made.
    pub fn on(path: PathBuf, size: &str) -> Disk {
        assert!(rustix::process::geteuid().is_root(), "this test mounts a small disk and must be run as root");
        std::fs::create_dir_all(&path).unwrap();
        mount(&path, &format!("size={size}"));
        Disk { path, dir: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another size, with everything that lies on it.
    pub fn resize(&self, size: &str) {
        mount(&self.path, &format!("remount,size={size}"));
    }
}

fn mount(path: &Path, options: &str) {
    let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(path).status();
    assert!(done.unwrap().success(), "mounting a tmpfs on {} with {options}", path.display());
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that has not ended yet must not keep it.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
