//! An environment without hosts runs its commands on the controller: only where the settings allow that.

use crate::support::world::{APP, World, env};

/// A controller whose state repository is elsewhere: a stand-in for git fetches it from this world.
fn elsewhere(settings: &str) -> World {
    let mut w = World::with(&env("staging", 'a', ""));
    // Relative bundles need a work tree.
    w.edit("url = \"bundles/", "url = \"file://$DIR/state/bundles/");
    w.git(&["clone", "-q", "--bare", ".", "../far.git"]);
    w.write("gitconfig", "[url \"file://$DIR/far.git\"]\n\tinsteadOf = https://git.example.invalid/state.git\n");
    w.set("GIT_CONFIG_GLOBAL", "$DIR/gitconfig");
    w.set("SOLL_REPO", "https://git.example.invalid/state.git");
    w.set("SOLL_CONFIG", "$DIR/config.toml");
    w.write("config.toml", settings);
    w
}

#[test]
fn a_repository_elsewhere_may_act_nowhere_on_this_machine() {
    let w = elsewhere("");
    let plan = w.soll("plan --output json").json();
    let blocker = &plan["environments"][0]["blockers"][0];
    assert_eq!((blocker["code"].as_str(), blocker["grade"].as_str()), (Some("local-root"), Some("P0")), "{plan}");
    assert!(blocker["fix"].as_str().unwrap().contains("local_roots = "), "{blocker}");
    w.soll("apply").exits(4).says("local_roots");
    // Everything else that acts on a root, whatever a plan says.
    for command in [
        "provision staging",
        "stop staging --reason x",
        "start staging",
        "preflight staging",
        "adopt staging",
        "doctor",
    ] {
        let ran = w.soll(command);
        assert_ne!(ran.exit, 0, "{command}: {}", ran.stdout);
        ran.says("local_roots");
    }
    w.soll("diff staging").says("local_roots");
    assert!(!w.path("staging").exists(), "nothing was made: {:?}", w.tree("staging"));
}

#[test]
fn hosts_that_may_be_skipped_are_refused_all_the_same() {
    let w = elsewhere("");
    w.git_in("far.git", &["update-ref", "refs/heads/main", "main"]);
    let state = w.read("state/desired-state.toml");
    w.commit(&format!("{state}unreachable = \"skip\"\n"));
    w.git(&["push", "-q", "../far.git", "main"]);
    w.soll("apply").exits(4).says("local_roots");
    assert!(!w.path("staging").exists());
}

#[test]
fn named_roots_may_be_acted_on_and_no_others() {
    let w = elsewhere("local_roots = [\"$DIR/*\"]\n");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    w.write("config.toml", "local_roots = [\"$DIR/www/*\"]\n");
    w.soll("plan").says("local-root");
    // A way out through a link.
    std::fs::create_dir(w.path("www")).unwrap();
    std::os::unix::fs::symlink(w.path("staging"), w.path("www/staging")).unwrap();
    let state = w.read("state/desired-state.toml");
    w.commit(&state.replace("/staging\"", "/www/staging\"").replace(&"a".repeat(40), &"b".repeat(40)));
    w.git(&["push", "-q", "../far.git", "main"]);
    w.soll("apply").exits(4).says("leads to");
    assert_eq!(w.runs("staging"), "a");
}

#[test]
fn a_repository_of_this_machine_may_act_on_it_unless_the_settings_say_where() {
    let mut w = World::with(&env("staging", 'a', ""));
    w.set("SOLL_CONFIG", "$DIR/config.toml");
    w.write("config.toml", "local_roots = []\n");
    w.soll("apply").exits(4).says("local_roots");
    assert!(!w.path("staging").exists());
    w.write("config.toml", "");
    w.soll("apply").exits(0);
    // By its address, too.
    w.edit("url = \"bundles/", "url = \"file://$DIR/state/bundles/");
    w.edit("<a>", "<b>");
    w.soll("apply --repo file://$DIR/state").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn a_server_that_pulls_acts_on_itself() {
    let w = elsewhere("");
    let state =
        format!("{APP}[hosts.web1]\naddress = \"web1.invalid\"\n{}", env("staging", 'a', "hosts = [\"web1\"]\n"));
    w.commit(&state.replace("url = \"bundles/", "url = \"file://$DIR/state/bundles/"));
    w.git(&["push", "-q", "../far.git", "main"]);
    w.soll("apply --host web1").exits(0);
    assert_eq!(w.runs("staging"), "a");
}

#[test]
fn a_glob_that_is_none_is_an_error_with_its_line() {
    for bad in ["\"var/www/*\"", "\"/var/../etc\"", "\"/var/[\"", "7"] {
        let w = elsewhere(&format!("\nlocal_roots = [{bad}]\n"));
        w.soll("plan").exits(1).says("config.toml").says("line 2");
    }
}
