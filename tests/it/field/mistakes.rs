//! One customer's file has a mistake in it, and the others are customers too.

use crate::support::world::{APP, World, env, until};

/// What `north`'s own file says.
fn north(letter: char) -> String {
    env("north", letter, "").replace("\nroot", "\nkeep_releases = 3\nroot")
}

/// Two customers, a file each, both running `a`.
fn world() -> World {
    let w = World::with("");
    w.write("state/customers/north.toml", &north('a'));
    w.write("state/customers/south.toml", &env("south", 'a', ""));
    w.commit(&format!("include = [\"customers/*.toml\"]\n{APP}"));
    w.soll("apply").exits(0);
    w
}

/// Somebody commits a file of north's that nobody can read.
fn mistake(w: &World) {
    w.write("state/customers/north.toml", &north('b').replace("keep_releases", "keep_relaeses"));
    w.commit_all("more releases for north");
}

#[test]
fn a_mistake_in_one_customers_file_keeps_nobody_from_looking() {
    let w = world();
    mistake(&w);
    let said = w.soll("status").exits(0).says("customers/north.toml is wrong in commit").says("keep_relaeses");
    let said = said.says("north as commit").says("south        in-sync");
    assert!(said.stdout.contains("north        in-sync"), "{}", said.stdout);
    assert_eq!(w.soll("status --output json").exits(0).json()["wrong"][0]["file"], "customers/north.toml");
    w.soll("why south").exits(0);
    w.soll("plan").exits(0).says("keep_relaeses").hides("bbbbbbbb");
    w.soll("doctor").exits(1).says("keep_relaeses");
    // What is wrong is found by whoever asks for it.
    w.soll("validate").exits(1).says("keep_relaeses");
}

#[test]
fn the_others_are_frozen_released_and_rolled_back_meanwhile() {
    let w = world();
    w.soll("release south <b>").exits(0);
    w.soll("apply").exits(0);
    mistake(&w);
    w.soll("rollback south").exits(0).says("Roll south back to aaaaaaaa");
    w.soll("apply south").exits(0);
    assert_eq!((w.runs("south"), w.runs("north")), ("a".into(), "a".into()));
    w.run(&["freeze", "south", "--reason", "incident"]).exits(0);
    w.soll("release south <b>").exits(0);
    w.soll("apply south").exits(4).says("incident");
    // Nothing is decided about the customer whose file nobody can read, and nothing is made worse.
    let head = w.head();
    for line in
        ["release north <b>", "freeze north --reason x", "rollback north --to <b>", "apply north", "approve north"]
    {
        w.soll(line).exits(1).says("customers/north.toml:").says("keep_relaeses");
    }
    assert_eq!(w.head(), head);
    w.soll("unfreeze south").exits(0);
    // All that is good is done, and the exit code says that something is not.
    w.soll("apply").exits(1);
    assert_eq!((w.runs("south"), w.runs("north")), ("b".into(), "a".into()));
    w.write("state/customers/north.toml", &north('b'));
    w.commit_all("corrected");
    w.soll("apply").exits(0).hides("wrong in commit");
    assert_eq!(w.runs("north"), "b");
}

#[test]
fn who_is_kept_for_one_mistake_stays_where_another_one_mentions_them() {
    let w = world();
    mistake(&w);
    // The file of the other customer breaks as well, and has a table of the first one in it.
    let both = format!("{}{}", env("south", 'a', "keep_relaeses = 3"), env("north", 'b', ""));
    w.write("state/customers/south.toml", &both);
    w.commit_all("a table too many");
    w.soll("status").exits(0).says("north as commit").says("south as commit");
    let seen = w.soll("status --output json").exits(0).json();
    let names: Vec<_> = seen["environments"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["north", "south"], "{seen:#}");
}

#[test]
fn what_was_released_last_stays_where_another_mistake_comes_with_the_correction() {
    let w = world();
    w.write("state/customers/south.toml", &env("south", 'a', "keep_relaeses = 3"));
    w.write("state/customers/north.toml", &north('b'));
    w.commit_all("a mistake for south, a release for north");
    w.soll("apply north").exits(0);
    // North's release was never in a commit that was good as a whole: it is no older one that north goes back to.
    w.write("state/customers/south.toml", &env("south", 'b', ""));
    w.write("state/customers/north.toml", &format!("{}[oops", north('b')));
    w.commit_all("the other way round");
    w.soll("apply").exits(1).says("customers/north.toml");
    assert_eq!((w.runs("south"), w.runs("north")), ("b".into(), "b".into()));
}

