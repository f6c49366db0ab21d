//! Production takes only what staging runs, well, and for long enough (B2).

use crate::support::world::{APP, World, env, until};

/// `staging` runs `a`; `production` takes from it.
fn pair(promote: &str, every: &str) -> World {
    let staging = env("staging", 'a', &format!("[environments.staging.health]\nevery = \"{every}\"\n"));
    let production = env("production", 'a', &format!("promote = {{ from = \"staging\", {promote} }}"));
    World::with(&(staging + &production))
}

#[test]
fn what_staging_does_not_run_is_not_promoted() {
    let w = pair("soak = \"0s\"", "5m");
    w.soll("apply production").exits(4).says("nothing is confirmed in staging");
    w.soll("apply staging").exits(0);
    w.soll("release production <b>").exits(0);
    w.soll("apply production").exits(4).says("staging runs").says("not bbbbbbbb").says("soll release staging");
    w.soll("promote staging production").exits(0).says("Promote aaaaaaaa from staging to production");
    w.soll("apply production").exits(0);
    assert_eq!(w.runs("production"), "a");
    // The next one, by the command alone.
    w.soll("release staging <b>").exits(0);
    w.soll("apply staging").exits(0);
    w.soll("promote staging production").exits(0);
    w.soll("apply production").exits(0);
    assert_eq!(w.runs("production"), "b");
}

#[test]
fn a_staging_that_failed_and_fell_back_is_not_green() {
    let w = pair("soak = \"0s\"", "5m");
    w.soll("apply staging").exits(0);
    w.soll("release staging <c>").exits(0);
    w.soll("apply staging").exits(3);
    // It runs `a`, healthy; but what it wants did not succeed.
    w.soll("apply production").exits(4).says("staging wants cccccccc and runs aaaaaaaa: what it wants did not succeed");
    assert!(!w.path("production/current").exists());
    w.soll("rollback staging").exits(0);
    w.soll("apply staging").exits(0);
    w.soll("apply production").exits(0);
}

#[test]
fn the_soak_is_continuous_green_and_the_plan_says_when_it_ends() {
    let w = pair("soak = \"2s\"", "1h");
    w.soll("apply staging").exits(0);
    w.soll("apply production").exits(4).says("soaks in staging until").says("if it stays green");
    assert_eq!(w.soll("plan production").stdout, w.soll("plan production").stdout, "`ends at` does not move");
    until("the soak ends", || (w.soll("apply production").exit == 0).then_some(()));
    assert_eq!(w.runs("production"), "a");
}

#[test]
fn a_bad_sample_starts_the_soak_anew_and_a_gap_too() {
    let w = pair("soak = \"1h\"", "1s");
    w.soll("apply staging").exits(0);
    let since = || w.record("staging")["green"]["since"].as_str().map(str::to_owned);
    let first = since().unwrap();
    w.write("staging/current/broken", "");
    w.soll("apply staging").exits(0).says("not healthy");
    assert_eq!(since(), None);
    w.soll("apply production").exits(4).says("no recent green health sample");
    std::fs::remove_file(w.path("staging/current/broken")).unwrap();
    w.soll("apply staging").exits(0);
    let second = since().unwrap();
    assert!(second > first);
    // More than twice `every` without a sample is a gap.
    until("the last sample is too old", || {
        w.soll("apply production").exits(4).stdout.contains("no recent green health sample").then_some(())
    });
    w.soll("apply staging").exits(0);
    assert!(since().unwrap() > second);
}

#[test]
fn an_emergency_may_skip_the_soak() {
    let w = pair("soak = \"1h\"", "5m");
    w.soll("apply staging").exits(0);
    w.soll("apply production").exits(4);
    w.edit("promote = ", "emergency = { release = \"<a>\", reason = \"hotfix 12\", skip = [\"soak\"] }\npromote = ");
    w.soll("apply production").exits(0).says("hotfix 12");
}

#[test]
fn a_release_may_be_recognised_by_its_bundle_or_its_tree() {
    // main is a merge of what was staged: another commit, the same contents.
    let w = pair("soak = \"0s\", match = \"bundle\"", "5m");
    w.soll("apply staging").exits(0);
    w.soll("release production <d>").exits(0);
    for file in ["", ".sha256"] {
        std::fs::copy(format!("{}{file}", w.archive('a').display()), format!("{}{file}", w.archive('d').display()))
            .unwrap();
    }
    w.soll("apply production").exits(0);
    assert_eq!(w.runs("production"), "a");
    w.soll("release production <b>").exits(0);
    w.soll("apply production").exits(4);

    let w = World::new();
    w.write("app/file", "1");
    w.git_in("app", &["init", "-q", "-b", "main"]);
    w.git_in("app", &["add", "-A"]);
    w.git_in("app", &["commit", "-q", "-m", "staged"]);
    let staged = w.git_in("app", &["rev-parse", "HEAD"]);
    w.git_in("app", &["commit", "-q", "--allow-empty", "-m", "merge"]);
    let merged = w.git_in("app", &["rev-parse", "HEAD"]);
    w.write("app/file", "2");
    w.git_in("app", &["commit", "-q", "-a", "-m", "more"]);
    let other = w.git_in("app", &["rev-parse", "HEAD"]);
    for sha in [&staged, &merged, &other] {
        w.write(&format!("build/{sha}/index.html"), sha);
        w.soll(&format!("bundle $DIR/build/{sha} --sha {sha} --out $DIR/state/bundles")).exits(0);
    }
    let app = APP.replace("[apps.web]\n", "[apps.web]\nrepository = \"$DIR/app\"\n");
    let environment = |name: &str, sha: &str, more: &str| env(name, 'a', more).replace("<a>", sha);
    let production =
        environment("production", &merged, "promote = { from = \"staging\", soak = \"0s\", match = \"tree\" }");
    w.commit(&format!("{app}{}{production}", environment("staging", &staged, "")));
    w.soll("apply staging").exits(0);
    w.soll("apply production").exits(0);
    assert_eq!(w.runs("production"), merged);
    w.soll(&format!("release production {other}")).exits(0);
    w.soll("apply production").exits(4);
}

#[test]
fn promote_refuses_what_is_not_confirmed() {
    let w = pair("soak = \"0s\"", "5m");
    let head = w.head();
    w.soll("promote staging production").exits(4).says("does not run one confirmed release").says("soll why staging");
    assert_eq!(w.head(), head);
}
