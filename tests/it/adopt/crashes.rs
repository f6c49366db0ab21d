//! `kill -9` at every place of a conversion and of its undo: run again, it goes on; undone, every byte is where it was.

use soll::fault;

use super::{ADOPT, checkout, rest, serves};
use crate::support::world::World;

/// Every place and passage: the steps, one after the other, until a passage is not reached any more.
fn dies(w: &mut World, line: &str, place: &str, nth: usize) -> bool {
    w.set("SOLL_FAULT", &format!("{place}@{nth}"));
    let died = w.soll(line).exit == 6;
    w.set("SOLL_FAULT", "");
    died
}

/// Every third passage in the ordinary run.
fn every() -> usize {
    if std::env::var_os("SOLL_LONG").is_some() { 1 } else { 3 }
}

fn places(back: bool) -> impl Iterator<Item = &'static str> {
    let of =
        move |place: &&&str| place.starts_with("host.convert.") && (**place == "host.convert.after-back-step") == back;
    fault::BESIDE.iter().filter(of).copied()
}

#[test]
fn a_conversion_goes_on_or_back_from_everywhere() {
    let line = format!("{ADOPT} --keep-links");
    let mut passed = 0;
    for place in places(false) {
        for nth in (1..).step_by(every()) {
            let mut w = checkout("");
            let before = rest(&w);
            if !dies(&mut w, &line, place, nth) {
                assert!(nth > 1, "{place} is never passed");
                break;
            }
            passed += 1;
            // A deployment would not find the data: none happens.
            if place == "host.convert.after-step" && nth == 4 {
                w.soll("apply").exits(6).says("begun and not finished");
                w.soll("doctor").exits(1).says("FAIL    conversion");
            }
            // Both ways from the same place, by turns and from the same crash.
            if passed % 2 == 0 {
                w.soll("adopt staging --undo").exits(0);
                assert_eq!(rest(&w), before, "{place}@{nth}, undone");
            }
            w.soll(&line).exits(0);
            serves(&w);
            w.soll("adopt staging --undo").exits(0);
            assert_eq!(rest(&w), before, "{place}@{nth}");
        }
    }
    assert!(passed * every() > 20, "{passed}");
}

#[test]
fn an_undo_goes_on_from_everywhere() {
    let mut passed = 0;
    for place in places(true) {
        for nth in (1..).step_by(every()) {
            let mut w = checkout("");
            let before = rest(&w);
            w.soll(&format!("{ADOPT} --keep-links")).exits(0);
            if !dies(&mut w, "adopt staging --undo", place, nth) {
                break;
            }
            passed += 1;
            w.soll(ADOPT).exits(1).says("--undo");
            w.soll("adopt staging --undo").exits(0);
            assert_eq!(rest(&w), before, "{place}@{nth}");
        }
    }
    assert!(passed * every() > 18, "{passed}");
}
