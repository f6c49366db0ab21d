//! Container engines, and programs that bring projects up, as hosts have them together: those of this Debian, and those of the
//! next one, which `tests/engines` unpacks beside what cargo builds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::FlockOperation;

use super::docker::{Docker, Options};

/// A test for each of these pairs: `on_each!(test: old, strict)` makes `test::old` and `test::strict` of a function that takes
/// one.
macro_rules! on_each {
    (async $test:ident: $($pair:ident),+) => {
        mod $test {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $pair() {
                super::$test($crate::support::engines::on_each!(@ $pair)).await;
            })+
        }
    };
    ($test:ident: $($pair:ident),+) => {
        mod $test {
            $(#[test]
            fn $pair() {
                super::$test($crate::support::engines::on_each!(@ $pair));
            })+
        }
    };
    (@ old) => { &$crate::support::engines::OLD };
    (@ plugin) => { &$crate::support::engines::PLUGIN };
    (@ next) => { &$crate::support::engines::NEXT };
    (@ strict) => { &$crate::support::engines::STRICT };
    (@ mixed) => { &$crate::support::engines::MIXED };
}
pub(crate) use on_each;

/// An engine and a program.
pub struct Pair {
    /// For the directory of the engine.
    pub name: &'static str,
    pub engine: Engine,
    /// The engine keeps images in containerd, and not in its own graph driver.
    pub containerd: bool,
    /// The oldest API that it still speaks, where that is said.
    pub oldest: Option<&'static str>,
    /// `docker compose` of the second generation, and not `docker-compose` of the first one.
    pub plugin: bool,
    started: OnceLock<Docker>,
}

/// Whose packages an engine is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Of this machine.
    Installed,
    /// Unpacked.
    Next,
}

impl Pair {
    const fn new(
        name: &'static str,
        engine: Engine,
        containerd: bool,
        oldest: Option<&'static str>,
        plugin: bool,
    ) -> Pair {
        Pair { name, engine, containerd, oldest, plugin, started: OnceLock::new() }
    }

    /// The engine of this process, of this kind.
    pub fn docker(&'static self) -> &'static Docker {
        self.started.get_or_init(|| Docker::start(self, Options::default()))
    }

    /// The name of a container of a service.
    pub fn container(&self, project: &str, service: &str, number: u32) -> String {
        let between = if self.plugin { '-' } else { '_' };
        format!("{project}{between}{service}{between}{number}")
    }
}

/// What Debian 12 has: engine 20.10, images in the graph driver, docker-compose 1.29.
pub static OLD: Pair = Pair::new("old", Engine::Installed, false, None, false);
/// The plugin on that engine.
pub static PLUGIN: Pair = Pair::new("plugin", Engine::Installed, false, None, true);
/// What Debian 13 has: engine 26, images in the graph driver, docker compose 2.26.
pub static NEXT: Pair = Pair::new("next", Engine::Next, false, None, true);
/// The same with images in containerd and no API before 1.44: what engines of 29 are by themselves.
pub static STRICT: Pair = Pair::new("strict", Engine::Next, true, Some("1.44"), true);
/// A new engine on a host that has kept docker-compose 1.29.
pub static MIXED: Pair = Pair::new("mixed", Engine::Next, false, Some("1.44"), false);

/// Where the packages of the next Debian are unpacked; they are fetched where that was not done yet.
pub fn next() -> &'static Path {
    static TREE: OnceLock<PathBuf> = OnceLock::new();
    TREE.get_or_init(|| {
        let soll = Path::new(env!("CARGO_BIN_EXE_soll"));
        let tree = soll.ancestors().nth(2).expect("cargo's target directory").join("engines");
        // Other test processes want it, too: one fetches it.
        let turn = File::create(tree.with_extension("lock")).unwrap();
        rustix::fs::flock(&turn, FlockOperation::LockExclusive).unwrap();
        let done = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engines")).arg(&tree).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        tree
    })
}

/// Lays the programs that an engine starts by their name into a directory, for its PATH: those of the tree before those of the
/// machine. `runc` is the machine's, whose libc the other one does not fit.
pub fn programs(engine: Engine, bin: &Path) {
    fs::create_dir_all(bin).unwrap();
    let names = ["usr/sbin/dockerd", "usr/sbin/docker-proxy", "usr/bin/docker", "usr/bin/containerd"];
    for name in names.into_iter().chain(["usr/bin/containerd-shim-runc-v2"]).filter(|_| engine == Engine::Next) {
        let program = next().join(name);
        std::os::unix::fs::symlink(&program, bin.join(program.file_name().unwrap())).unwrap();
    }
}

/// Gives the home directory of a user the plugin, where the host of a pair has it.
pub fn equip(pair: &Pair, home: &Path) {
    if pair.plugin {
        let plugins = home.join(".docker/cli-plugins");
        fs::create_dir_all(&plugins).unwrap();
        let plugin = next().join("usr/libexec/docker/cli-plugins/docker-compose");
        std::os::unix::fs::symlink(plugin, plugins.join("docker-compose")).unwrap();
    }
}
