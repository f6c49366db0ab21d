//! Images that the controller sends: the engine of the host knows no registry and no login, and has each layer once.

use crate::support::docker::Docker;
use crate::support::engines::{OLD, Pair, on_each};
use crate::support::registry::{PASSWORD, Registry, USER};
use crate::support::world::World;

/// A service that runs until it is told to end.
const RUN: &str = r#"["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]"#;

/// A world with a project whose images lie in a registry that lets the controller in and nobody else.
struct Pushed {
    w: World,
    docker: &'static Docker,
    registry: Registry,
    project: String,
}

impl Pushed {
    fn new(on: &'static Pair, project: &str, environment: &str) -> Pushed {
        // One engine makes the images of all of them.
        let project = &format!("{project}-{}", on.name);
        // The engine that makes them may be another one than that of the host.
        let (docker, maker, registry) = (on.docker(), Docker::here(), Registry::closed());
        docker.clear(project);
        let mut w = World::new();
        w.set("HOME", &docker.home().display().to_string());
        w.set("DOCKER_HOST", &docker.host());
        w.set("SOLL_SECRET_REGISTRY_TOKEN", PASSWORD);
        let pushed = Pushed { w, docker, registry, project: project.to_owned() };
        let base = format!("{project}-base:1");
        maker.image(&base, "base");
        for (letter, version) in [('a', "one"), ('b', "two"), ('c', "three")] {
            let name = pushed.image(letter);
            maker.layered(&name, &base, version);
            pushed.registry.send(&name);
        }
        maker.run(&["rmi", &base]);
        // The image of the database stands in the compose file, by a tag.
        let db = pushed.registry.name(&format!("{project}/db:16"));
        maker.image(&db, "db");
        pushed.registry.send(&db);
        let host = pushed.registry.address();
        pushed.w.write(
            "state/platform/compose.yml",
            &format!(
                "version: \"3.8\"\nservices:\n  api:\n    image: api\n    network_mode: none\n    stop_grace_period: 1s\n    \
                 command: {RUN}\n  db:\n    image: {db}\n    network_mode: none\n    stop_grace_period: 1s\n    command: {RUN}\n    \
                 volumes: [\"data:/data\"]\nvolumes:\n  data: {{}}\n"
            ),
        );
        let api = pushed.registry.name(&format!("{project}/api:{{sha8}}"));
        pushed.w.commit(&format!(
            r#"schema = 1

[apps.platform]
kind = "compose"
settle = "500ms"
[apps.platform.compose]
directory = "platform"
project = "{project}"
images = {{ api = "{api}" }}
registries = {{ "{host}" = {{ user = "{}", password = "REGISTRY_TOKEN" }} }}
transfer = "push"

[environments.staging]
release = "<a>"
root = "$DIR/staging"
{environment}
"#,
            USER
        ));
        pushed
    }

    /// All that a deployment says.
    fn apply(&self) -> String {
        let done = self.w.soll("apply").exits(0).hides(PASSWORD);
        done.stdout + &done.stderr
    }

    fn image(&self, letter: char) -> String {
        self.registry.name(&format!("{}/api:{}", self.project, letter.to_string().repeat(8)))
    }

    fn version(&self) -> String {
        self.docker.run(&["exec", &self.name("api"), "cat", "/version"])
    }

    fn name(&self, service: &str) -> String {
        self.docker.pair.container(&self.project, service, 1)
    }

    fn id(&self, service: &str) -> String {
        self.docker.run(&["inspect", "--format", "{{.Id}}", &self.name(service)])
    }
}

impl Drop for Pushed {
    fn drop(&mut self) {
        self.docker.clear(&self.project);
    }
}

/// How many bytes are said to have come for an image: `… (1.5 MB)`.
#[track_caller]
fn came(said: &str, image: &str) -> f64 {
    let after = said.split(&format!("{image}@sha256:")).nth(1).unwrap_or_else(|| panic!("{image}: {said}"));
    let (_, size) = after.split_once('(').unwrap_or_else(|| panic!("{said}"));
    let (number, unit) = size.split_once(')').and_then(|(size, _)| size.split_once(' ')).unwrap();
    let scale = match unit {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        other => panic!("{other}: {said}"),
    };
    number.parse::<f64>().unwrap() * scale
}

