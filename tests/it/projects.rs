//! Projects of services with the real program, a real engine and a registry: from a commit of the state repository to
//! containers, and back.

mod deaths;

use crate::support::docker::{Docker, Registry};
use crate::support::world::World;

/// A service that runs until it is told to end, unless its image is a bad one.
const RUN: &str =
    r#"["sh", "-c", "trap 'exit 0' TERM; test \"$$(cat /version)\" != bad || exit 3; while :; do sleep 0.1; done"]"#;

/// A world with a project in its state repository, of which nothing runs.
struct Platform {
    w: World,
    docker: &'static Docker,
    registry: Registry,
    project: String,
}

impl Platform {
    fn new(project: &str, environment: &str) -> Platform {
        let (docker, registry) = (Docker::here(), Registry::start());
        docker.clear(project);
        let mut w = World::new();
        w.set("DOCKER_HOST", &docker.host());
        for (letter, version) in [('a', "one"), ('b', "two"), ('c', "bad")] {
            registry.publish(&format!("{project}/api:{}", letter.to_string().repeat(8)), version);
        }
        // A name of its own: an image that another test made anew under the same name would be another image for Compose.
        docker.image(&format!("{project}-base:1"), "base");
        let platform = Platform { w, docker, registry, project: project.to_owned() };
        platform.files("one");
        let api = platform.registry.name(&format!("{project}/api:{{sha8}}"));
        platform.w.commit(&format!(
            r#"schema = 1

[apps.platform]
kind = "compose"
settle = "500ms"
[apps.platform.compose]
directory = "platform"
project = "{project}"
images = {{ api = "{api}", migrate = "{api}" }}
once = ["migrate"]

[[apps.platform.gates]]
name = "version"
run = "test \"$(cat /version)\" != unknown"
service = "api"

[[apps.platform.hooks]]
name = "warm"
phase = "post-switch"
run = "echo $SOLL_SHA > /tmp/warm"
service = "api"

[environments.staging]
release = "<a>"
root = "$DIR/staging"
{environment}
"#
        ));
        platform
    }

    /// The files of the project in the work tree, with what is mounted into `web`.
    fn files(&self, mounted: &str) {
        let service = |image: &str, more: &str| {
            format!("    image: {image}\n    network_mode: none\n    stop_grace_period: 2s\n    command: {RUN}\n{more}")
        };
        let base = format!("{}-base:1", self.project);
        let api = service("api", "");
        let web = service(&base, "    volumes: [\"./web/site.conf:/etc/site.conf:ro\"]\n");
        let db = service(&base, "    volumes: [\"data:/data\"]\n");
        let migrate =
            "    image: api\n    network_mode: none\n    command: [\"sh\", \"-c\", \"touch /tmp/migrated\"]\n";
        self.w.write(
            "state/platform/compose.yml",
            &format!(
                "version: \"3.8\"\nservices:\n  api:\n{api}  web:\n{web}  db:\n{db}  migrate:\n{migrate}volumes:\n  data: {{}}\n"
            ),
        );
        self.w.write("state/platform/web/site.conf", mounted);
    }

    fn id(&self, service: &str) -> String {
        self.docker.run(&["inspect", "--format", "{{.Id}}", &format!("{}_{service}_1", self.project)])
    }

    /// Those of these services that run in another container than before.
    fn anew<'a>(&self, before: &[(&'a str, &String)]) -> Vec<&'a str> {
        before.iter().filter(|(service, id)| self.id(service) != **id).map(|(service, _)| *service).collect()
    }

    fn exec(&self, service: &str, file: &str) -> String {
        self.docker.run(&["exec", &self.id(service), "cat", file])
    }

    /// The services as `soll status` has them: name, and whether it runs as released.
    fn status(&self) -> Vec<(String, bool)> {
        let seen = self.w.soll("status --output json").exits(0).json();
        let services = seen["environments"][0]["hosts"][0]["services"].as_array().cloned().unwrap_or_default();
        let well = |one: &serde_json::Value| one["running"] == one["wanted"] && one["digest-ok"] == true;
        services.iter().map(|one| (one["service"].as_str().unwrap().to_owned(), well(one))).collect()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.docker.clear(&self.project);
    }
}

