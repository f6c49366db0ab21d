//! How a backup behaves beside everything else: it fills no disk and no line, and tells who waits for its beat.

use std::fs;
use std::time::{Duration, Instant};

use super::{JOB, world};
use crate::support::disk::Disk;
use crate::support::web::Web;
use crate::support::world::World;

/// Bytes that nothing packs.
pub fn noise(count: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// Less room than the last one took, and a fifth: nothing is begun there, and the others get it.
#[test]
fn a_target_with_too_little_room_is_not_begun() {
    let disk = Disk::new("2500k");
    let small = format!("[[backups.nightly.targets]]\nname = \"small\"\nurl = \"file://{}\"\n", disk.path().display());
    let w = world(&format!("{JOB}{small}"));
    fs::write(w.path("staging/shared/uploads/noise.bin"), noise(1_500_000)).unwrap();
    w.soll("backup now").exits(0).says("on nas, small");
    let there = || fs::read_dir(disk.path().join("manual")).unwrap().count();
    assert_eq!(there(), 5);
    w.soll("backup now").exits(1).says("it is not on small: it needs about 1.8 MB").says("are free there");
    assert_eq!(there(), 5, "nothing was begun");
    assert_eq!(super::files(&w, "nas/manual").len(), 10);
    // The only one: there is no backup, and nothing of one.
    w.edit("[[backups.nightly.targets]]\nname = \"nas\"\nurl = \"file://$DIR/nas\"\n", "");
    w.soll("backup now").exits(1).says("no target took").says("make room");
    assert_eq!(there(), 5);
    w.soll("status").exits(0).says("failed since");
    disk.resize("10m");
    w.soll("backup now").exits(0).says("on small");
}

#[test]
fn a_line_that_others_need_is_not_filled() {
    let w = world(&JOB.replace("zone =", "limit = \"100kB/s\"\nzone ="));
    fs::write(w.path("staging/shared/uploads/noise.bin"), noise(150_000)).unwrap();
    let begun = Instant::now();
    w.soll("backup now").exits(0);
    let took = begun.elapsed();
    // Written, and read back.
    assert!(took >= Duration::from_millis(2500), "{took:?}");
    w.edit("limit = \"100kB/s\"", "limit = \"20Mbit/s\"");
    w.soll("validate").exits(1).says("is no speed").says("bytes in a second");
}

/// A world whose job has a dead man's switch.
fn switched(web: &Web) -> World {
    let mut w = world(&JOB.replace("zone =", "ping = \"PING\"\nzone ="));
    w.set("SOLL_SECRET_PING", &web.url("/hc/s3cr3t"));
    w
}

/// The paths that were asked, and what was said.
fn heard(web: &Web) -> Vec<String> {
    web.seen().iter().filter(|head| head.starts_with("POST ")).cloned().collect()
}

#[test]
fn a_dead_mans_switch_hears_of_the_schedule_and_decides_nothing() {
    let web = Web::start();
    for path in ["/hc/s3cr3t/start", "/hc/s3cr3t", "/hc/s3cr3t/fail"] {
        web.set(path, 200, "OK");
    }
    let w = switched(&web);
    w.soll("backup now").exits(0);
    assert_eq!(heard(&web).len(), 0, "what a person asks for is not the schedule");
    let w = switched(&web);
    w.soll("backup now --due").exits(0).hides("s3cr3t");
    let said = heard(&web);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("POST /hc/s3cr3t/start "), "{said:?}");
    assert!(said[1].starts_with("POST /hc/s3cr3t ") && said[1].contains("250 rows"), "{said:?}");
    // One that fails says why.
    let w = switched(&web);
    fs::remove_file(w.path("staging/shared/app.sqlite")).unwrap();
    w.soll("backup now --due").exits(1).hides("s3cr3t");
    let said = heard(&web);
    assert!(said[3].starts_with("POST /hc/s3cr3t/fail ") && said[3].contains("app.sqlite"), "{said:?}");
    // One that does not answer well is told of once, and the backup is good.
    let w = switched(&Web::start());
    let ran = w.soll("backup now --due").exits(0).says("250 rows").says("404").hides("s3cr3t");
    assert_eq!(ran.stdout.matches("the dead man's switch was not told").count(), 1, "{}", ran.stdout);
    // Nor does one that nobody has.
    let mut w = switched(&web);
    w.set("SOLL_SECRET_PING", "");
    w.soll("backup now --due").exits(0).says("the secret PING");
}
