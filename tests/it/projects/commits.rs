//! Projects whose files lie in the repository of the application: the commit that is released is what is resolved.

use super::platform::Platform;
use crate::support::engines::{NEXT, OLD, Pair, on_each};

/// A project like any other, whose files are those of a commit. `fetch_from`: who fetches it.
struct Project {
    p: Platform<'static>,
    state: String,
}

impl Project {
    fn new(on: &'static Pair, name: &str, fetch_from: &str) -> Project {
        let p = Platform::new(on, name, "");
        p.w.git(&["init", "-q", "-b", "main", &p.w.path("app").display().to_string()]);
        let api = format!("127.0.0.1:{}/{name}/api:{{sha8}}", p.registry.port);
        let state = format!(
            r#"schema = 1

[apps.platform]
kind = "compose"
repository = "$DIR/app"
checkout = {{ directory = "deploy", fetch_from = "{fetch_from}" }}
settle = "500ms"
[apps.platform.compose]
project = "{name}"
images = {{ api = "{api}", migrate = "{api}" }}
once = ["migrate"]

[environments.staging]
release = "SHA"
root = "$DIR/staging"
"#
        );
        Project { p, state }
    }

    /// A commit of the application with the files of the project, and the image of it. Gives its id.
    fn grow(&self, mounted: &str, version: &str) -> String {
        self.p.files(mounted);
        let w = &self.p.w;
        std::fs::create_dir_all(w.path("app/deploy/web")).unwrap();
        for file in ["compose.yml", "web/site.conf"] {
            w.write(&format!("app/deploy/{file}"), &w.read(&format!("state/platform/{file}")));
        }
        w.write("app/src/main.txt", version);
        let sha = w.commit_in("app", version);
        let image = format!("{}/api:{}", self.p.project, &sha[..8]);
        self.p.registry.publish_by(self.p.docker, &image, version);
        sha
    }

    fn release(&self, sha: &str) {
        // Nothing of the project lies beside the state file.
        let _ = std::fs::remove_dir_all(self.p.w.path("state/platform"));
        self.p.w.commit(&self.state.replace("SHA", sha));
    }
}

on_each!(a_commit_of_the_application_brings_the_files_of_its_project: strict; old);

fn a_commit_of_the_application_brings_the_files_of_its_project(on: &'static Pair) {
    let mut project = Project::new(on, "soll-commits", "controller");
    let one = project.grow("one", "one");
    project.release(&one);
    project.p.w.soll("plan --detailed-exitcode").exits(2).says(&format!("the tree of {} is needed", &one[..8]));
    project.p.w.soll("apply").exits(0);
    project.p.w.soll("plan --detailed-exitcode").exits(0);
    let seen = |p: &Platform| (p.exec("api", "/version"), p.exec("web", "/etc/site.conf"));
    assert_eq!(seen(&project.p), ("one".to_owned(), "one".to_owned()));
    // What the release holds is the directory of the project, and nothing else of the commit.
    assert!(project.p.w.path("staging/current/compose.yml").exists());
    assert!(!project.p.w.path("staging/current/src").exists());
    let db = project.p.id("db");

    let two = project.grow("two", "two");
    project.release(&two);
    project.p.w.soll("preflight staging").exits(0).says(&format!("commit {}", &two[..8]));
    project.p.w.soll("apply").exits(0);
    assert_eq!(seen(&project.p), ("two".to_owned(), "two".to_owned()));

    // Another setting of the project makes the release anew at the same commit.
    project.state = project.state.replace("once =", "scale = { web = 2 }\nonce =");
    project.release(&two);
    project.p.w.soll("plan").says("another setting of the project changed at the same commit");
    project.p.w.soll("apply").exits(0);
    project.p.w.soll("status").exits(0).says("3 services as released");
    project.state = project.state.replace("scale = { web = 2 }\n", "");
    project.release(&two);
    project.p.w.soll("apply").exits(0);

    // A bad one with another file goes back; then a person goes back one more, without registry and repository.
    let bad = project.grow("three", "bad");
    project.release(&bad);
    project.p.w.soll("apply").exits(3);
    assert_eq!(seen(&project.p), ("two".to_owned(), "two".to_owned()));
    project.p.registry.stop();
    std::fs::rename(project.p.w.path("app"), project.p.w.path("away")).unwrap();
    project.release(&one);
    project.p.w.soll("apply").exits(0);
    assert_eq!(seen(&project.p), ("one".to_owned(), "one".to_owned()));
    assert_eq!(project.p.id("db"), db);
}

#[test]
fn each_host_may_fetch_the_commit_for_itself() {
    let project = Project::new(&OLD, "soll-fetches", "host");
    let one = project.grow("one", "one");
    project.release(&one);
    project.p.w.soll("apply").exits(0);
    project.p.w.soll("plan --detailed-exitcode").exits(0);
    let two = project.grow("two", "two");
    project.release(&two);
    project.p.w.soll("apply").exits(0);
    assert_eq!(
        (project.p.exec("api", "/version").as_str(), project.p.exec("web", "/etc/site.conf").as_str()),
        ("two", "two")
    );
}

#[test]
fn the_files_of_a_project_are_in_one_place_and_a_commit_without_them_says_so() {
    let project = Project::new(&NEXT, "soll-placed", "controller");
    let one = project.grow("one", "one");
    let state = project.state.replace("SHA", &one);
    let both = state.replace("project =", "directory = \"platform\"\nproject =");
    project.p.w.commit(&both);
    project.p.w.soll("validate").exits(1).says("two places say where the files of the project are");
    let none = state.replace("checkout =", "# checkout =");
    project.p.w.commit(&none);
    project.p.w.soll("validate").exits(1).says("needs `directory` or `checkout`");
    let elsewhere = state.replace("directory = \"deploy\"", "directory = \"src\"");
    project.p.w.commit(&elsewhere);
    let failed = project.p.w.soll("apply").exits(1);
    assert!(failed.stdout.contains("compose.yml"), "{}", failed.stdout);
    assert_eq!(project.p.w.quarantined("staging"), Vec::<String>::new());
}
