//! Disks that are too small: an error that names the place, nothing lost, and the next deployment as if nothing had been.

use crate::support::disk::Disk;
use crate::support::world::{World, env};

/// Bytes that do not compress.
fn noise(bytes: usize) -> String {
    let mut state = 0x9e37_79b9_u64;
    let digit = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
    };
    (0..bytes).map(digit).collect()
}

/// `a` is small, `b` has two files of a megabyte, `d` is small.
fn world() -> World {
    let w = World::new();
    w.bundle('a', &[]);
    w.bundle('b', &[("one", &noise(1 << 20)), ("two", &format!("{}x", noise(1 << 20)))]);
    w.bundle('d', &[]);
    w
}

fn begin(w: &World) {
    w.commit(&format!("{}{}", crate::support::world::APP, env("staging", 'a', "")));
    w.soll("apply").exits(0);
}

#[track_caller]
fn refused(w: &World, place: &str, advice: &str) {
    let (live, confirmed) = (w.release("staging"), w.record("staging")["confirmed"].clone());
    w.soll("release staging <b>").exits(0);
    for _ in 0..2 {
        w.soll("apply").exits(1).says(&w.fill(place)).says(advice);
    }
    assert_eq!((w.release("staging"), w.runs("staging").as_str()), (live, "a"), "`current` is untouched");
    assert_eq!(w.record("staging")["confirmed"], confirmed);
    assert_eq!(w.quarantined("staging"), [""; 0], "an error condemns nobody");
    w.soll("status").exits(0);
    w.soll("history").exits(0).says("error");
}

/// A disk on `place` that is too small for `b`: refused, then something small fits, since what the failed attempts left
/// does not stand in the way, and on a larger disk `b` does.
fn too_small_at(place: &str, advice: &str) {
    let w = world();
    let disk = Disk::on(w.path(place), "1500k");
    begin(&w);
    refused(&w, &format!("$DIR/{place}"), advice);
    w.soll("release staging <d>").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "d");
    disk.resize("16m");
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn a_root_without_room_keeps_what_it_runs() {
    too_small_at("staging", "make room");
}

#[test]
fn a_controller_without_room_for_the_bundle_harms_no_host() {
    too_small_at("ctl", "free some space");
}

/// Not even the journal can be written: then nothing is begun (law 5).
#[test]
fn without_a_journal_nothing_is_begun() {
    let w = world();
    let disk = Disk::on(w.path("ctl"), "4m");
    begin(&w);
    w.soll("release staging <d>").exits(0);
    let filler = w.path("ctl/filler");
    // Until the last byte is gone.
    let _ = std::fs::write(&filler, vec![0; 8 << 20]);
    let before = w.tree("staging/releases");
    w.soll("apply").exits(1).says("its disk is full").says(&w.fill("$DIR/ctl"));
    assert_eq!((w.runs("staging").as_str(), w.tree("staging/releases")), ("a", before));
    std::fs::remove_file(&filler).unwrap();
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "d");
    drop(disk);
}
