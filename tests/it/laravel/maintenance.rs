//! `php artisan down` while a migration runs: it always ends, whoever dies (D1).

use super::stack::Stack;
use crate::support::world::until;

/// Closed while the database changes; a host that hears nobody opens it after two seconds.
const DOWN: &str = r#"
[[apps.api.hooks]]
name = "maintenance"
phase = "maintenance-on"
run = "{php} artisan down --retry=60"
[[apps.api.hooks]]
name = "live"
phase = "maintenance-off"
run = "{php} artisan up"
[[apps.api.hooks]]
name = "stands-still"
phase = "post-switch"
run = "while test -e $DIR/still; do sleep 0.05; done"
"#;

/// A migration that takes its time.
const SLOW: (&str, Option<&str>) =
    ("database/migrations/2025_03_01_000000_slow.php", Some("<?php\nreturn 'SELECT SLEEP(1)';\n"));
const WRONG: (&str, Option<&str>) =
    ("database/migrations/2025_04_01_000000_wrong.php", Some("<?php\nreturn 'ALTER TABLE nowhere ADD x INT';\n"));

fn running() -> (Stack, String) {
    let mut stack = Stack::start();
    stack.more = DOWN.to_owned();
    stack.more_of_env = "deadline = \"2s\"".to_owned();
    let one = stack.release(&[]);
    stack.deploy(&one).exits(0);
    (stack, one)
}

fn is_closed(stack: &Stack) -> bool {
    stack.world.path("production/shared/storage/framework/down").exists()
}

#[track_caller]
fn is_open(stack: &Stack, sha: &str) {
    assert!(!is_closed(stack) && stack.world.record("production")["closed"].is_null());
    assert_eq!(stack.shows(), sha);
}

#[test]
fn it_lasts_from_the_migration_to_the_new_release_and_ends_where_that_fails() {
    let (mut stack, _) = running();
    let two = stack.release(&[SLOW]);
    stack.desire(&two);
    let run = stack.world.start("apply production", "log");
    until("it is closed", || (is_closed(&stack) && stack.page("/").is_none()).then_some(()));
    assert_eq!(run.wait(), Some(0), "{}", stack.world.read("log"));
    is_open(&stack, &two);
    let three = stack.release(&[SLOW, WRONG]);
    stack.deploy(&three).exits(1).says("api.nowhere").says("maintenance:local:live");
    is_open(&stack, &two);
}

#[test]
fn the_host_ends_it_alone_when_the_controller_is_killed() {
    let (mut stack, one) = running();
    // In the middle of the migration: it goes on to its end, nothing is switched, and the door opens.
    let two = stack.release(&[SLOW]);
    stack.desire(&two);
    let run = stack.world.start("apply production", "log");
    until("the migration runs", || {
        let begun = stack.world.record("production")["migrations"].to_string().contains("begun");
        (begun && stack.page("/").is_none()).then_some(())
    });
    drop(run);
    until("the host opens it", || (stack.shows() == one).then_some(()));
    until("it is noted", || stack.world.record("production")["closed"].is_null().then_some(()));
    is_open(&stack, &one);
    // The next run finds the migration done, and goes on.
    stack.world.soll("apply production").exits(0).hides("migrate:local");
    is_open(&stack, &two);

    // After the switch: the host goes back to what it has confirmed, and opens that.
    let three = stack.release(&[SLOW]);
    stack.world.write("still", "");
    stack.desire(&three);
    let run = stack.world.start("apply production", "log");
    until("it is switched", || stack.world.release("production").ends_with(&three[..8]).then_some(()));
    assert!(is_closed(&stack));
    drop(run);
    stack.sh("rm still");
    until("the host is back and open", || (stack.shows() == two).then_some(()));
    until("it is noted", || stack.world.record("production")["probation"].is_null().then_some(()));
    is_open(&stack, &two);
    stack.world.soll("plan production").exits(0).says("went back by itself");
    stack.world.soll("apply production").exits(0);
    is_open(&stack, &three);
}
