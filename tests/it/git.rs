//! Releases of kind `git` (contract 1.5): the real program, and real repositories of applications.

mod deploying;
mod forges;
mod hosts;
mod mirrors;
mod promoting;
mod refused;
mod servers;
mod submodules;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::world::{World, env};

/// The head of most state files here: `CHECKOUT` stands for more lines of the application.
const APP: &str = r#"schema = 1

[apps.web]
kind = "git"
repository = "$DIR/app"
CHECKOUT
[apps.web.health]
attempts = 2
interval = "20ms"
[[apps.web.health.checks]]
name = "alive"
run = "test ! -e broken"
"#;

/// A world with a repository of an application, and no commit in it.
fn empty() -> World {
    let w = World::new();
    w.write("app/index.html", "");
    w.git_in("app", &["init", "-q", "-b", "main"]);
    w
}

/// One whose application has one commit, `index.html` with `one`; `staging` desires it. `checkout`: more lines of the
/// application. `more`: of the environment.
fn app(checkout: &str, more: &str) -> World {
    let w = empty();
    let first = grow(&w, &[("index.html", "one")]);
    desire(&w, checkout, &staging(&first, more));
    w
}

/// An environment `staging` that desires this.
fn staging(release: &str, more: &str) -> String {
    env("staging", 'a', more).replace("<a>", release)
}

/// Records how the check `test` of a commit came out, in the record of the commit `of`.
fn record(w: &World, sha: &str, of: &str, test: &str) {
    let whole = "\"status\": \"completed\", \"conclusion\": \"success\"";
    w.write(
        &format!("checks/{sha}.json"),
        &format!("{{\"sha\": \"{of}\", {whole}, \"checks\": {{\"test\": \"{test}\"}}}}"),
    );
}

/// Commits a state file with these environments.
fn desire(w: &World, checkout: &str, environments: &str) -> String {
    w.commit(&format!("{}{environments}", APP.replace("CHECKOUT", checkout)))
}

/// One more commit of the application with these files. Gives its id.
fn grow(w: &World, files: &[(&str, &str)]) -> String {
    for (name, text) in files {
        w.write(&format!("app/{name}"), text);
    }
    commit(w, "app")
}

/// Commits all that lies in a repository of this world. Gives the id.
fn commit(w: &World, repository: &str) -> String {
    w.commit_in(repository, "change")
}

/// A server that never comes to its end, in place of git's own: its process, which a test ends.
struct Hanging<'a>(&'a World);

impl Hanging<'_> {
    /// From now on, for what the program and its agents start.
    fn server(w: &mut World) {
        w.write("slow", "#!/bin/sh\necho $$ > $DIR/began.part\nmv $DIR/began.part $DIR/began\nexec sleep 600\n");
        fs::set_permissions(w.path("slow"), fs::Permissions::from_mode(0o755)).unwrap();
        w.write("gitconfig", "[remote \"origin\"]\nuploadpack = $DIR/slow\n");
        w.set("GIT_CONFIG_GLOBAL", "$DIR/gitconfig");
        // What an agent of this machine goes by.
        w.write("home/.gitconfig", &w.read("gitconfig"));
    }

    fn pid(&self) -> Option<i32> {
        self.0.read("began").trim().parse().ok()
    }

    fn lives(&self) -> bool {
        self.pid().is_some_and(|pid| {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.contains("sleep")
        })
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        if let Some(pid) = self.pid().filter(|_| self.lives()).and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Desires another commit in `staging`, and applies.
#[track_caller]
fn release(w: &World, sha: &str) -> crate::support::world::Ran {
    w.soll(&format!("release staging {sha}")).exits(0);
    w.soll("apply staging")
}
