//! What the doctor finds on a root of this machine, and that it changes nothing.

use super::{found, one};
use crate::support::world::{World, env};

const FILES: &str =
    "shared_files = [{ path = \".env\", from = \".env/production.env\" }]\nshared_dirs = [\"uploads\"]\n";

fn world(more: &str) -> World {
    World::with(&env("staging", 'a', &format!("{FILES}{more}")))
}

#[test]
fn a_host_that_is_ready_is_called_so_and_stays_as_it_is() {
    let w = world("required_env = [\"APP_KEY\"]");
    w.write("staging/shared/.env/production.env", "APP_KEY=secret-value-1\n");
    w.soll("apply").exits(0);
    let before = w.tree("staging");
    let said = w.soll("doctor staging --output json").exits(0);
    assert_eq!(w.tree("staging"), before);
    one(&said, "state repository", "ok: ");
    one(&said, "current", &format!("ok: leads to {}", w.release("staging")));
    one(&said, "variables", "ok: shared/.env/production.env sets all 1");
    one(&said, "clock", "ok: ");
    one(&said, "root", "ok: ");
    assert_eq!(found(&said, "shared path").len(), 2);
    assert!(found(&said, "file system")[0].starts_with("ok: "));
    said.hides("secret-value-1").hides("\"fail\"");
    w.soll("doctor staging").exits(0).says("staging").says("ok      current: leads to");
}

#[test]
fn an_empty_host_hears_what_to_do_next() {
    let said = world("required_env = [\"APP_KEY\"]").soll("doctor --output json").exits(1);
    for check in ["root", "releases", "shared"] {
        one(&said, check, "fail: ");
    }
    assert!(said.stdout.contains("soll provision staging"));
    assert!(
        found(&said, "shared path")
            .iter()
            .any(|f| f.starts_with("fail: the file shared/.env/production.env is missing"))
    );
    one(&said, "variables", "fail: shared/.env/production.env does not set APP_KEY");
}

#[test]
fn links_files_and_directories_in_the_wrong_place_are_told() {
    let w = world("");
    w.soll("provision staging").exits(0);
    w.write("staging/shared/.env/production.env/oops", "");
    w.write("staging/current/x", "");
    let said = w.soll("doctor --output json").exits(1);
    one(&said, "current", "fail: is a file or a directory of its own");
    assert!(found(&said, "shared path").contains(&"fail: shared/.env/production.env is a directory".to_owned()));
    std::fs::remove_dir_all(w.path("staging/current")).unwrap();
    std::os::unix::fs::symlink("/tmp", w.path("staging/current")).unwrap();
    one(&w.soll("doctor --output json").exits(1), "current", "fail: leads to /tmp");
}

#[test]
fn the_programs_of_commands_are_looked_for() {
    let hooks = "[[environments.staging.hooks]]\nphase = \"post-switch\"\nname = \"caches\"\nrun = \"no-such-program-1 x && sh -c true; no-such-program-2\"\n";
    let w = world(hooks);
    let said = w.soll("doctor --output json").exits(1);
    let tools = found(&said, "tool");
    assert!(
        tools.iter().any(|t| t.starts_with("fail: post-switch hook `caches` calls no-such-program-1")),
        "{tools:?}"
    );
    assert!(
        tools.iter().any(|t| t.starts_with("warn: post-switch hook `caches` may call no-such-program-2")),
        "{tools:?}"
    );
    assert!(tools.iter().any(|t| t.starts_with("ok: sh is /")), "{tools:?}");
    assert!(!w.path("staging").exists(), "nothing was run and nothing was made");
}

#[test]
fn what_wants_sudo_is_asked_of_sudo() {
    let hooks = "[[environments.staging.hooks]]\nphase = \"post-switch\"\nname = \"reload\"\nrun = \"sudo -n no-such-program reload php8.3-fpm\"\n";
    let w = world(hooks);
    let said = w.soll("doctor --output json").exits(1);
    let sudo = found(&said, "sudo");
    // As this machine has it: without sudo nothing is allowed; with it, its list decides.
    let there = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"]
        .iter()
        .any(|d| std::path::Path::new(d).join("sudo").exists());
    assert_eq!(sudo.len(), 1, "{sudo:?}");
    let wanted = if there { "no-such-program reload php8.3-fpm" } else { "there is no `sudo` on this host" };
    assert!(sudo[0].contains(wanted), "{sudo:?}");
}

#[test]
fn tokens_are_compared_and_never_shown() {
    let check = "[[environments.staging.health.checks]]\nname = \"api\"\nhttp = \"http://127.0.0.1:1/health\"\nbearer = \"API_TOKEN\"\n";
    let mut w = world(check);
    w.soll("provision staging").exits(0);
    let said = w.soll("doctor --output json").exits(1);
    one(&said, "secret", "fail: checks send the secret API_TOKEN");
    w.set("SOLL_SECRET_API_TOKEN", "controller-value");
    w.write(
        "staging/shared/.env/production.env",
        "API_TOKEN=first\nexport API_TOKEN=\"controller-value\" # the last counts\n",
    );
    let said = w.soll("doctor --output json").exits(0).hides("controller-value");
    one(&said, "token", "ok: API_TOKEN is the same");
    w.write("staging/shared/.env/production.env", "API_TOKEN=another-value\n");
    let said = w.soll("doctor --output json").exits(1).hides("controller-value").hides("another-value");
    one(&said, "token", "fail: P1: API_TOKEN");
    w.write("staging/shared/.env/production.env", "OTHER=another-value\n");
    one(&w.soll("doctor --output json").exits(0), "token", "unknown: ");
}

#[test]
fn a_state_file_with_mistakes_is_a_finding() {
    let w = world("");
    w.commit("schema = 1\nnonsense = 2\n");
    one(&w.soll("doctor --output json").exits(1), "state repository", "fail: ");
}
