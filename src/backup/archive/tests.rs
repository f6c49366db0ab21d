use super::*;
use crate::backup::Always;
use std::fs;
use std::os::unix::net::UnixListener;

#[test]
fn excluded_and_special_files_are_not_in_it_and_links_are_links() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    for sub in ["storage/logs", "uploads", "backups"] {
        fs::create_dir_all(shared.join(sub)).unwrap();
    }
    for file in ["storage/logs/app.log", "uploads/a b.jpg", "backups/old.tar", ".env"] {
        fs::write(shared.join(file), file).unwrap();
    }
    std::os::unix::fs::symlink("../.env", shared.join("uploads/link")).unwrap();
    let _socket = UnixListener::bind(shared.join("app.sock")).unwrap();
    let (exclude, leave_out) = (["storage/logs/**".to_owned()], [shared.join("backups")]);
    let files = Files { path: &shared, name: Path::new("shared"), exclude: &exclude, leave_out: &leave_out };
    let mut bytes = Vec::new();
    let archived = archive(&files, &mut bytes, &Always).unwrap();
    assert_eq!(archived.special, ["app.sock (socket)"]);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let names: Vec<String> =
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
    let wanted = ["shared", "shared/.env", "shared/storage", "shared/storage/logs", "shared/uploads"];
    let wanted: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
    let plain: Vec<String> = names.iter().map(|name| name.trim_end_matches('/').to_owned()).collect();
    assert_eq!(plain[..5], wanted[..]);
    assert_eq!(plain[5..], ["shared/uploads/a b.jpg", "shared/uploads/link"]);
    assert_eq!(archived.entries, 7);
}

#[test]
fn what_is_left_out_is_left_out_by_whatever_name_it_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("volume/data/nas")).unwrap();
    fs::write(dir.path().join("volume/data/nas/backup"), "large").unwrap();
    std::os::unix::fs::symlink("volume", dir.path().join("link")).unwrap();
    let (path, leave_out) = (dir.path().join("link/data"), [dir.path().join("volume/data/nas")]);
    let files = Files { path: &path, name: Path::new("data"), exclude: &[], leave_out: &leave_out };
    assert_eq!(archive(&files, &mut Vec::new(), &Always).unwrap().entries, 1);
}

/// What `tar` makes of an archive.
fn unpacked(bytes: &[u8]) -> tempfile::TempDir {
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("archive.tar"), bytes).unwrap();
    let done = std::process::Command::new("tar").args(["-xf", "archive.tar"]).current_dir(out.path()).output();
    let done = done.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    out
}

#[test]
fn a_set_that_is_one_file_is_a_file_to_tar() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("app.conf"), "listen = 80").unwrap();
    std::os::unix::fs::symlink("app.conf", dir.path().join("link.conf")).unwrap();
    // A link is what it leads to where the state file names it.
    for name in ["app.conf", "link.conf"] {
        let path = dir.path().join(name);
        let files = Files { path: &path, name: Path::new("etc/app.conf"), exclude: &[], leave_out: &[] };
        let mut bytes = Vec::new();
        assert_eq!(archive(&files, &mut bytes, &Always).unwrap().entries, 1);
        let out = unpacked(&bytes);
        assert_eq!(fs::read_to_string(out.path().join("etc/app.conf")).unwrap(), "listen = 80");
    }
    let path = dir.path().join("socket");
    let _socket = UnixListener::bind(&path).unwrap();
    let files = Files { path: &path, name: Path::new("socket"), exclude: &[], leave_out: &[] };
    let told = archive(&files, &mut Vec::new(), &Always).unwrap_err().to_string();
    assert!(told.contains("socket is neither a directory nor a file"), "{told}");
}

/// Exchanges an entry at the last moment: after it was looked at, and before it is opened.
struct Exchanges<F>(std::sync::Mutex<Option<F>>);
impl<F: FnOnce()> Wanted for Exchanges<F> {
    fn is_wanted(&self) -> bool {
        if let Some(exchange) = self.0.lock().unwrap().take() {
            exchange();
        }
        true
    }
}