on_each!(a_host_without_a_registry_gets_each_layer_once: next, strict; old);

fn a_host_without_a_registry_gets_each_layer_once(on: &'static Pair) {
    let mut p = Pushed::new(on, "soll-pushed", "keep_releases = 2");
    p.w.soll("plan --detailed-exitcode").exits(2).says("the controller sends what is missing here");
    // Nothing big comes silently.
    p.w.soll("plan").exits(0).says("at most, as their registry has them");
    p.w.soll("preflight staging").says("come here, compressed").says(&p.registry.name(&format!("{}/db:16", p.project)));
    let first = p.apply();
    assert_eq!(p.version(), "one");
    let whole = came(&first, &p.image('a'));
    assert!(whole > 200_000.0, "{first}");
    p.w.soll("plan --detailed-exitcode").exits(0);
    // By what it is in its registry, not by the id that the engine has for it.
    p.w.soll("status").exits(0).says("2 services as released");
    let seen = p.w.soll("status --output json").exits(0).json();
    let services = seen["environments"][0]["hosts"][0]["services"].as_array().cloned().unwrap();
    assert!(services[0]["image"].as_str().unwrap().starts_with(&format!("{}@sha256:", p.image('a'))), "{services:?}");

    // One layer is another one: it alone travels, and the service that did not change keeps its container.
    let db = p.id("db");
    p.w.edit("<a>", "<b>");
    let second = p.apply();
    assert_eq!((p.version().as_str(), p.id("db") == db), ("two", true));
    let layer = came(&second, &p.image('b'));
    assert!(layer < 2_000.0 && layer < whole / 50.0, "{layer} of {whole}: {second}");
    assert!(second.contains("1 image was there already"), "{second}");
    p.w.soll("plan --detailed-exitcode").exits(0);

    // A way back needs no registry; a new release does, and that it is away is no verdict.
    p.registry.stop();
    p.w.edit("<b>", "<a>");
    p.w.soll("apply").exits(0);
    assert_eq!(p.version(), "one");
    p.w.edit("<a>", "<c>");
    let away = p.w.soll("apply").exits(1);
    assert!(away.stdout.contains("does not serve it") || away.stderr.contains("does not serve it"), "{}", away.stdout);
    assert!(p.w.quarantined("staging").is_empty());
    assert_eq!(p.version(), "one");
    p.registry.resume();
    p.w.soll("apply").exits(0);
    assert_eq!(p.version(), "three");
    // Nothing lies about that was only sent, and what no release has any more is gone from the engine.
    let incoming = std::fs::read_dir(p.w.path("staging/.soll/incoming")).unwrap();
    let names: Vec<_> = incoming.map(|entry| entry.unwrap().file_name()).filter(|name| name.len() == 64).collect();
    assert!(names.is_empty(), "{names:?}");
    let kept = ['a', 'b', 'c'].map(|letter| p.docker.has(&p.image(letter)));
    assert!(kept[2] && kept[0] != kept[1], "{kept:?} {}", p.docker.run(&["images"]));
}

#[test]
fn a_layer_that_is_not_what_it_is_called_goes_nowhere() {
    let p = Pushed::new(&OLD, "soll-spoilt", "");
    let layers = p.registry.layers("soll-spoilt-old/api", &"a".repeat(8));
    let last = layers.last().unwrap();
    p.registry.spoil(last);
    let failed = p.w.soll("apply").exits(1);
    let said = failed.stdout + &failed.stderr;
    assert!(said.contains(&format!("sha256:{last}")) && said.contains("push the image anew"), "{said}");
    assert!(p.w.quarantined("staging").is_empty());
    assert!(!p.docker.has(&p.image('a')));
    assert!(p.docker.containers("soll-spoilt-old").is_empty());
}

#[test]
fn a_login_that_is_refused_is_named() {
    let mut p = Pushed::new(&OLD, "soll-refused", "");
    p.w.set("SOLL_SECRET_REGISTRY_TOKEN", "another one");
    let failed = p.w.soll("apply").exits(1).hides("another one");
    let said = failed.stdout + &failed.stderr;
    assert!(said.contains("does not let deploy have it"), "{said}");
    assert!(p.w.quarantined("staging").is_empty());
}
