//! A person's word on a plan: bound to what was reviewed, counted by person, signed where signatures count (B3).

use crate::support::world::{World, env};

/// `production` runs `a`; `b` waits for so many words.
fn waiting(approvals: u32) -> World {
    let w = World::staging("");
    w.edit("root = ", &format!("approvals = {approvals}\nroot = "));
    w.soll("release staging <b>").exits(0);
    w
}

/// From now on it is this person who speaks.
fn as_person(w: &mut World, name: &str) {
    w.set("GIT_AUTHOR_NAME", name);
    w.set("GIT_AUTHOR_EMAIL", &format!("{name}@example.com"));
}

#[test]
fn an_approved_plan_goes() {
    let w = waiting(1);
    w.soll("plan").exits(0).says("PENDING").says("0 of 1 approvals").says("soll approve staging");
    w.soll("apply").exits(4).says("waits for a person's word");
    w.run(&["approve", "staging", "--note", "looked at it"]).exits(0).says("approved: staging -> bbbbbbbb");
    w.soll("plan").exits(0).says("GO");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    w.soll("approve staging").exits(1).says("no change to speak about");
}

#[test]
fn distinct_people_count() {
    let mut w = waiting(2);
    w.soll("approve staging").exits(0);
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(4).says("1 of 2 approvals");
    as_person(&mut w, "bob");
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(0);
}

#[test]
fn a_rejection_blocks_until_it_is_taken_back() {
    let mut w = waiting(1);
    w.soll("approve staging").exits(0);
    as_person(&mut w, "bob");
    w.run(&["reject", "staging", "--reason", "the migration locks a table"]).exits(0);
    w.soll("plan").exits(0).says("NO-GO").says("rejected by bob <bob@example.com>").says("the migration locks a table");
    w.soll("apply").exits(4);
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(0);
}

#[test]
fn a_changed_plan_voids_what_was_said() {
    let w = waiting(1);
    w.soll("approve staging").exits(0);
    // Another target.
    w.soll("release staging <c>").exits(0);
    w.soll("apply").exits(4).says("0 of 1 approvals");
    // Back to what was approved: the word still holds.
    w.soll("release staging <b>").exits(0);
    w.soll("plan").exits(0).says("GO");
    // Another configuration.
    w.edit("attempts = 2", "attempts = 3");
    w.soll("apply").exits(4).says("0 of 1 approvals");
    w.edit("attempts = 3", "attempts = 2");
    // A migration that nobody saw.
    w.write(
        "state/desired-state.toml",
        &(w.read("state/desired-state.toml") + "[[environments.staging.hooks]]\nphase = \"migrate\"\nrun = \"true\"\n"),
    );
    w.commit_all("a migration");
    w.soll("apply").exits(4).says("0 of 1 approvals");
    w.soll("approve staging").exits(0).says("irreversible: migrate:local:true");
    // A README changes nothing about it.
    w.write("state/README.md", "hello");
    w.commit_all("README");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn another_start_is_another_plan() {
    let w = waiting(1);
    w.soll("approve staging").exits(0);
    // Somebody switches by hand: what was approved led from `a` to `b`.
    w.write("staging/releases/20200101_000000-dddddddd/index.html", "d");
    std::fs::remove_file(w.path("staging/current")).unwrap();
    std::os::unix::fs::symlink("releases/20200101_000000-dddddddd", w.path("staging/current")).unwrap();
    w.soll("apply").exits(4).says("0 of 1 approvals");
}

#[test]
fn only_signed_words_count_where_signatures_do() {
    let mut w = World::staging("");
    let keygen = |w: &World, name: &str| {
        let key = w.path(name);
        let made = w.program("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
        w.read(&format!("{name}.pub"))
    };
    let (ann, _eve) = (keygen(&w, "ann"), keygen(&w, "eve"));
    w.write("signers", &format!("ann@example.com {ann}"));
    for (name, value) in [
        ("user.signingkey", w.path("ann").display().to_string()),
        ("gpg.format", "ssh".into()),
        ("commit.gpgsign", "true".into()),
    ] {
        w.git(&["config", name, &value]);
    }
    w.edit("root = ", "approvals = 1\nroot = ");
    w.edit("release = \"<a>\"", "release = \"<b>\"");
    // Said without a signature, before signatures were asked for.
    w.soll("approve staging").exits(0);
    w.set("SOLL_ALLOWED_SIGNERS", "$DIR/signers");
    w.soll("apply").exits(4).says("0 of 1 approvals");
    w.soll("approve staging").exits(1).says("only signed words count here").says("SOLL_SIGNING_KEY");
    // Signed by somebody who is not allowed.
    w.set("SOLL_SIGNING_KEY", "$DIR/eve");
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(4).says("0 of 1 approvals");
    w.set("SOLL_SIGNING_KEY", "$DIR/ann");
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn an_environment_without_a_change_is_not_approved() {
    let w = World::with(&env("staging", 'a', "approvals = 1"));
    w.soll("reject staging").exits(64);
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(0);
    w.run(&["reject", "staging", "--reason", "x"]).exits(1).says("no change to speak about");
}
