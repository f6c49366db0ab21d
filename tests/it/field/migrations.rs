//! Migrations that failed, and what people did to the database meanwhile.

use crate::support::world::World;

/// A migrate hook of this name, which fails while `$DIR/NAME-fails` is there.
fn hook(name: &str) -> String {
    format!(
        "[[environments.staging.hooks]]\nname = \"{name}\"\nphase = \"migrate\"\n\
         run = \"echo {name} >> $DIR/log; test ! -e $DIR/{name}-fails\"\n"
    )
}

/// `b` is desired, and its migration `schema` said no.
fn failed(hooks: &str) -> World {
    let w = World::staging(hooks);
    w.write("log", "");
    w.write("schema-fails", "");
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(1).says("migrate hook `schema` says no");
    assert_eq!((w.runs("staging"), w.read("log")), ("a".into(), "schema\n".into()));
    w
}

#[test]
fn a_migration_that_failed_and_was_carried_through_by_hand_does_not_run_again() {
    let w = failed(&hook("schema"));
    w.soll("apply").exits(7).says("add --migration done, or it runs again");
    w.soll("retry staging --migration done").exits(0).says("the migration `schema` of bbbbbbbb is done");
    // It would fail again: the database holds what it would make.
    w.soll("apply").exits(0);
    assert_eq!((w.runs("staging"), w.read("log")), ("b".into(), "schema\n".into()));
}

#[test]
fn a_word_about_one_migration_is_none_about_the_next_one() {
    let w = failed(&format!("{}{}", hook("schema"), hook("seed")));
    w.soll("retry staging --migration done")
        .exits(0)
        .says("the migration `schema` of bbbbbbbb is done, and does not run again")
        .says("the migration `seed` of bbbbbbbb runs with the next attempt");
    w.soll("apply").exits(0);
    assert_eq!((w.runs("staging"), w.read("log")), ("b".into(), "schema\nseed\n".into()));
}

#[test]
fn a_migration_that_failed_runs_again_where_that_is_what_was_said() {
    for line in ["retry staging", "retry staging --migration again"] {
        let w = failed(&hook("schema"));
        std::fs::remove_file(w.path("schema-fails")).unwrap();
        w.soll(line).exits(0);
        w.soll("apply").exits(0);
        assert_eq!((w.runs("staging"), w.read("log")), ("b".into(), "schema\nschema\n".into()), "{line}");
    }
}

#[test]
fn what_was_never_begun_is_not_called_done() {
    let w = failed(&hook("schema"));
    // The hook was mended in the state file: what it runs now was never begun.
    w.edit("echo schema >>", "echo mended >>");
    w.soll("retry staging --migration done")
        .exits(1)
        .says("no migration of bbbbbbbb was begun")
        .says("soll retry staging");
    w.soll("retry staging").exits(0);
    std::fs::remove_file(w.path("schema-fails")).unwrap();
    w.soll("apply").exits(0);
    assert_eq!((w.runs("staging"), w.read("log")), ("b".into(), "schema\nmended\n".into()));
    let w = World::staging("");
    w.soll("retry staging --migration done").exits(1).says("staging has no migrate hook");
}