/// Archives a directory in which `entry` becomes another thing while it is opened. In a thread: a pipe would be waited
/// for, for ever.
fn exchanged(before: fn(&Path), after: fn(&Path, &Path)) -> (Vec<u8>, Archived) {
    let dir = tempfile::tempdir().unwrap();
    let (shared, outside) = (dir.path().join("shared"), dir.path().join("outside"));
    fs::create_dir(&shared).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "planted-secret").unwrap();
    before(&shared.join("entry"));
    let (done, archived) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let entry = shared.join("entry");
        let exchange = Exchanges(std::sync::Mutex::new(Some(|| after(&entry, &outside))));
        let files = Files { path: &shared, name: Path::new("shared"), exclude: &[], leave_out: &[] };
        let mut bytes = Vec::new();
        let archived = archive(&files, &mut bytes, &exchange).unwrap();
        let _ = done.send((bytes, archived));
    });
    archived.recv_timeout(std::time::Duration::from_secs(60)).expect("an archive waits for a pipe")
}

#[test]
fn what_is_exchanged_while_it_is_opened_leads_nowhere_else() {
    let file = |path: &Path| fs::write(path, "mine").unwrap();
    let holds = |bytes: &[u8]| bytes.windows(14).any(|window| window == b"planted-secret");
    // A file becomes a link to one that only the maker of backups may read.
    let (bytes, archived) = exchanged(file, |entry, outside| {
        fs::remove_file(entry).unwrap();
        std::os::unix::fs::symlink(outside.join("secret"), entry).unwrap();
    });
    assert!(!holds(&bytes) && archived.entries == 2, "{archived:?}");
    assert!(fs::symlink_metadata(unpacked(&bytes).path().join("shared/entry")).unwrap().is_symlink());
    // A directory becomes a link to another one.
    let (bytes, archived) = exchanged(
        |path| fs::create_dir(path).unwrap(),
        |entry, outside| {
            fs::remove_dir(entry).unwrap();
            std::os::unix::fs::symlink(outside, entry).unwrap();
        },
    );
    assert!(!holds(&bytes) && archived.entries == 2, "{archived:?}");
    // A file becomes a pipe that nobody writes into.
    let (_, archived) = exchanged(file, |entry, _| {
        fs::remove_file(entry).unwrap();
        rustix::fs::mknodat(CWD, entry, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    });
    assert_eq!(archived.special, ["entry (pipe)"]);
    // A file becomes another file, as programs write theirs: it is that one, whole.
    let (bytes, archived) = exchanged(file, |entry, _| {
        fs::write(entry.with_extension("new"), "the new one").unwrap();
        fs::rename(entry.with_extension("new"), entry).unwrap();
    });
    assert_eq!(fs::read_to_string(unpacked(&bytes).path().join("shared/entry")).unwrap(), "the new one");
    assert_eq!(archived.warnings, Vec::<String>::new());
    // What is gone is named.
    let (_, archived) = exchanged(file, |entry, _| fs::remove_file(entry).unwrap());
    assert_eq!(archived.warnings, ["changed while they were read: entry"]);
}

#[test]
fn a_file_that_another_program_has_leased_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leased");
    fs::write(&path, "the contents").unwrap();
    let holder = File::open(&path).unwrap();
    let lease = |command: libc::c_int, kind: libc::c_int| {
        // SAFETY: the call takes three numbers; the file is open.
        #[allow(unsafe_code)]
        unsafe {
            libc::fcntl(holder.as_raw_fd(), command, kind)
        }
    };
    // Linux's number for it, which the crate does not know.
    const F_SETSIG: libc::c_int = 10;
    // Who holds it is told by a signal, which by itself ends a program: by one that does not.
    assert_eq!((lease(F_SETSIG, libc::SIGURG), lease(libc::F_SETLEASE, libc::F_WRLCK)), (0, 0));
    let bytes = std::thread::scope(|scope| {
        let archiving = scope.spawn(|| {
            let files = Files { path: dir.path(), name: Path::new("shared"), exclude: &[], leave_out: &[] };
            let mut bytes = Vec::new();
            archive(&files, &mut bytes, &Always).map(|_| bytes)
        });
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !archiving.is_finished() && lease(libc::F_GETLEASE, 0) == libc::F_WRLCK {
            assert!(std::time::Instant::now() < until, "nobody wants it");
            std::thread::yield_now();
        }
        lease(libc::F_SETLEASE, libc::F_UNLCK);
        archiving.join().unwrap()
    });
    assert_eq!(fs::read_to_string(unpacked(&bytes.unwrap()).path().join("shared/leased")).unwrap(), "the contents");
}

#[test]
fn a_file_that_shrinks_leaves_the_archive_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    fs::write(&path, [7; 10]).unwrap();
    let mut exact = Exact { file: File::open(&path).unwrap(), left: 20, short: false };
    let mut all = Vec::new();
    exact.read_to_end(&mut all).unwrap();
    assert_eq!((all.len(), all[9], all[10], exact.short), (20, 7, 0, true));
}
