//! Commands that commit to the state file: one value changes, every other byte stays (contract 1.2).

use crate::support::world::{APP, World, env};

/// A file as people write it.
const LAYOUT: &str = r#"# Who runs what.
schema = 1
include = ["environments/*.toml"]   # one file per customer

[apps.web]
bundle = { url = "bundles/deployment-bundle-{sha}.tar.gz" }

[environments.staging]      # the first one
  root    = "$DIR/staging"	# tab before this
  release = '<a>'           # CI writes this line
"#;

fn laid_out(crlf: bool) -> World {
    let w = World::new();
    let north = "# North\n[environments]\nnorth = { release = \"<a>\", root = \"$DIR/north\" }  # inline\n";
    let end = |text: &str| if crlf { text.replace('\n', "\r\n") } else { text.to_owned() };
    w.write("state/desired-state.toml", &end(LAYOUT));
    w.write("state/environments/north.toml", &end(north));
    w.commit_all("first");
    w
}

#[test]
fn one_value_changes_and_every_other_byte_stays() {
    for crlf in [false, true] {
        let w = laid_out(crlf);
        let (main, north) = (w.read("state/desired-state.toml"), w.read("state/environments/north.toml"));
        w.soll("release staging <b> -m because").exits(0).says("Release bbbbbbbb to staging (commit ");
        assert_eq!(w.read("state/desired-state.toml"), main.replace(&w.fill("<a>"), &w.fill("<b>")));
        assert_eq!(w.git(&["log", "-1", "--format=%B"]), "Release bbbbbbbb to staging\n\nbecause");
        assert_eq!(w.git(&["log", "-1", "--format=%an <%ae>"]), "Ann <ann@example.com>");
        // In the file that defines the environment.
        w.soll("release north <b>").exits(0);
        assert_eq!(w.read("state/environments/north.toml"), north.replace(&w.fill("<a>"), &w.fill("<b>")));
        assert_eq!(w.git(&["show", "--name-only", "--format=", "HEAD"]), "environments/north.toml");
        // There and back.
        let before = (w.read("state/desired-state.toml"), w.read("state/environments/north.toml"));
        for name in ["staging", "north"] {
            w.run(&["freeze", name, "--reason", "a \"quoted\" reason \\ with a backslash"]).exits(0);
            w.soll("validate").exits(0);
            w.soll(&format!("unfreeze {name}")).exits(0);
        }
        assert_eq!((w.read("state/desired-state.toml"), w.read("state/environments/north.toml")), before);
        assert_eq!(w.git(&["status", "--porcelain"]), "");
    }
}

#[test]
fn what_says_so_already_is_not_committed() {
    let w = World::staging("");
    let head = w.head();
    w.soll("release staging <a>").exits(0).says("nothing to commit");
    w.soll("unfreeze staging").exits(0).says("nothing to commit");
    let json = w.soll("release staging <a> --output json").exits(0).json();
    assert_eq!((&json["changed"], &json["commit"]), (&false.into(), &head.clone().into()));
    assert_eq!(w.head(), head);
}

#[test]
fn a_dirty_file_is_refused_and_left_alone() {
    let w = World::staging("");
    w.write("state/desired-state.toml", &(w.read("state/desired-state.toml") + "# not committed yet\n"));
    let (head, text) = (w.head(), w.read("state/desired-state.toml"));
    w.soll("release staging <b>").exits(1).says("desired-state.toml");
    assert_eq!((w.head(), w.read("state/desired-state.toml")), (head, text));
    // Another dirty file is nobody's business.
    w.git(&["checkout", "-q", "--", "."]);
    w.write("state/notes.txt", "mine");
    w.soll("release staging <b>").exits(0);
    assert_eq!(w.read("state/notes.txt"), "mine");
}

#[test]
fn what_would_be_invalid_is_not_committed() {
    let w = World::staging("");
    let head = w.head();
    for release in ["abc123", "main", "latest/..", "null", "v1"] {
        w.soll(&format!("release staging {release}")).exits(1);
        assert_eq!(w.head(), head, "{release}");
    }
    assert_eq!(w.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_bare_repository_is_edited_as_well() {
    let mut w = World::with(&env("staging", 'a', ""));
    w.git(&["clone", "-q", "--bare", ".", w.path("state.git").to_str().unwrap()]);
    w.set("SOLL_REPO", "$DIR/state.git");
    w.soll("release staging <b>").exits(0);
    assert!(w.git_in("state.git", &["show", "main:desired-state.toml"]).contains(&w.fill("<b>")));
    // Without a work tree nothing says where a relative bundle path starts.
    w.soll("apply").exits(1).says("is relative, which needs a state repository with a local work tree");
}

#[test]
fn another_branch_and_another_file() {
    let w = World::staging("");
    w.git(&["checkout", "-q", "-b", "live"]);
    w.git(&["mv", "desired-state.toml", "other.toml"]);
    w.commit_all("renamed");
    w.git(&["checkout", "-q", "main"]);
    let main = w.head();
    w.soll("release staging <b> --branch live --file other.toml").exits(0);
    assert_eq!(w.head(), main);
    assert!(w.git(&["show", "live:other.toml"]).contains(&w.fill("<b>")));
    w.soll("apply --branch live --file other.toml").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn two_definitions_of_one_environment_are_an_error() {
    let w = World::with(&env("staging", 'a', ""));
    w.write("state/environments/again.toml", "[environments.staging]\nrelease = \"<b>\"\nroot = \"$DIR/other\"\n");
    w.commit(&format!("include = [\"environments/*.toml\"]\n{APP}{}", env("staging", 'a', "")));
    let head = w.head();
    w.soll("validate").exits(1).says("staging").says("environments/again.toml");
    w.soll("apply").exits(1);
    w.soll("release staging <b>").exits(1);
    assert_eq!(w.head(), head);
}
