//! A newest commit that may not be acted on is text (law 11): whatever it names, no command touches it.

use super::{SECRET, Trap, guarded, signs};
use crate::support::web::{free_port, get};
use crate::support::world::{World, env, until};

/// What a stranger may write into the state file, whom nobody allowed to. `{url}` and `{port}` lead to them; what runs would
/// leave a trace.
const VARIANTS: &[(&str, &str)] = &[
    (
        "a check of the controller that sends a secret",
        "[[environments.staging.health.checks]]\nname = \"theirs\"\nhttp = \"{url}\"\nbearer = \"HEALTHCHECK_TOKEN\"\nfrom = \"controller\"\n",
    ),
    (
        "a check of the host that sends a secret",
        "[[environments.staging.health.checks]]\nname = \"theirs\"\nhttp = \"{url}\"\nbearer = \"HEALTHCHECK_TOKEN\"\n",
    ),
    (
        "a check that connects",
        "[[environments.staging.health.checks]]\nname = \"theirs\"\ntcp = \"127.0.0.1:{port}\"\n",
    ),
    (
        "commands",
        "[[environments.staging.gates]]\nname = \"gate\"\nrun = \"touch $DIR/trace\"\n\
         [[environments.staging.hooks]]\nphase = \"stop\"\nrun = \"touch $DIR/trace\"\n\
         [[environments.staging.hooks]]\nphase = \"start\"\nrun = \"touch $DIR/trace\"\n\
         [[environments.staging.hooks]]\nphase = \"maintenance-on\"\nrun = \"touch $DIR/trace\"\n\
         [[environments.staging.health.checks]]\nname = \"runs\"\nrun = \"touch $DIR/trace\"\n",
    ),
    (
        "a host that is theirs",
        "[environments.fresh]\nrelease = \"<a>\"\nroot = \"$DIR/fresh\"\nhosts = [\"theirs\"]\n\
         [hosts.theirs]\naddress = \"127.0.0.1\"\nport = {port}\n",
    ),
    (
        "a bundle, its checksum and its record at an address of theirs",
        "[environments.fresh]\nrelease = \"<b>\"\nroot = \"$DIR/fresh\"\nchecks = [\"tests\"]\n\
         bundle = { url = \"{url}/b\", sha256 = \"{url}/s\", checks = \"{url}/c\" }\n",
    ),
    (
        "a repository of theirs to look for a tag in",
        "[apps.theirs]\nbundle = { url = \"{url}/{sha}\" }\nrepository = \"{url}/x.git\"\n\
         [environments.fresh]\napp = \"theirs\"\nrelease = \"v1\"\nroot = \"$DIR/fresh\"\n\
         [environments.production.promote]\nfrom = \"fresh\"\nmatch = \"tree\"\n",
    ),
    ("a root of theirs", "[environments.fresh]\nrelease = \"<a>\"\nroot = \"$DIR/fresh\"\n"),
];

/// Every command that looks, acts or examines.
const COMMANDS: &[&str] = &[
    "plan",
    "plan --output json",
    "status",
    "why staging",
    "diff staging",
    "wait staging --timeout 0s",
    "doctor",
    "preflight staging",
    "stop staging",
    "start staging",
    "retry staging",
    "cancel staging",
    "adopt staging --dry-run",
    "provision staging",
    "approve staging",
    "release staging <b>",
    "promote staging production",
    "rollback staging",
    "freeze staging --reason mine",
    "apply",
    "acknowledge",
    // An environment that only the stranger has.
    "why fresh",
    "preflight fresh",
    "provision fresh",
    "stop fresh",
    "diff fresh",
    "adopt fresh",
];

/// The state file with a stranger's lines in it.
fn tampered(w: &World, trap: &Trap, lines: &str) -> String {
    let lines = lines.replace("{url}", &trap.url("")).replace("{port}", &trap.port().to_string());
    w.read("state/desired-state.toml") + &lines
}

#[track_caller]
fn untouched(w: &World, trap: &Trap, what: &str) {
    assert!(!trap.is_sprung(), "{what}: their server was asked");
    assert!(!w.path("trace").exists(), "{what}: their command ran");
    assert!(!w.path("fresh").exists(), "{what}: their root was touched");
}

/// Every command on a head that nobody signed, which has these lines.
fn nothing_is_done_on_the_word_of(variants: &[(&str, &str)]) {
    let w = guarded();
    signs(&w, None);
    let (good, text) = (w.head(), w.read("state/desired-state.toml"));
    for (what, lines) in variants {
        let trap = Trap::set();
        let head = w.commit(&tampered(&w, &trap, lines));
        for command in COMMANDS {
            let ran = w.soll(command);
            untouched(&w, &trap, &format!("{what}, soll {command}"));
            let all = ran.stdout + &ran.stderr;
            assert!(!all.contains(SECRET), "{what}, soll {command}: {all}");
        }
        assert_eq!(w.head(), head, "{what}: something was committed on it");
        w.soll("status").exits(0).says("not signed").says(&good[..8]).says(&head[..8]);
        // The stop of the accepted commit went through, and was started again.
        assert!(w.record("staging")["stopped"].is_null());
        w.git(&["reset", "-q", "--hard", &good]);
        assert_eq!(w.read("state/desired-state.toml"), text);
    }
}

#[test]
fn an_unsigned_commit_gets_no_secret_and_runs_nothing() {
    nothing_is_done_on_the_word_of(&VARIANTS[..4]);
}

