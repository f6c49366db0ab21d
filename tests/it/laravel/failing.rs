//! What goes wrong: each kind of broken release goes back by itself or never runs, and says why.

use super::deploying::COLUMN;
use super::stack::Stack;

/// Version two runs well; what is wrong with version three is the case.
fn running(mut stack: Stack) -> (Stack, String) {
    let one = stack.release(&[]);
    stack.deploy(&one).exits(0);
    let two = stack.release(&[COLUMN]);
    stack.deploy(&two).exits(0);
    (stack, two)
}

/// Everybody sees the release of before, and nothing is left under way.
#[track_caller]
fn as_before(stack: &Stack, two: &str, verdicts: usize) {
    assert_eq!(stack.shows(), two);
    assert!(stack.page("/health").is_some(), "its database and its Redis answer");
    let record = stack.world.record("production");
    assert!(record["probation"].is_null() && record["closed"].is_null(), "{record:#}");
    assert_eq!(stack.world.quarantined("production").len(), verdicts, "{record:#}");
}

#[test]
fn each_kind_of_broken_release_leaves_what_ran() {
    let (mut stack, two) = running(Stack::start());

    // It does not answer as it should.
    let routes = "<?php\nreturn ['/' => fn () => [503, 'the catalogue cannot be loaded']];\n";
    let sick = stack.release(&[("routes/web.php", Some(routes))]);
    stack.deploy(&sick).exits(3).says("503").says("the catalogue cannot be loaded");
    as_before(&stack, &two, 1);
    // Nobody tries it again by itself.
    stack.world.soll("apply production").exits(7);

    // Its migration says no: nothing was switched, and what the database has of it is what came before.
    let wrong =
        ("database/migrations/2025_03_01_000000_wrong.php", Some("<?php\nreturn 'ALTER TABLE nowhere ADD x INT';\n"));
    let unmigrated = stack.release(&[COLUMN, wrong]);
    let ran = stack.deploy(&unmigrated).exits(1).says("migrate hook `migrate` says no").says("api.nowhere");
    assert!(!ran.stderr.contains("switch:local"), "{}", ran.stderr);
    as_before(&stack, &two, 2);
    assert!(!stack.sql("SELECT migration FROM api.migrations").contains("wrong"));

    // The frontend was built by halves: the page names a file that nobody serves.
    let half = stack.release(&[("public/build/assets/app-@sha8@.css", None)]);
    stack.deploy(&half).exits(3).says(&format!("assets/app-{}.css", &half[..8])).says("404");
    as_before(&stack, &two, 3);

    // It was built without its packages: no gate lets it through, and the database is not touched.
    let bare = stack.release(&[("vendor/autoload.php", None)]);
    let ran = stack.deploy(&bare).exits(1).says("vendor/autoload.php");
    assert!(!ran.stderr.contains("migrate:local"), "{}", ran.stderr);
    as_before(&stack, &two, 4);

    // After all of that a good one is deployed as if nothing had been.
    let good = stack.release(&[COLUMN]);
    stack.deploy(&good).exits(0);
    assert_eq!(stack.shows(), good);
}

#[test]
fn a_php_fpm_that_keeps_the_old_code_is_seen() {
    let (mut stack, two) = running(Stack::mistaken());
    let state = |stack: &Stack, sha: &str, reload: &str| {
        stack.desire(sha);
        stack.world.edit("run = \"kill -USR2 $(cat $DIR/run/fpm.pid)\"", &format!("run = \"{reload}\""));
        stack.world.soll("apply production")
    };
    // The reload itself fails: the way back reloads by its own hook.
    let three = stack.release(&[COLUMN]);
    state(&stack, &three, "kill -USR2 $(cat $DIR/run/nobody.pid)").exits(3).says("reload-php-fpm").says("nobody.pid");
    as_before(&stack, &two, 1);

    // It says that it has reloaded, and did not; and nginx names the link instead of the release, so that OPcache has it.
    let four = stack.release(&[COLUMN]);
    state(&stack, &four, "true").exits(3).says("check `release`").says(&two[..8]);
    as_before(&stack, &two, 2);
}
