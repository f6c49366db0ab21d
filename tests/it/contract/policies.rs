//! Who may come when: freeze, windows, quarantine, immutable releases, required checks, emergencies (B4, B6, B8, D5).

use crate::support::world::{World, env};

#[test]
fn frozen_until_unfrozen() {
    let w = World::staging("");
    w.run(&["freeze", "staging", "--reason", "incident 4711"]).exits(0).says("Freeze staging: incident 4711");
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(4).says("incident 4711").says("soll unfreeze staging");
    assert_eq!(w.runs("staging"), "a");
    w.soll("unfreeze staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    w.run(&["freeze", "staging", "--reason", " "]).exits(64);
}

/// Minutes after midnight UTC, some time from now.
fn clock(minutes: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 60;
    let at = (now + minutes) % 1440;
    format!("{:02}:{:02}", at / 60, at % 60)
}

fn window(kind: &str, from: u64, to: u64) -> String {
    let (from, to) = (clock(from), clock(to));
    format!(
        "[[environments.staging.windows]]\nkind = \"{kind}\"\nfrom = \"{from}\"\nto = \"{to}\"\nzone = \"UTC\"\nreason = \"nobody is there\"\n"
    )
}

#[test]
fn windows_allow_and_deny() {
    // From an hour ago to in an hour; from in an hour to in two.
    let (now, later) = ((1380, 60), (60, 120));
    for (windows, exit) in [
        (window("deny", now.0, now.1), 4),
        (window("deny", later.0, later.1), 0),
        (window("allow", now.0, now.1), 0),
        (window("allow", later.0, later.1), 4),
        (window("allow", now.0, now.1) + &window("deny", now.0, now.1), 4),
        (window("allow", now.0, now.1) + &window("deny", later.0, later.1), 0),
    ] {
        let w = World::with(&env("staging", 'a', &windows));
        let ran = w.soll("apply").exits(exit);
        if exit == 4 {
            // A deny that covers the whole allow never opens.
            let opens = if windows.contains("allow") && windows.contains("deny") {
                "no window opens"
            } else {
                "the window opens at"
            };
            ran.says("nobody is there").says(opens);
            assert!(!w.path("staging/current").exists());
        }
    }
}

#[test]
fn a_quarantine_is_lifted_by_a_person_or_by_another_case() {
    let desired_c = || {
        let w = World::staging("");
        w.soll("release staging <c>").exits(0);
        w.soll("apply").exits(3);
        w.soll("apply").exits(7);
        w
    };
    // A person says: again.
    let w = desired_c();
    w.soll("retry staging").exits(0).says("1 verdict lifted");
    w.soll("apply").exits(3);
    w.soll("apply").exits(7);
    // The checks are others.
    w.edit("test ! -e broken", "true");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "c");
    // The bundle is another one.
    let w = desired_c();
    w.bundle('c', &[]);
    w.soll("apply").exits(0);
    // A commit about something else lifts nothing; neither does a new controller.
    let w = desired_c();
    w.write("state/README.md", "hello");
    w.commit_all("README");
    w.soll("apply").exits(7);
    w.soll("apply --state-dir $DIR/other").exits(7);
    // Another release, and back to it: still quarantined.
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    w.soll("release staging <c>").exits(0);
    w.soll("apply").exits(7);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn an_immutable_environment_takes_no_tag() {
    let w = World::with(&env("staging", 'a', "immutable = true"));
    w.edit("[apps.web]\n", "[apps.web]\nrepository = \"$DIR/app\"\n");
    let head = w.head();
    w.soll("release staging v1").exits(1).says("takes only what can never change");
    assert_eq!(w.head(), head);
    w.edit("release = \"<a>\"", "release = \"v1\"");
    w.soll("validate").exits(1).says("takes only what can never change");
    w.soll("apply").exits(1);
}

#[test]
fn a_bundle_counts_only_if_its_build_passed() {
    let w = World::with(&env("staging", 'a', "checks = [\"run-tests\", \"check-staging\"]"));
    w.soll("apply").exits(4).says("run-tests (missing), check-staging (missing)");
    let bundle =
        |checks: &str| w.soll(&format!("bundle $DIR/build/a --sha <a> --out $DIR/state/bundles {checks}")).exits(0);
    bundle("--check run-tests=success --check check-staging=failure");
    w.soll("plan").exits(0).says("NO-GO").says("P0 checks").says("check-staging (failure)");
    w.soll("apply").exits(4);
    assert!(!w.path("staging/current").exists());
    // The record of another commit says nothing about this one.
    let record = format!("{}.checks.json", w.archive('a').display());
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replace(&w.fill("<a>"), &w.fill("<b>")).replace("failure", "success")).unwrap();
    w.soll("apply").exits(4).says("recorded for another commit");
    std::fs::write(&record, "null").unwrap();
    w.soll("apply").exits(4).says("it says `null`");
    bundle("--check run-tests=success --check check-staging=success");
    w.soll("apply").exits(0);
}

#[test]
fn an_emergency_skips_what_it_names_for_its_own_commit_with_its_reason() {
    let emergency = "emergency = { release = \"<b>\", reason = \"customers cannot log in\", skip = [\"window\", \"checks\", \"looks\"] }\n";
    let gate = "checks = [\"run-tests\"]\n[[environments.staging.gates]]\nname = \"looks\"\nfile = \"never\"\n";
    let w = World::with(&env("staging", 'b', &format!("{emergency}{gate}{}", window("deny", 1380, 60))));
    w.soll("plan").exits(0).says("GO").says("emergency, skips window, checks, looks: customers cannot log in");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    // For no other commit.
    w.edit("root = ", "# another release\nroot = ");
    w.soll("release staging <a>").exits(0);
    w.soll("apply").exits(4).says("nobody is there").says("run-tests (missing)").hides("emergency, skips");
    // What cannot be skipped is not skipped.
    w.edit("\"window\", ", "\"frozen\", ");
    w.soll("validate").exits(1).says("nothing that can be skipped");
}

#[test]
fn an_emergency_is_recorded() {
    let emergency = "emergency = { release = \"<b>\", reason = \"customers cannot log in\", skip = [\"window\"] }\n";
    let w = World::with(&env("staging", 'b', &format!("{emergency}{}", window("deny", 1380, 60))));
    w.soll("apply").exits(0).says("customers cannot log in");
    let run = w.soll("history --output json").json()[0]["run"].as_str().unwrap().to_owned();
    w.soll(&format!("show {run} --output json")).exits(0).says("customers cannot log in");
    w.soll(&format!("show {run}")).exits(0).says("customers cannot log in");
}
