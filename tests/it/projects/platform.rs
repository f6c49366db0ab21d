//! A world with a project in its state repository, on a real engine and with a real registry.

use crate::support::docker::Docker;
use crate::support::engines::Pair;
use crate::support::registry::Registry;
use crate::support::world::World;

/// A service that runs until it is told to end, unless its image is a bad one.
const RUN: &str =
    r#"["sh", "-c", "trap 'exit 0' TERM; test \"$$(cat /version)\" != bad || exit 3; while :; do sleep 0.1; done"]"#;

/// A world with a project in its state repository, of which nothing runs.
pub struct Platform<'a> {
    pub w: World,
    pub docker: &'a Docker,
    pub registry: Registry,
    pub project: String,
}

impl<'a> Platform<'a> {
    /// On the engine of such a pair.
    pub fn new(on: &'static Pair, project: &str, environment: &str) -> Platform<'static> {
        let registry = Registry::start();
        let port = registry.port;
        Platform::with(on.docker(), project, environment, registry, port)
    }

    /// On this engine, with images of this registry, which is at a port.
    pub fn with(docker: &'a Docker, project: &str, environment: &str, registry: Registry, port: u16) -> Platform<'a> {
        docker.clear(project);
        let mut w = World::new();
        w.set("DOCKER_HOST", &docker.host());
        w.set("HOME", &docker.home().display().to_string());
        for (letter, version) in [('a', "one"), ('b', "two"), ('c', "bad")] {
            registry.publish_by(docker, &format!("{project}/api:{}", letter.to_string().repeat(8)), version);
        }
        // A name of its own: an image that another test made anew under the same name would be another image for Compose.
        docker.image(&format!("{project}-base:1"), "base");
        let platform = Platform { w, docker, registry, project: project.to_owned() };
        platform.files("one");
        let api = format!("127.0.0.1:{port}/{project}/api:{{sha8}}");
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
    pub fn files(&self, mounted: &str) {
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

    /// The container of a service, by its name.
    pub fn name(&self, service: &str) -> String {
        self.docker.pair.container(&self.project, service, 1)
    }

    pub fn id(&self, service: &str) -> String {
        self.docker.run(&["inspect", "--format", "{{.Id}}", &self.name(service)])
    }

    /// Those of these services that run in another container than before.
    pub fn anew<'b>(&self, before: &[(&'b str, &String)]) -> Vec<&'b str> {
        before.iter().filter(|(service, id)| self.id(service) != **id).map(|(service, _)| *service).collect()
    }

    /// What `api` runs, where it runs.
    pub fn version(&self) -> Option<String> {
        self.docker.tried(&["exec", &self.name("api"), "cat", "/version"])
    }

    pub fn exec(&self, service: &str, file: &str) -> String {
        self.docker.run(&["exec", &self.id(service), "cat", file])
    }

    /// The services as `soll status` has them: name, and whether it runs as released.
    pub fn status(&self) -> Vec<(String, bool)> {
        let seen = self.w.soll("status --output json").exits(0).json();
        let services = seen["environments"][0]["hosts"][0]["services"].as_array().cloned().unwrap_or_default();
        let well = |one: &serde_json::Value| one["running"] == one["wanted"] && one["digest-ok"] == true;
        services.iter().map(|one| (one["service"].as_str().unwrap().to_owned(), well(one))).collect()
    }
}

impl Drop for Platform<'_> {
    fn drop(&mut self) {
        // An engine that a failed test has left dead cannot be asked.
        if !std::thread::panicking() {
            self.docker.clear(&self.project);
        }
    }
}