#[test]
fn a_commit_is_deployed_and_a_bad_one_goes_back_without_a_registry() {
    let mut p = Platform::new("soll-deploys", "");
    let plan = p.w.soll("plan --detailed-exitcode").exits(2).stdout;
    for part in ["pull", "the project soll-deploys", "migrate", "-> 127.0.0.1:"] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    // What is not committed is not there.
    p.w.write("state/platform/web/site.conf", "not committed");
    p.w.soll("apply").exits(0);
    p.w.soll("plan --detailed-exitcode").exits(0);
    assert_eq!((p.exec("api", "/version").as_str(), p.exec("web", "/etc/site.conf").as_str()), ("one", "one"));
    assert_eq!(p.exec("api", "/tmp/warm"), "a".repeat(40));
    let well = ["api", "db", "web"].map(|name| (name.to_owned(), true));
    assert_eq!(p.status(), well);
    p.w.soll("status").exits(0).says("3 services as released");
    let (api, web, db) = (p.id("api"), p.id("web"), p.id("db"));

    // Another image alone.
    p.files("one");
    p.w.edit("<a>", "<b>");
    p.w.soll("apply").exits(0);
    assert_eq!(p.exec("api", "/version"), "two");
    assert_eq!(p.anew(&[("api", &api), ("web", &web), ("db", &db)]), ["api"]);

    // Another file at the same commit of the application.
    let api = p.id("api");
    p.files("two");
    let proposed = p.w.commit_all("another file");
    p.w.soll(&format!("plan --ref {proposed}")).exits(0).says("another setting of the project changed");
    p.w.soll("apply").exits(0);
    assert_eq!(p.exec("web", "/etc/site.conf"), "two");
    assert_eq!(p.anew(&[("api", &api), ("web", &web), ("db", &db)]), ["web"]);
    p.w.soll("plan --detailed-exitcode").exits(0);

    // A bad one with another file goes back, byte for byte, while the registry is away.
    let (web, name) = (p.id("web"), p.registry.name("soll-deploys/api:cccccccc"));
    p.docker.run(&["pull", "-q", &name]);
    p.registry.stop();
    p.files("three");
    p.w.edit("<b>", "<c>");
    let failed = p.w.soll("apply").exits(3);
    assert!(failed.stdout.contains("service api (soll-deploys_api_1) says no on local"), "{}", failed.stdout);
    assert_eq!(p.w.quarantined("staging"), ["c"]);
    assert_eq!((p.exec("api", "/version").as_str(), p.exec("web", "/etc/site.conf").as_str()), ("two", "two"));
    assert_eq!(p.id("db"), db);
    assert_ne!(p.id("web"), web);
    assert_eq!(p.status(), well);
}

#[test]
fn a_registry_that_is_away_is_no_verdict() {
    let mut p = Platform::new("soll-away", "");
    p.w.soll("apply").exits(0);
    let api = p.id("api");
    p.registry.stop();
    p.w.edit("<a>", "<b>");
    p.w.soll("apply").exits(1).says("pull");
    assert!(p.w.quarantined("staging").is_empty());
    assert_eq!(p.id("api"), api);
    assert_eq!(p.status().len(), 3);
    p.registry.resume();
    p.w.soll("apply").exits(0);
    assert_eq!(p.exec("api", "/version"), "two");
}

#[test]
fn what_somebody_stopped_is_shown_or_brought_up_again() {
    let p = Platform::new("soll-heals", "drift = \"report\"");
    p.w.soll("apply").exits(0);
    let db = p.id("db");
    p.docker.run(&["stop", "-t", "1", &db]);
    p.w.soll("plan --detailed-exitcode").exits(0).says("services: not as released").says("db");
    p.w.soll("status").exits(0).says("1 of 3 services not as released: db");
    p.w.soll("diff staging").exits(0).says("db");
    p.w.soll("plan --output markdown").exits(0);
    p.w.edit("drift = \"report\"", "drift = \"heal\"");
    p.w.soll("plan --detailed-exitcode").exits(2).says("brought up");
    p.w.soll("apply").exits(0);
    assert_eq!(p.id("db"), db);
    assert!(p.status().iter().all(|(_, well)| *well));
    p.w.soll("plan --detailed-exitcode").exits(0);
    // Stopped on purpose it stays so, and starts when somebody says so (D5).
    p.w.soll("stop staging --reason maintenance").exits(0);
    assert!(p.status().iter().all(|(_, well)| !well), "{:?}", p.status());
    p.w.soll("start staging").exits(0);
    assert!(p.status().iter().all(|(_, well)| *well));
}