#[test]
fn an_unsigned_commit_leads_to_no_other_place() {
    nothing_is_done_on_the_word_of(&VARIANTS[4..]);
}

#[test]
fn an_include_of_an_unsigned_commit_is_text_as_well() {
    let w = guarded();
    signs(&w, None);
    let trap = Trap::set();
    let text = w.read("state/desired-state.toml");
    w.write("state/more/fresh.toml", &VARIANTS[4].1.replace("{port}", &trap.port().to_string()));
    w.commit(&text.replace("schema = 1\n", "schema = 1\ninclude = [\"more/*.toml\"]\n"));
    for command in COMMANDS {
        w.soll(command);
        untouched(&w, &trap, command);
    }
    w.soll("plan fresh").exits(0).says("the accepted commit has no such environment");
}

#[test]
fn what_a_daemon_publishes_is_of_the_accepted_commit() {
    let mut w = guarded();
    let good = w.head();
    signs(&w, None);
    w.set("SOLL_POLL", "1h");
    for (what, lines) in VARIANTS {
        let trap = Trap::set();
        let address = format!("127.0.0.1:{}", free_port());
        let daemon = w.start(&format!("run --listen {address}"), "daemon.log");
        until("the daemon publishes", || get(&address, "/observation"));
        w.commit(&tampered(&w, &trap, lines));
        until("it refuses", || w.read("daemon.log").contains("not acted on").then_some(()));
        let seen = get(&address, "/observation").unwrap();
        assert_eq!(daemon.stop(), Some(0));
        untouched(&w, &trap, what);
        let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
        assert_eq!(seen["commit"], good, "{what}");
        assert!(seen["observed"]["environments"]["fresh"].is_null(), "{what}");
        w.git(&["reset", "-q", "--hard", &good]);
    }
}

#[test]
fn where_no_commit_is_accepted_nothing_is_touched() {
    let mut w = guarded();
    w.set("SOLL_ALLOWED_SIGNERS", "$DIR/others");
    w.write("others", &format!("eve@example.com {}", w.read("eve.pub")));
    w.set("SOLL_STATE_DIR", "$DIR/fresh-controller");
    let (before, head) = (w.tree("staging"), w.head());
    for command in COMMANDS {
        let ran = w.soll(command);
        let expected = match *command {
            "plan" | "plan --output json" => 0,
            "doctor" => 1,
            _ => 4,
        };
        ran.exits(expected).says("not among the allowed signers");
    }
    assert_eq!(w.tree("staging"), before);
    assert_eq!(w.head(), head);
    let plan = w.soll("plan --output json").json();
    for env in plan["environments"].as_array().unwrap() {
        assert_eq!((&env["sync"], &env["health"]), (&"unknown".into(), &"unknown".into()), "{env}");
    }
    assert!(plan["refused"].as_str().unwrap().contains("not among the allowed signers"), "{plan}");
    let address = format!("127.0.0.1:{}", free_port());
    let daemon = w.start(&format!("run --listen {address}"), "daemon.log");
    until("it listens", || get(&address, "/healthz"));
    assert_eq!(get(&address, "/observation"), None);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_rewritten_branch_is_text_until_it_is_acknowledged() {
    let w = World::with(&env("staging", 'a', ""));
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    let good = w.head();
    w.git(&["reset", "-q", "--hard", "HEAD~1"]);
    let trap = Trap::set();
    let head = w.commit(&tampered(&w, &trap, VARIANTS[3].1));
    for command in ["plan", "status", "why staging", "diff staging", "doctor", "preflight staging"] {
        w.soll(command);
        untouched(&w, &trap, command);
    }
    for command in ["stop staging", "start staging"] {
        w.soll(command).exits(0).says("the branch was rewritten").says(&good[..8]);
        untouched(&w, &trap, command);
    }
    // The accepted commit, from which it was stopped and started, runs on.
    w.soll("status").exits(0).says("in-sync").says("succeeded  bbbbbbbb");
    let plan = w.soll("plan --output json").exits(0).json();
    assert_eq!((&plan["commit"], &plan["accepted"]), (&head.as_str().into(), &good.as_str().into()));
    assert!(plan["refused"].as_str().unwrap().contains("the branch was rewritten"), "{plan}");
    assert_eq!(plan["environments"][0]["hosts"][0]["reachable"], true);
    for command in ["release staging <a>", "freeze staging --reason x", "rollback staging --to <a>", "approve staging"]
    {
        w.soll(command).exits(4).says("the branch was rewritten");
    }
    assert_eq!(w.head(), head);
    w.soll("wait staging --timeout 0s").exits(4).says("the branch was rewritten");
    w.soll("acknowledge").exits(0);
    w.soll("stop staging").exits(0);
    assert!(w.path("trace").exists());
}

#[test]
fn an_older_clone_stops_nothing_by_its_own_hooks() {
    let mut w = World::staging("[[environments.staging.hooks]]\nphase = \"stop\"\nrun = \"touch $DIR/trace\"\n");
    w.git(&["clone", "-q", ".", w.path("clone").to_str().unwrap()]);
    w.edit("touch $DIR/trace", "true");
    w.soll("apply").exits(0);
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    w.set("SOLL_REPO", "$DIR/clone");
    w.set("SOLL_STATE_DIR", "$DIR/laptop");
    for command in ["stop staging", "preflight staging"] {
        w.soll(command).exits(4).says("the branch was rewritten");
    }
    assert!(!w.path("trace").exists());
    assert!(w.record("staging")["stopped"].is_null());
}
