//! The folder of a demo: made once, complete or not at all; continued when it is one already; anything else in it is
//! somebody's own and left alone.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::app::{self, Version};
use super::{DemoError, Options, git, server};

/// The two environments, in the order in which a release goes through them.
pub const ENVIRONMENTS: [&str; 2] = ["staging", "production"];
/// Below `shared/` of production.
const DATABASE: &str = "shop.sqlite";
/// Written last: a folder with it is a whole demo.
const MARKER: &str = "demo.json";

/// An open demo.
pub struct World {
    dir: PathBuf,
    facts: Facts,
    /// Whether it was there before.
    pub continued: bool,
    listeners: Vec<(&'static str, TcpListener)>,
    temporary: Option<TempDir>,
}

/// What a continued demo must remember.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Facts {
    format: u32,
    /// Of `ENVIRONMENTS`, in their order.
    ports: [u16; 2],
    versions: Vec<Version>,
}

impl World {
    /// Makes a demo, or opens the one that is there.
    ///
    /// # Errors
    /// A folder with something else in it, half a demo, a port that somebody has, no `git`.
    pub async fn open(options: &Options) -> Result<World, DemoError> {
        let (dir, temporary) = place(options.dir.as_deref()).map_err(DemoError::World)?;
        let at = dir.display();
        let marker = dir.join(MARKER);
        if marker.exists() {
            if options.once {
                let message = format!(
                    "{at} holds a demo already, and --once wants to begin at the beginning: name another folder"
                );
                return Err(DemoError::World(message));
            }
            return Self::again(&dir, &marker, options.port).await.map_err(DemoError::World);
        }
        let mut entries = std::fs::read_dir(&dir).map_err(|e| DemoError::World(format!("cannot read {at}: {e}")))?;
        if entries.next().is_some() {
            let message = format!("{at} is not empty and holds no whole demo: name a new folder, or an empty one");
            return Err(DemoError::World(message));
        }
        Self::make(dir, temporary, options.port).await.map_err(DemoError::World)
    }

    async fn make(dir: PathBuf, temporary: Option<TempDir>, port: Option<u16>) -> Result<World, String> {
        let listeners = listen(port.map_or([0, 0], |port| [port, port.saturating_add(1)])).await?;
        let mut ports = [0; 2];
        for (port, (_, listener)) in ports.iter_mut().zip(&listeners) {
            *port = listener.local_addr().map_err(|error| format!("a listener without an address: {error}"))?.port();
        }
        let state = dir.join("state");
        let bundles = state.join("bundles");
        std::fs::create_dir_all(&bundles).map_err(|error| format!("cannot make {}: {error}", bundles.display()))?;
        let versions = app::build(&dir.join("app"), &bundles)?;
        let facts = Facts { format: 1, ports, versions };
        let first = facts.versions.first().ok_or("a shop without versions")?;
        sell(&dir)?;
        write(&state.join("desired-state.toml"), &state_file(&dir, ports, first))?;
        // A real one has its bundles on a server of its own; nobody commits them.
        write(&state.join(".gitignore"), "/bundles/\n")?;
        git::init(&state, "Demo", "demo@localhost")?;
        git::git(&state, &["add", "-A"])?;
        git::git(&state, &["commit", "-q", "-m", &format!("Staging and production begin with {}", first.name)])?;
        let text = serde_json::to_string_pretty(&facts).map_err(|error| error.to_string())?;
        write(&dir.join(MARKER), &text)?;
        Ok(World { dir, facts, continued: false, listeners, temporary })
    }