#[test]
fn a_root_that_another_environment_has_by_now_is_not_fought_for() {
    let w = world();
    mistake(&w);
    let moved = env("southern", 'b', "").replace("/southern", "/north");
    w.write("state/customers/south.toml", &format!("{}{moved}", env("south", 'a', "")));
    w.commit_all("north's root is another one's");
    let all = w.soll("status --output json").exits(0).json();
    let names: Vec<_> = all["environments"].as_array().unwrap().iter().map(|env| env["name"].clone()).collect();
    assert_eq!(names, ["south", "southern"]);
}

#[test]
fn a_mistake_in_the_state_file_itself_leaves_everything_as_the_commit_before_has_it() {
    let w = world();
    w.edit("schema = 1", "shcema = 1");
    w.soll("status").exits(0).says("is not acted on").says("shcema").says("the last one that may be acted on");
    w.soll("apply").exits(1).says("shcema");
    w.soll("freeze south --reason x").exits(1).says("shcema");
    w.edit("shcema = 1", "schema = 1");
    w.soll("status").exits(0).hides("not acted on");
}

#[test]
fn a_loop_that_starts_beside_a_mistake_looks_after_everybody() {
    let mut w = world();
    w.set("SOLL_POLL", "100ms");
    mistake(&w);
    std::fs::remove_dir_all(w.path("ctl")).unwrap();
    std::fs::remove_file(w.path("north/current")).unwrap();
    let daemon = w.start("run", "run.log");
    until("north is put right", || (w.runs("north") == "a").then_some(()));
    w.soll("release south <b>").exits(0);
    until("south is deployed", || (w.runs("south") == "b").then_some(()));
    w.write("state/customers/north.toml", &north('b'));
    w.commit_all("corrected");
    until("north is deployed", || (w.runs("north") == "b").then_some(()));
    assert_eq!(daemon.stop(), Some(0), "{}", w.read("run.log"));
    assert!(w.read("run.log").contains("customers/north.toml is wrong in commit"), "{}", w.read("run.log"));
    // The same where nothing of the newest commit can be read.
    w.edit("schema = 1", "shcema = 1");
    std::fs::remove_dir_all(w.path("ctl")).unwrap();
    std::fs::remove_file(w.path("south/current")).unwrap();
    let daemon = w.start("run", "run.log");
    until("south is put right", || (w.runs("south") == "b").then_some(()));
    assert_eq!(daemon.stop(), Some(0), "{}", w.read("run.log"));
    assert!(w.read("run.log").contains("shcema"), "{}", w.read("run.log"));
}

/// All customers in one file, as it is where there are few.
fn one_file() -> World {
    let w = World::with(&format!("{}{}", north('a'), env("south", 'a', "")));
    w.soll("apply").exits(0);
    w.soll("release south <b>").exits(0);
    w.soll("apply").exits(0);
    w
}

#[test]
fn a_mistake_about_one_customer_in_the_state_file_itself_stops_no_other_one() {
    let w = one_file();
    w.edit("keep_releases", "keep_relaeses");
    let said = w.soll("status").exits(0).says("the environment north of desired-state.toml is wrong in commit");
    said.says("north as commit").says("keep_relaeses");
    w.soll("rollback south").exits(0).says("Roll south back to aaaaaaaa");
    w.soll("apply south").exits(0);
    assert_eq!((w.runs("south"), w.runs("north")), ("a".into(), "a".into()));
    w.run(&["freeze", "south", "--reason", "incident"]).exits(0);
    w.soll("unfreeze south").exits(0);
    w.soll("release south <b>").exits(0);
    w.soll("plan south").exits(0).says("south  GO");
    let head = w.head();
    for line in ["release north <b>", "freeze north --reason x", "apply north", "approve north"] {
        w.soll(line).exits(1).says("keep_relaeses");
    }
    assert_eq!(w.head(), head);
    w.soll("apply").exits(1);
    assert_eq!((w.runs("south"), w.runs("north")), ("b".into(), "a".into()));
    // Of two mistakes each is told, and each customer stays as the last commit that was good about it.
    w.edit("[environments.south]", "[environments.south]\ncheks = []");
    w.soll("status").exits(0).says("keep_relaeses").says("cheks").says("south        in-sync");
    w.edit("keep_relaeses", "keep_releases");
    w.soll("release north <b>").exits(0);
    w.soll("apply north").exits(0);
    assert_eq!(w.runs("north"), "b");
    // What is not whole as TOML is nobody's alone: nothing is decided, and everybody is looked at.
    w.edit("[environments.north]", "[environments.north");
    w.soll("status").exits(0).says("is not acted on").says("the last one that may be acted on");
    w.soll("freeze north --reason x").exits(1).says("desired-state.toml");
}

