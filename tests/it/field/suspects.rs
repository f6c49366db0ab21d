//! What failed was not the release.

use std::fs;

use crate::support::world::World;

/// A service beside the application, without which no release is well: it runs while `$DIR/fpm` is there. `b` is desired, and
/// somebody stops the service in the middle of its deployment.
fn world() -> World {
    let hook = "[[environments.staging.hooks]]\nname = \"restart\"\nphase = \"post-switch\"\n\
                run = \"test $SOLL_SHA = <a> || rm -f $DIR/fpm\"\n";
    let w = World::staging(hook);
    w.write("fpm", "");
    w.edit("test ! -e broken", "test ! -e broken -a -e $DIR/fpm");
    w.soll("apply").exits(0);
    w.soll("release staging <b>").exits(0);
    w
}

#[test]
fn a_service_that_was_killed_meanwhile_condemns_no_release() {
    let w = world();
    w.soll("apply").exits(1).says("local is suspect, not bbbbbbbb").says("soll retry staging");
    assert_eq!((w.runs("staging"), w.quarantined("staging")), ("a".to_owned(), vec![]));
    // Nothing is tried on it until somebody has looked, whatever is desired.
    w.soll("apply").exits(4).says("local is suspect since").says("when it is well again: soll retry staging");
    w.soll("why staging").exits(0).says("local is suspect since");
    assert_eq!(w.runs("staging"), "a");
    // The service is back, and stays this time.
    w.edit("rm -f $DIR/fpm", "true");
    w.write("fpm", "");
    w.soll("retry staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

/// The reload of a service that was killed fails before any check is asked.
#[test]
fn a_reload_that_fails_for_the_release_before_as_well_condemns_none() {
    let w = world();
    let reload = "[[environments.staging.hooks]]\nname = \"reload\"\nphase = \"post-switch\"\nreload = true\n\
                  run = \"test -e $DIR/fpm\"\n";
    w.commit(&format!("{}{reload}", w.read("state/desired-state.toml")));
    w.soll("apply").exits(1).says("post-switch hook `reload` says no").says("local is suspect, not bbbbbbbb");
    assert_eq!((w.runs("staging"), w.quarantined("staging")), ("a".to_owned(), vec![]));
}

#[test]
fn a_release_that_fails_where_the_one_before_is_well_is_condemned_as_ever() {
    let w = world();
    w.edit("rm -f $DIR/fpm", "true");
    w.soll("release staging <c>").exits(0);
    w.soll("apply").exits(3);
    assert_eq!((w.runs("staging"), w.quarantined("staging")), ("a".to_owned(), vec!["c".to_owned()]));
}

#[test]
fn what_was_ill_before_is_no_witness() {
    let w = world();
    fs::remove_file(w.path("fpm")).unwrap();
    w.soll("apply").exits(1).hides("suspect");
    assert_eq!(w.quarantined("staging"), ["b"]);
}
