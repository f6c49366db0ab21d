//! Room on a host: what a release takes is counted before it is staged, where it will lie; what it took is given back; and
//! a host whose disk is full can still go back.

use std::fs;

use crate::support::disk::Disk;
use crate::support::world::{APP, World, env};

const MIB: usize = 1 << 20;

/// A text of so many bytes, another one for each letter.
fn text(letter: char, bytes: usize) -> String {
    letter.to_string().repeat(bytes)
}

fn releases(w: &World) -> usize {
    fs::read_dir(w.path("staging/releases")).unwrap().count()
}

/// What nobody uses: uploads, half a tree, half-removed releases.
#[track_caller]
fn nothing_is_left(w: &World) {
    for dir in ["incoming", "staging", "trash"] {
        let left: Vec<_> = fs::read_dir(w.path("staging/.soll").join(dir)).unwrap().flatten().collect();
        assert!(left.is_empty(), "{dir}: {left:?}");
    }
}

fn world(size: &str, keep: u32, more: &str) -> (World, Disk) {
    let w = World::new();
    let disk = Disk::on(w.path("staging"), size);
    w.bundle('a', &[("data", &text('a', MIB))]);
    w.commit(&format!(
        "{}{}",
        APP.replace("[apps.web]\n", &format!("[apps.web]\nkeep_releases = {keep}\n")),
        env("staging", 'a', more)
    ));
    w.soll("apply").exits(0);
    (w, disk)
}

#[test]
fn files_are_counted_before_they_are_staged() {
    let (w, disk) = world("64m,nr_inodes=80", 5, "");
    let many: Vec<(String, String)> = (0..100).map(|n| (format!("many/{n}"), n.to_string())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    w.bundle('b', &many);
    w.soll("release staging <b>").exits(0);
    let inodes = || rustix::fs::statvfs(disk.path()).unwrap().f_ffree;
    let before = inodes();
    w.soll("apply").exits(1).says("there is no room for the release").says("inodes").says("make room");
    assert_eq!((w.runs("staging").as_str(), inodes()), ("a", before));
    nothing_is_left(&w);
}

#[test]
fn copies_are_counted_like_what_is_sent() {
    let (w, disk) = world("1900k", 5, "");
    // Nothing of it has to be sent, and it takes its room all the same.
    w.bundle('b', &[("again", &text('a', MIB))]);
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(1).says("there is no room for the release").says("make room");
    assert_eq!((w.runs("staging").as_str(), releases(&w)), ("a", 1));
    nothing_is_left(&w);
    disk.resize("8m");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn fewer_releases_to_keep_are_a_cure_for_a_full_disk() {
    cured_by_fewer(world("3500k", 3, ""));
}

/// What it fetches lies on its disk beside what it makes of it.
#[test]
fn a_host_that_fetches_for_itself_makes_room_likewise() {
    let (w, disk) = world("4900k", 3, "");
    let url = "bundles/deployment-bundle-{sha}.tar.gz\"";
    w.edit(url, "file://$DIR/state/bundles/deployment-bundle-{sha}.tar.gz\", fetch_from = \"host\"");
    cured_by_fewer((w, disk));
}

fn cured_by_fewer((w, _disk): (World, Disk)) {
    w.bundle('b', &[("data", &text('b', MIB))]);
    w.bundle('d', &[("data", &text('d', MIB + MIB / 2))]);
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    w.soll("release staging <d>").exits(0);
    w.soll("apply").exits(1).says("there is no room for the release").says("`keep_releases`");
    assert_eq!((w.runs("staging").as_str(), releases(&w)), ("b", 2), "three may stay, so nothing goes");
    let oldest =
        fs::read_dir(w.path("staging/releases")).unwrap().flatten().map(|entry| entry.file_name()).min().unwrap();
    w.edit("keep_releases = 3", "keep_releases = 2");
    w.soll("apply").exits(0).says("there was no room for it beside").says(oldest.to_str().unwrap());
    assert_eq!((w.runs("staging").as_str(), releases(&w)), ("d", 2));
    // What was confirmed before is the way back.
    w.soll("rollback staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn a_release_that_fails_gives_back_what_it_took() {
    let gate = "[[environments.staging.gates]]\nfile = \"good\"\n";
    let w = World::new();
    w.bundle('a', &[("good", "")]);
    w.bundle('b', &[("data", &text('b', MIB))]);
    w.bundle('c', &[("good", ""), ("broken", "")]);
    w.commit(&format!("{APP}{}", env("staging", 'a', gate)));
    w.soll("apply").exits(0);
    // A gate says no before the switch, a health check after it.
    for letter in ['b', 'c'] {
        w.soll(&format!("release staging <{letter}>")).exits(0);
        let exit = w.soll("apply").exit;
        assert!(exit != 0 && w.runs("staging") == "a", "{letter}: {exit}");
        assert_eq!(releases(&w), 1, "{letter}");
        nothing_is_left(&w);
    }
}

#[test]
fn the_way_back_works_on_a_full_disk() {
    let fills = "[[environments.staging.hooks]]\nphase = \"post-switch\"\nrun = \"test ! -e filler || { cat /dev/zero > \
                 $SOLL_ROOT/filler; exit 1; }\"\n";
    let (w, disk) = world("6m,nr_inodes=60", 5, fills);
    w.bundle('b', &[("filler", "")]);
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(3).hides("THE WAY BACK FAILED");
    let stat = rustix::fs::statvfs(disk.path()).unwrap();
    assert!(w.path("staging/filler").exists() && stat.f_bavail * stat.f_frsize < 128 << 10, "the disk is not full");
    assert_eq!((w.runs("staging").as_str(), w.quarantined("staging")), ("a", vec!["b".to_owned()]));
    assert!(w.record("staging")["probation"].is_null());
    // Everything else that reads goes on, and says what is the matter.
    w.soll("status").exits(0);
    w.soll("doctor").says("make room");
    fs::remove_file(w.path("staging/filler")).unwrap();
    w.bundle('d', &[]);
    w.soll("release staging <d>").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "d");
}