/// Who uses what a wrong environment is needed for waits with it.
#[test]
fn whoever_is_promoted_from_a_customer_with_a_mistake_waits_with_it() {
    let promoted = env("south", 'a', "promote = { from = \"north\", soak = \"0s\" }");
    let w = World::with(&format!("{}{promoted}{}", north('a'), env("west", 'a', "")));
    w.soll("apply north").exits(0);
    w.soll("apply").exits(0);
    w.edit("keep_releases", "keep_relaeses");
    w.soll("release west <b>").exits(0);
    w.soll("apply").exits(1).says("north as commit").says("south as commit");
    assert_eq!(w.runs("west"), "b");
    w.soll("release south <b>").exits(1).says("keep_relaeses");
}

/// An editor saved it in another encoding; somebody put a link in its place. The mistake is in that file alone.
#[test]
fn a_file_that_is_no_text_is_one_with_a_mistake() {
    let w = world();
    let file = w.path("state/customers/north.toml");
    let umlaut = [b"# M\xfcller\n".as_slice(), w.fill(&north('b')).as_bytes()].concat();
    std::fs::write(&file, umlaut).unwrap();
    w.commit_all("from another editor");
    let refused = |w: &World, why: &str| {
        w.soll("status").exits(0).says("customers/north.toml is wrong in commit").says(why);
        w.soll("validate").exits(1).says(why);
        w.soll("freeze south --reason x").exits(0);
        w.soll("unfreeze south").exits(0);
        w.soll("freeze north --reason x").exits(1).says(why);
    };
    refused(&w, "is not UTF-8");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
    w.commit_all("a link");
    refused(&w, "is a symbolic link");
    // A name of its own in `include` is no other case.
    w.edit("customers/*.toml\"]", "customers/south.toml\", \"customers/north.toml\"]");
    refused(&w, "is a symbolic link");
}

#[test]
fn a_state_file_that_is_gone_leaves_everything_as_the_commit_before_has_it() {
    let w = world();
    w.git(&["rm", "-q", "desired-state.toml"]);
    w.commit_all("gone");
    w.soll("status").exits(0).says("has no desired-state.toml in commit").says("south        in-sync");
    w.soll("why south").exits(0);
    w.soll("apply").exits(1).says("has no desired-state.toml in commit");
    w.soll("freeze south --reason x").exits(1).says("has no desired-state.toml in commit");
}

/// One of two that claim a place is wrong, and nobody can say which: neither gets it.
#[test]
fn a_root_that_a_mistake_takes_from_another_customer_is_given_to_nobody() {
    let w = one_file();
    w.edit("keep_releases = 3\nroot = \"$DIR/north\"", "root = \"$DIR/south\"");
    let said = w.soll("status").exits(0).says("share the root").says("north as commit").says("south as commit");
    assert!(said.stdout.contains("south        in-sync"), "{}", said.stdout);
    w.soll("apply").exits(1);
    assert_eq!((w.runs("south"), w.runs("north")), ("b".into(), "a".into()));
    // In files of their own as well.
    let w = world();
    w.write("state/customers/north.toml", &north('b').replace("/north\"", "/south\""));
    w.commit_all("north's root is south's");
    w.soll("apply").exits(1).says("share the root");
    assert_eq!((w.runs("south"), w.runs("north")), ("a".into(), "a".into()));
}
