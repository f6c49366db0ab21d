//! Places of a root that a deployment cannot use as they are: the plan, the preflight and the doctor say so, with the next
//! move, before anything is begun.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::disk::Disk;
use crate::support::world::{World, env};

const SHARED: &str = "shared_dirs = [\"storage\"]\nshared_files = [\".env\"]\n";

/// `b` is desired where `a` runs, with a shared directory and a shared file.
fn world() -> World {
    let w = World::with(&env("staging", 'a', SHARED));
    w.write("staging/shared/.env", "A=1\n");
    w.soll("apply").exits(0);
    w.soll("release staging <b>").exits(0);
    w
}

/// All three say this, the deployment does not begin, and when it is mended it is made.
#[track_caller]
fn seen(w: &World, what: &str, next: &str, mend: impl FnOnce()) {
    let before = w.tree("staging/.soll/staging");
    w.soll("plan staging").says(what).says(next).says("NO-GO");
    w.soll("doctor staging").says(what).says(next);
    w.soll("preflight staging").says(what).says(next);
    w.soll("apply staging").exits(1).says(what);
    assert_eq!((w.runs("staging").as_str(), w.tree("staging/.soll/staging")), ("a", before));
    mend();
    w.soll("apply staging").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

fn mount(words: &[&str], at: &Path) {
    assert!(Command::new("mount").args(words).arg(at).status().unwrap().success());
}

#[test]
fn releases_on_another_disk() {
    let w = world();
    let releases = w.path("staging/releases");
    let (kept, live) = (w.path("kept"), w.release("staging"));
    fs::rename(&releases, &kept).unwrap();
    let disk = Disk::on(releases.clone(), "8m");
    assert!(Command::new("cp").arg("-a").arg(kept.join(&live)).arg(&releases).status().unwrap().success());
    seen(&w, "another file system", "mount that file system at", || {
        drop(disk);
        fs::remove_dir(&releases).unwrap();
        fs::rename(&kept, &releases).unwrap();
    });
}

/// The links of a release would lead to the `shared/` that is beside the other directory, or to none.
#[test]
fn releases_behind_a_link_that_leads_out_of_the_root() {
    let w = world();
    let (releases, elsewhere) = (w.path("staging/releases"), w.path("large/releases"));
    fs::create_dir(w.path("large")).unwrap();
    fs::rename(&releases, &elsewhere).unwrap();
    symlink(&elsewhere, &releases).unwrap();
    seen(
        &w,
        "the links of a release to ../../shared lead from there to",
        "make releases/ a plain directory of",
        || {
            fs::remove_file(&releases).unwrap();
            fs::rename(&elsewhere, &releases).unwrap();
        },
    );
    // Whole roots may lie elsewhere, and so may releases/ within theirs.
    w.soll("release staging <a>").exits(0);
    fs::rename(w.path("staging"), w.path("large/staging")).unwrap();
    symlink(w.path("large/staging"), w.path("staging")).unwrap();
    fs::rename(w.path("staging/releases"), w.path("staging/all")).unwrap();
    symlink("all", w.path("staging/releases")).unwrap();
    w.soll("apply staging").exits(0);
    assert_eq!(w.runs("staging"), "a");
}

/// It is there, and it answers: that it cannot be reached and may be skipped is no help.
#[test]
fn a_root_that_is_no_directory() {
    let w = World::with(&env("staging", 'a', ""));
    w.write("staging", "");
    let told = |what: &str, next: &str| {
        for line in ["plan staging", "apply staging", "preflight staging", "doctor staging"] {
            w.soll(line).says(what).says(next).hides("unreachable = \"skip\"");
        }
    };
    told("staging is no directory", "move the file away, or correct `root`");
    fs::remove_file(w.path("staging")).unwrap();
    symlink("/mnt/no-such-disk/staging", w.path("staging")).unwrap();
    told("is a link to /mnt/no-such-disk/staging, where nothing is", "mount or make");
    fs::remove_file(w.path("staging")).unwrap();
    w.soll("apply staging").exits(0);
}

/// The same disk by another mount is a border for renames as well.
#[test]
fn releases_behind_a_bind_mount() {
    let w = world();
    let releases = w.path("staging/releases");
    mount(&["--bind", releases.to_str().unwrap()], &releases);
    seen(&w, "behind another mount", "mount that file system at", || {
        assert!(Command::new("umount").arg("-l").arg(&releases).status().unwrap().success());
    });
}

#[test]
fn links_that_lead_nowhere() {
    let w = world();
    let storage = w.path("staging/shared/storage");
    fs::remove_dir(&storage).unwrap();
    symlink("/mnt/no-such-share/storage", &storage).unwrap();
    seen(&w, "is a link to /mnt/no-such-share/storage, where nothing is", "mount or make", || {
        fs::remove_file(&storage).unwrap();
    });
}

#[test]
fn links_that_lead_in_a_circle() {
    let w = world();
    let shared = w.path("staging/shared");
    fs::rename(&shared, w.path("moved")).unwrap();
    symlink("shared", &shared).unwrap();
    seen(&w, "is a link that leads in a circle", "make it lead to a directory", || {
        fs::remove_file(&shared).unwrap();
        fs::rename(w.path("moved"), &shared).unwrap();
    });
}

#[test]
fn files_where_directories_should_be_and_the_other_way_round() {
    let w = world();
    let (storage, file) = (w.path("staging/shared/storage"), w.path("staging/shared/.env"));
    fs::remove_dir(&storage).unwrap();
    fs::write(&storage, "").unwrap();
    seen(&w, "staging/shared/storage is no directory", "shared_files", || fs::remove_file(&storage).unwrap());
    w.soll("release staging <a>").exits(0);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    w.soll("plan staging").says("a directory, and no regular file").says("put a regular file in its place");
    w.soll("doctor staging").says("shared/.env is a directory");
    w.soll("apply staging").exits(1);
    fs::remove_dir(&file).unwrap();
    symlink("env", &file).unwrap();
    w.soll("plan staging").says("it is a link to env, where nothing is").says("put a regular file in its place");
    w.soll("apply staging").exits(1);
    fs::remove_file(&file).unwrap();
    symlink(".env", &file).unwrap();
    w.soll("plan staging").says("it is a link that leads in a circle");
    w.soll("apply staging").exits(1);
    assert_eq!(w.runs("staging"), "b");
}

/// What is written below a mount point without its mount is hidden as soon as it is there.
#[test]
fn a_share_that_is_not_mounted() {
    let mut w = world();
    let storage = w.path("staging/shared/storage").display().to_string();
    w.write("fstab", &format!("# shares\nnas:/storage {storage} nfs4 rw,noatime 0 0\n"));
    // A file system table of its own, and nothing of it on this machine.
    let inside = "mount --bind \"$0\" /etc/fstab && exec \"$@\"";
    w.inside =
        ["unshare", "--mount", "sh", "-c", inside, &w.path("fstab").display().to_string()].map(str::to_owned).to_vec();
    fs::File::options().append(true).create(true).open("/etc/fstab").unwrap();
    let what = format!("{storage} is not mounted (nfs4 in /etc/fstab)");
    let disk = std::cell::Cell::new(None);
    seen(&w, &what, &format!("as root: mount {storage}"), || disk.set(Some(Disk::on(storage.clone().into(), "1m"))));
}

/// A directory of a lower layer cannot be renamed: the dry run of a conversion says so, and its cure is one.
#[test]
fn a_checkout_in_a_lower_layer() {
    let w = World::new();
    let disk = Disk::on(w.path("disk"), "16m");
    let at = |name: &str| disk.path().join(name).display().to_string();
    for dir in ["lower/vendor/acme", "lower/public", "up", "work"] {
        fs::create_dir_all(at(dir)).unwrap();
    }
    fs::write(at("lower/vendor/acme/x.php"), "x").unwrap();
    fs::write(at("lower/public/index.php"), "x").unwrap();
    w.git_in("disk/lower", &["init", "-q"]);
    w.git_in("disk/lower", &["add", "-A"]);
    w.git_in("disk/lower", &["commit", "-qm", "All"]);
    let root = w.path("staging");
    fs::create_dir(&root).unwrap();
    let options = format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("up"), at("work"));
    mount(&["-t", "overlay", "-o", &options, "overlay"], &root);
    let _mounted = Unmount(&root);
    w.bundle('a', &[]);
    w.commit(&format!("{}{}", crate::support::world::APP, env("staging", 'a', "")));
    let before = w.tree("staging");
    let dry =
        w.soll("adopt staging --dry-run").says("`vendor` lies in a lower layer").says("`public` lies in a lower layer");
    assert_eq!(w.tree("staging"), before, "nothing was changed");
    let cure = |line: &str| Some(line[line.find("cp -a ")?..].split("; or mount").next().unwrap().to_owned());
    let cures: Vec<_> = dry.stdout.lines().filter_map(cure).collect();
    assert!(cures.len() >= 2, "{}", dry.stdout);
    for cure in cures {
        assert!(Command::new("sh").args(["-c", &cure]).status().unwrap().success(), "{cure}");
    }
    w.soll("adopt staging --dry-run").hides("lower layer");
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}
