//! A person's word on a plan: bound to what was reviewed, counted by person, signed where signatures count (B3).

use crate::support::world::{APP, World, env};

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
    for line in ["show", "show staging", "history --subject deploy --limit 1"] {
        w.soll(line).exits(0).says("approved by Ann <ann@example.com>");
    }
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

/// Keys of these people; those named first are allowed signers.
fn signing(w: &mut World, allowed: &[&str], others: &[&str]) {
    let mut signers = String::new();
    for name in allowed.iter().chain(others) {
        let key = w.path(name);
        let made = w.program("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
        if allowed.contains(name) {
            signers += &format!("{name}@example.com {}", w.read(&format!("{name}.pub")));
        }
    }
    w.write("signers", &signers);
    w.set("SOLL_ALLOWED_SIGNERS", "$DIR/signers");
    for (name, value) in [
        ("user.signingkey", w.path("ann").display().to_string()),
        ("gpg.format", "ssh".into()),
        ("commit.gpgsign", "true".into()),
    ] {
        w.git(&["config", name, &value]);
    }
}

/// From now on this person speaks, with a key.
fn as_signer(w: &mut World, name: &str) {
    as_person(w, name);
    w.set("SOLL_SIGNING_KEY", &format!("$DIR/{name}"));
}

/// A world in which words are signed: `staging` runs `a`, wants `b`, and needs one word. Ann commits.
fn signed() -> World {
    let mut w = World::new();
    for letter in ['a', 'b'] {
        w.bundle(letter, &[]);
    }
    signing(&mut w, &["ann", "bob"], &["eve"]);
    w.set("SOLL_SIGNING_KEY", "$DIR/ann");
    w.commit(&format!("{APP}{}", env("staging", 'a', "")));
    w.soll("apply").exits(0);
    w.edit("root = ", "approvals = 1\nroot = ");
    w.soll("release staging <b>").exits(0);
    w
}

/// Another bundle under the same name was deployed on the word about the first one.
#[test]
fn what_is_approved_is_what_is_deployed() {
    let w = waiting(1);
    w.soll("approve staging").exits(0);
    w.soll("plan").exits(0).says("GO");
    // The bundle itself.
    w.bundle('b', &[("backdoor", "")]);
    w.soll("apply").exits(4).says("0 of 1 approvals");
    w.bundle('b', &[]);
    w.soll("plan").exits(0).says("GO");
    // Its address, the checks of its build, where it goes, what a failure does.
    for (from, to) in [
        ("url = \"bundles/deployment", "url = \"bundles/../bundles/deployment"),
        ("[apps.web]\n", "[apps.web]\nchecks = [\"tests\"]\n"),
        ("root = \"$DIR/staging\"", "root = \"$DIR/other\""),
        ("approvals = 1", "approvals = 1\non_failure = \"hold\""),
        ("approvals = 1", "approvals = 1\nhosts = [\"here\"]"),
    ] {
        let hosts = if to.contains("hosts = ") { "\n[hosts.here]\naddress = \"local\"\n" } else { "" };
        let before = w.read("state/desired-state.toml");
        let (from, to) = (w.fill(from), w.fill(to));
        assert!(before.contains(&from), "{from}");
        w.commit(&(before.replacen(&from, &to, 1) + hosts));
        w.soll("plan").exits(0).says("0 of 1 approvals").hides("GO\n");
        w.commit(&before);
    }
    w.soll("apply").exits(0);
    assert_eq!((w.runs("staging"), w.path("staging/current/backdoor").exists()), ("b".into(), false));
}

/// `a -> b -> a -> b` went on the word about the first way.
#[test]
fn an_approval_is_used_up_by_its_success() {
    let w = waiting(1);
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(0);
    w.soll("release staging <a>").exits(0);
    w.soll("apply").exits(4);
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(4).says("0 of 1 approvals");
    // A failed attempt uses nothing up.
    w.edit("[[apps.web.health.checks]]", "[[apps.web.gates]]\nrun = \"test -e $DIR/open\"\n[[apps.web.health.checks]]");
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(1);
    w.write("open", "");
    w.soll("retry staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

/// A merge whose first parent is a line without it made a rejection disappear.
#[test]
fn no_commit_takes_a_rejection_back() {
    let mut w = waiting(1);
    let empty = w.git(&["hash-object", "-t", "tree", "-w", "/dev/null"]);
    as_person(&mut w, "bob");
    w.run(&["reject", "staging", "--reason", "the migration locks a table"]).exits(0);
    as_person(&mut w, "ann");
    w.soll("approve staging").exits(0);
    let no = || {
        w.soll("plan").exits(0).says("NO-GO").says("rejected by bob").says("under refs/soll/approvals");
        w.soll("apply").exits(4);
    };
    let moves = |commit: &str| drop(w.git(&["update-ref", "refs/soll/approvals", commit]));
    let tip = w.git(&["rev-parse", "refs/soll/approvals"]);
    let side = w.git(&["commit-tree", "-m", "another line", &empty]);
    moves(&w.git(&["commit-tree", "-m", "merge", "-p", &side, "-p", &tip, &empty]));
    no();
    moves(&w.git(&["commit-tree", "-m", "merge", "-p", &tip, "-p", &side, &empty]));
    no();
    moves(&w.git(&["commit-tree", "-m", "everything removed", "-p", &tip, &empty]));
    no();
    // Bob himself takes it back, whatever the time of his commit says.
    moves(&tip);
    as_person(&mut w, "bob");
    w.set("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z");
    w.set("GIT_COMMITTER_DATE", "2001-01-01T00:00:00Z");
    w.soll("approve staging").exits(0);
    w.soll("plan").exits(0).says("GO").hides("under refs/soll/approvals");
}

/// A signed commit of the branch, or of anything else, passed for a signed word.
#[test]
fn a_word_is_signed_as_a_word() {
    let mut w = signed();
    as_signer(&mut w, "bob");
    w.soll("approve staging").exits(0);
    w.soll("plan").exits(0).says("GO");
    let tip = w.git(&["rev-parse", "refs/soll/approvals"]);
    let path = w.git(&["ls-tree", "-r", "--name-only", &tip]);
    let file = w.git(&["show", &format!("{tip}:{path}")]);
    let envelope: serde_json::Value = serde_json::from_str(&file).unwrap();
    assert!(envelope["signature"].as_str().unwrap().contains("BEGIN SSH SIGNATURE"), "{file}");
    w.git(&["update-ref", "-d", "refs/soll/approvals"]);
    w.soll("plan").exits(0).says("0 of 1 approvals");
    // The same word without its signature, in a commit that Ann signed for git; and one that is signed by nobody who counts.
    let mut unsigned = envelope.clone();
    unsigned.as_object_mut().unwrap().remove("signature");
    let forged = file.replace("\\\"note\\\":null", "\\\"note\\\":\\\"x\\\"");
    assert_ne!(forged, file);
    for (text, why) in
        [(unsigned.to_string(), "it is not signed"), (forged, "something was changed after it was signed")]
    {
        w.git(&["checkout", "-q", "--orphan", "words"]);
        w.git(&["rm", "-rqf", "."]);
        w.write(&format!("state/{path}"), &text);
        w.commit_all("a commit that Ann signed");
        w.git(&["update-ref", "refs/soll/approvals", "HEAD"]);
        w.git(&["checkout", "-qf", "main"]);
        w.git(&["branch", "-qD", "words"]);
        w.soll("plan").exits(0).says("0 of 1 approvals").says(why);
        w.soll("apply").exits(4);
    }
    w.git(&["update-ref", "-d", "refs/soll/approvals"]);
    as_signer(&mut w, "eve");
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(4).says("0 of 1 approvals").says("not among the allowed signers");
    as_signer(&mut w, "bob");
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn a_word_counts_where_it_was_said_once_and_for_a_time() {
    let mut w = waiting(1);
    w.soll("approve staging").exits(0).says(", until 20");
    let tip = w.git(&["rev-parse", "refs/soll/approvals"]);
    let path = w.git(&["ls-tree", "-r", "--name-only", &tip]);
    let file = w.git(&["show", &format!("{tip}:{path}")]);
    // Older than this controller takes them.
    w.set("SOLL_APPROVAL_TTL", "1ms");
    w.soll("plan").exits(0).says("0 of 1 approvals").says("it has expired at").says("soll approve staging");
    w.set("SOLL_APPROVAL_TTL", "7d");
    w.soll("plan").exits(0).says("GO");
    w.set("SOLL_APPROVAL_TTL", "soon");
    w.soll("plan").exits(1).says("approval_ttl = \"soon\"");
    w.set("SOLL_APPROVAL_TTL", "");
    // A copy: in another environment, about another plan, a second time.
    let (_, rest) = path.split_once('/').unwrap();
    let (binding, name) = rest.split_once('/').unwrap();
    let others = [
        (format!("production/{rest}"), "which was said about staging"),
        (format!("staging/{}/{name}", "0".repeat(64)), "which was said about another plan"),
        (format!("staging/{binding}/bob-1.json"), "says again what was said before"),
    ];
    let place = |path: &str, text: &str, parent: &str| {
        w.write("word", text);
        let blob = w.git(&["hash-object", "-w", w.path("word").to_str().unwrap()]);
        w.git(&["read-tree", "--index-output=.git/words", &format!("{parent}^{{tree}}")]);
        let mut tree = w.program("sh");
        let script = format!(
            "export GIT_INDEX_FILE=.git/words; git update-index --add --cacheinfo 100644,{blob},{path} && git write-tree"
        );
        let output = tree.args(["-c", &script]).current_dir(w.path("state")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout).unwrap();
        let commit = w.git(&["commit-tree", "-m", "a copy", "-p", parent, tree.trim()]);
        w.git(&["update-ref", "refs/soll/approvals", &commit]);
    };
    for (path, why) in &others {
        place(path, &file, &tip);
        w.soll("plan").exits(0).says("GO").says("under refs/soll/approvals").says(why);
    }
    // Alone, it counts nowhere; and a word of the first version says what to do.
    let empty = w.git(&["commit-tree", "-m", "none", &w.git(&["hash-object", "-t", "tree", "-w", "/dev/null"])]);
    place(&others[1].0, &file, &empty);
    w.soll("apply").exits(4).says("0 of 1 approvals");
    place(&path, "{\"approve\":true,\"note\":null}", &empty);
    w.soll("apply").exits(4).says("0 of 1 approvals");
    w.soll("plan").exits(0).says("an older version of soll").says("say them again: soll approve staging");
    place(&path, "{\"format\":3,\"words\":[]}", &empty);
    w.soll("plan").exits(0).says("0 of 1 approvals").says("it has format 3");
    // Another state repository with the same environment.
    w.git(&["update-ref", "refs/soll/approvals", &tip]);
    std::fs::create_dir(w.path("twin")).unwrap();
    w.git_in("twin", &["init", "-q", "-b", "main"]);
    for entry in ["desired-state.toml", "bundles"] {
        std::os::unix::fs::symlink(w.path("state").join(entry), w.path("twin").join(entry)).unwrap();
    }
    std::fs::remove_file(w.path("twin/desired-state.toml")).unwrap();
    std::fs::copy(w.path("state/desired-state.toml"), w.path("twin/desired-state.toml")).unwrap();
    w.git_in("twin", &["add", "desired-state.toml"]);
    w.git_in("twin", &["commit", "-q", "-m", "another beginning"]);
    w.git_in("twin", &["fetch", "-q", "../state", "refs/soll/approvals:refs/soll/approvals"]);
    let twin = w.soll("plan --repo $DIR/twin --state-dir $DIR/ctl2").exits(0);
    twin.says("0 of 1 approvals").says("was said in another state repository");
    w.soll("apply").exits(0);
}

#[test]
fn what_cannot_be_seen_cannot_be_approved() {
    let w = waiting(1);
    let sha256 = format!("{}.sha256", w.archive('b').display());
    let kept = std::fs::read(&sha256).unwrap();
    std::fs::remove_file(&sha256).unwrap();
    w.soll("plan").exits(0).says("the digest of the bundle is not known");
    w.soll("approve staging").exits(1).says("what has no name cannot be approved");
    w.soll("apply").exits(1);
    std::fs::write(&sha256, "nobody knows").unwrap();
    w.soll("approve staging").exits(1).says("what has no name cannot be approved");
    w.soll("apply").exits(4).says("the digest of the bundle is not known");
    std::fs::write(&sha256, kept).unwrap();
    // Nobody answers there.
    let before = w.read("state/desired-state.toml");
    w.commit(
        &(before.replacen("approvals = 1", "approvals = 1\nhosts = [\"away\"]", 1)
            + "\n[hosts.away]\naddress = \"127.0.0.1\"\nport = 1\nuser = \"nobody\"\n"),
    );
    let ran = w.soll("approve staging").exits(6).says("away cannot be seen");
    ran.says("soll plan staging --out FILE").hides("no change");
}

#[test]
fn a_saved_plan_is_approved_elsewhere_and_applied() {
    let mut w = waiting(1);
    w.soll("plan --out $DIR/plan.json").exits(0);
    w.soll("apply --plan $DIR/plan.json").exits(4);
    as_person(&mut w, "bob");
    w.soll("approve staging --plan $DIR/plan.json").exits(0);
    w.soll("apply --plan $DIR/plan.json").exits(0).says("succeeded");
    assert_eq!(w.runs("staging"), "b");
    // One that was saved before words were bound to all of it.
    w.soll("release staging <a>").exits(0);
    w.soll("plan --out $DIR/plan.json").exits(0);
    let mut plan: serde_json::Value = serde_json::from_str(&w.read("plan.json")).unwrap();
    plan["environments"][0].as_object_mut().unwrap().remove("reviewed");
    w.write("plan.json", &plan.to_string());
    w.soll("approve staging --plan $DIR/plan.json").exits(1).says("make the plan again");
}

#[test]
fn the_way_back_may_want_fewer_words_and_no_fewer_than_the_settings_say() {
    let mut w = waiting(1);
    w.edit("approvals = 1", "approvals = 1\napprovals_for_rollback = 0");
    w.soll("apply").exits(4).says("0 of 1 approvals");
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(0);
    w.soll("rollback staging").exits(0);
    w.write("config.toml", "[policy.staging]\napprovals = 1\n");
    w.set("SOLL_CONFIG", "$DIR/config.toml");
    w.soll("plan").exits(0).says("0 of 1 approvals");
    w.write("config.toml", "");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
}

#[test]
fn whoever_committed_it_approves_it_for_nobody() {
    let mut w = waiting(1);
    w.edit("approvals = 1", "approvals = 1\napprovers = { not_author = true }");
    // Whoever touches something else has not made the release.
    as_person(&mut w, "cleo");
    w.edit("attempts = 2", "attempts = 3");
    as_person(&mut w, "ann");
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(4).says("0 of 1 approvals").says("does not count: they committed what it is about");
    // What they say against it counts, until they take it back.
    w.run(&["reject", "staging", "--reason", "wait"]).exits(0);
    w.soll("apply").exits(4).says("rejected by ann");
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(4).hides("rejected by ann");
    as_person(&mut w, "cleo");
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(0);
    // By way of a merge as well: all whose commits it brings have made it.
    as_person(&mut w, "bob");
    w.git(&["checkout", "-q", "-b", "side"]);
    w.edit("release = \"<b>\"", "release = \"<a>\"");
    w.git(&["checkout", "-q", "main"]);
    as_person(&mut w, "cleo");
    w.git(&["merge", "-q", "--no-ff", "-m", "merge", "side"]);
    for name in ["bob", "cleo"] {
        as_person(&mut w, name);
        w.soll("approve staging").exits(0);
        w.soll("apply").exits(4).says("0 of 1 approvals");
    }
    as_person(&mut w, "ann");
    w.soll("approve staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
}
