//! What others chose is told as plain text, and nothing that this controller keeps is for others.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use proptest::prelude::{ProptestConfig, proptest};

use crate::support::world::{Ran, World, env, until};

/// Clears the screen, colours, hides, turns the direction, rings, forges a line.
const EVIL: &str = "evil\u{1b}[2J\u{1b}[8m\u{9b}31m\u{202e}\u{2066}\u{7}\u{7f}\u{200b}\rforged";

#[track_caller]
fn plain(what: &str, text: &str) {
    let odd = |c: char| {
        c != '\n' && c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if let Some(found) = text.chars().find(|c| odd(*c)) {
        panic!("{what} shows {found:?}: {text:?}");
    }
}

#[track_caller]
fn told(ran: &Ran, what: &str) {
    plain(what, &ran.stdout);
    plain(what, &ran.stderr);
}

#[test]
fn no_name_of_a_commit_a_person_or_a_file_steers_a_terminal() {
    let mut w = World::with(&env("staging", 'a', ""));
    for name in ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME"] {
        w.set(name, EVIL);
    }
    let accepted = w.commit_all(EVIL);
    w.soll("apply").exits(0);
    std::fs::write(w.path(&format!("staging/current/{EVIL}")), "x").unwrap();
    w.soll("approve staging");
    for command in [
        "plan",
        "status",
        "why staging",
        "history",
        "show 2",
        "diff staging",
        "doctor",
        "preflight staging",
        "adopt staging",
    ] {
        for form in ["text", "json", "markdown"] {
            told(&w.soll(&format!("{command} --output {form}")), &format!("{command} as {form}"));
        }
    }
    let json = w.soll("diff staging --output json");
    // What a host says arrives without what could steer a terminal, this machine's words like those of any other.
    let path = json.json()["hosts"][0]["drift"][0]["path"].as_str().unwrap().to_owned();
    assert!(path.starts_with("evil") && path.ends_with("forged") && !path.contains(char::is_control), "{path:?}");
    // The loop, its log, and what it says of a history that was rewritten.
    for (format, before, wanted) in [("text", "a", "b"), ("json", "b", "c")] {
        w.set("SOLL_LOG_FORMAT", format);
        w.edit(&format!("<{before}>"), &format!("<{wanted}>"));
        w.commit_all(EVIL);
        let daemon = w.start("run -v -v", "log");
        until("the loop has acted", || w.read("log").contains(&format!("{wanted}{wanted}{wanted}")).then_some(()));
        daemon.stop();
        plain("the log", &w.read("log"));
    }
    w.git(&["reset", "-q", "--hard", &format!("{accepted}~1")]);
    w.commit_all("another line");
    for command in ["apply", "acknowledge", "plan"] {
        told(&w.soll(command), command);
    }
    // A state file that is wrong is quoted in its error.
    w.commit(&format!("# {EVIL}\nschema = 1 # {EVIL}\nx = [\n"));
    let ran = w.soll("validate");
    told(&ran, "validate");
    // An included file of such a name.
    w.write(&format!("state/environments/{}.toml", EVIL.replace('\r', "")), "x = 1\n");
    w.commit("schema = 1\ninclude = [\"environments/*.toml\"]\n");
    told(&w.soll("plan --ref main"), "an included file");
}

#[test]
fn the_state_directory_is_private_before_anything_is_in_it() {
    let mode = |w: &World| std::fs::metadata(w.path("ctl")).unwrap().permissions().mode() & 0o7777;
    let mut w = World::with(&env("staging", 'a', ""));
    // Whoever fetches sees a directory that is closed already.
    w.write("bin/git", "#!/bin/sh\nstat -c %a $DIR/ctl >> $DIR/modes\nexit 1\n");
    std::fs::set_permissions(w.path("bin/git"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    w.set("PATH", &format!("{}:{path}", w.path("bin").display()));
    let masked = |w: &World, line: &str| {
        let mut sh = w.program("sh");
        let line = format!("umask 000; exec {} {}", env!("CARGO_BIN_EXE_soll"), w.fill(line));
        sh.args(["-c", &line]).current_dir(w.path("")).output().unwrap()
    };
    masked(&w, "plan --repo https://git.invalid/x.git");
    assert_eq!(w.read("modes").lines().next(), Some("700"), "{}", w.read("modes"));
    w.set("PATH", &path);
    w.soll("plan").exits(0);
    assert_eq!(mode(&w), 0o700);
    // One that was made laxer is closed.
    Command::new("chmod").arg("755").arg(w.path("ctl")).status().unwrap();
    w.soll("plan").exits(0).hides("may look into");
    assert_eq!(mode(&w), 0o700);
    // One that others use as well is left alone, and told.
    std::fs::create_dir(w.path("shared")).unwrap();
    std::fs::write(w.path("shared/of-others"), "x").unwrap();
    Command::new("chmod").arg("1777").arg(w.path("shared")).status().unwrap();
    w.soll("plan --state-dir $DIR/shared").exits(0).says("may look into");
    assert_eq!(std::fs::metadata(w.path("shared")).unwrap().permissions().mode() & 0o7777, 0o1777);
}

#[test]
fn a_repository_with_a_strange_address_is_an_error() {
    for place in ["https://[fe80:1]é/x", "https://[::1]é", "ssh://[::1]é/x", "git@[::1]é:x", "é@é:é", "https://é:é@é/é"]
    {
        let w = World::with(&env("staging", 'a', "").replace("<a>", "v1"));
        w.edit("[apps.web]\n", &format!("[apps.web]\nrepository = \"{place}\"\n"));
        let ran = w.soll("plan");
        assert!([0, 1, 6].contains(&ran.exit), "{place}: {} {}", ran.exit, ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{place}: {}", ran.stderr);
        w.soll(&format!("plan --repo {place}")).exits(1).hides("panicked");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]
    /// Every reader of an address, a name or a template ends with an answer, whatever stands there.
    #[test]
    fn any_text_is_read_without_a_panic(text in "(https?://|file://|\\[|[a-z]{0,3}:|)\\PC{0,12}[é\\u{301}\\u{202e}:@/\\]{}]{0,4}\\PC{0,6}") {
        let _ = text.parse::<soll::artifact::source::Location>().map(|place| (place.file_name(), place.to_string()));
        let _ = soll::artifact::source::Source::beside(&text);
        let _ = soll::artifact::origins::BundleOrigin::parse(&text);
        let _ = soll::model::address::redacted(&text);
        let _ = soll::model::origin::Origin::of(&text);
        let _ = soll::model::origin::Origin::parse(&text);
        let _ = soll::model::template::fill(&text, &Default::default());
        let _ = soll::model::template::names(&text);
        let _: Vec<_> = soll::model::calls::calls(&text).iter().map(|call| call.behind_sudo().is_some()).collect();
        let _ = soll::model::desired::release::check(&text);
        let _ = soll::run::local_roots::RootGlob::new(&text);
        let _ = (text.parse::<soll::model::ids::EnvName>(), text.parse::<soll::model::ids::Digest>());
        let _ = soll::model::mask::mask(&text, "é");
    }
}