    async fn again(dir: &Path, marker: &Path, port: Option<u16>) -> Result<World, String> {
        let at = marker.display();
        let text = std::fs::read_to_string(marker).map_err(|error| format!("cannot read {at}: {error}"))?;
        let facts: Facts = serde_json::from_str(&text).map_err(|error| format!("{at} is not of a demo: {error}"))?;
        if let Some(port) = port.filter(|port| *port != facts.ports[0]) {
            let there = facts.ports[0];
            return Err(format!(
                "this demo serves staging at port {there}, its state file says so: leave --port {port} away, or name a new folder"
            ));
        }
        let listeners = listen(facts.ports).await.map_err(|error| {
            format!("{error}: does another `soll demo` run in {}? A new folder gets ports of its own", dir.display())
        })?;
        Ok(World { dir: dir.to_owned(), facts, continued: true, listeners, temporary: None })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The state repository.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The application's repository.
    pub fn app(&self) -> PathBuf {
        self.dir.join("app")
    }

    /// History and caches of the loop.
    pub fn controller(&self) -> PathBuf {
        self.dir.join("controller")
    }

    /// ROOT of an environment.
    pub fn root(&self, environment: &str) -> PathBuf {
        self.dir.join(environment)
    }

    /// Where an environment is served.
    pub fn url(&self, environment: &str) -> String {
        let n = ENVIRONMENTS.iter().position(|name| *name == environment).unwrap_or_default();
        format!("http://127.0.0.1:{}/", self.facts.ports[n])
    }

    /// The versions that there are from the beginning.
    pub fn versions(&self) -> &[Version] {
        &self.facts.versions
    }

    /// Whether the folder goes away at the end.
    pub fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// The ports, held since before anybody was told of them.
    pub fn take_listeners(&mut self) -> Vec<(&'static str, TcpListener)> {
        std::mem::take(&mut self.listeners)
    }

    /// From now on the folder stays.
    pub fn keep(self) -> PathBuf {
        if let Some(temporary) = self.temporary {
            // The path is ours already.
            let _ = temporary.keep();
        }
        self.dir
    }
}

/// The folder as an absolute path without links, made where it is missing.
fn place(dir: Option<&Path>) -> Result<(PathBuf, Option<TempDir>), String> {
    let real = |dir: &Path| dir.canonicalize().map_err(|error| format!("cannot use {}: {error}", dir.display()));
    match dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
            Ok((real(dir)?, None))
        }
        None => {
            let made = tempfile::Builder::new().prefix("soll-demo-").tempdir();
            let made = made.map_err(|error| format!("cannot make a temporary folder: {error}; name one: --dir DIR"))?;
            Ok((real(made.path())?, Some(made)))
        }
    }
}

async fn listen(ports: [u16; 2]) -> Result<Vec<(&'static str, TcpListener)>, String> {
    let mut listeners = Vec::new();
    for (environment, port) in ENVIRONMENTS.into_iter().zip(ports) {
        listeners.push((environment, server::bind(port).await?));
    }
    Ok(listeners)
}

/// What the shop has sold so far, in the database of production; and the place where backups of it go.
fn sell(dir: &Path) -> Result<(), String> {
    let shared = dir.join("production").join("shared");
    for dir in [&shared, &dir.join("nas")] {
        std::fs::create_dir_all(dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    }
    let path = shared.join(DATABASE);
    let sales = "CREATE TABLE sales(id INTEGER PRIMARY KEY, article TEXT NOT NULL);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)
                 INSERT INTO sales SELECT i, 'article ' || (i % 7) FROM n;";
    let made = rusqlite::Connection::open(&path).and_then(|database| database.execute_batch(sales));
    made.map_err(|error| format!("cannot make {}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// The state file of the first commit.
fn state_file(dir: &Path, ports: [u16; 2], first: &Version) -> String {
    let root = |environment: &str| toml_edit::Value::from(dir.join(environment).display().to_string()).to_string();
    let (staging, production, [at, and]) = (root("staging"), root("production"), ports);
    let sha = &first.sha;
    let nas = toml_edit::Value::from(format!("file://{}", dir.join("nas").display())).to_string();
    format!(
        r#"# The desired state of the demo. Change a `release`, commit, and the loop follows.
schema = 1

[apps.shop]
bundle = {{ url = "bundles/deployment-bundle-{{sha}}.tar.gz" }}
checks = ["run-tests"]                # recorded beside each bundle

[[apps.shop.gates]]                   # nothing is switched that has no page
file = "public/index.html"

[apps.shop.health]
attempts = 3
interval = "200ms"
timeout = "2s"
every = "1s"

[[apps.shop.health.checks]]
name = "/health"
http = "http://127.0.0.1:{{port}}/health"

[environments.staging]
release = "{sha}"
root = {staging}
variables = {{ port = "{at}" }}

[environments.production]
release = "{sha}"
root = {production}
variables = {{ port = "{and}" }}
immutable = true                      # a full commit id, never a tag
promote = {{ from = "staging", soak = "1s" }}     # only what staging has run well for a second

[backups.shop]                        # with `schedule = "0 2 * * *"` it would be made every night
environment = "production"
[[backups.shop.databases]]
name = "main"
engine = "sqlite"
path = "shared/{DATABASE}"
[[backups.shop.targets]]
name = "nas"
url = {nas}
"#
    )
}
