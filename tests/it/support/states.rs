//! Desired and observed states as a few words each, made with the same transitions as on a real host.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use soll::model::desired::*;
use soll::model::ids::{Digest, EnvName, HostName, ReleaseName, Sha};
use soll::model::observed::*;
use soll::model::record::{Confirmed, Green, Migration, Probation, Quarantine, Record, Release};
use soll::plan::forward::migration_key;
use soll::plan::intent::{links_digest, present_files, quarantine_key};
use soll::plan::policy::Secrets;
use soll::plan::{Context, EnvPlan, Plan, plan};

/// Where the bundles of this environment are.
pub fn bundle_of(env: &mut Environment) -> &mut Bundle {
    match &mut env.delivery {
        Delivery::Bundle(bundle) => bundle,
        Delivery::Git(_) | Delivery::Compose(_) => panic!("its releases are no bundles"),
    }
}

/// Noon of the day on which everything is planned.
pub fn noon() -> Timestamp {
    "2025-11-02T12:00:00Z".parse().unwrap()
}

/// So many minutes before noon.
pub fn ago(minutes: i64) -> Timestamp {
    noon() - SignedDuration::from_mins(minutes)
}

/// A commit id of one digit.
pub fn sha(digit: char) -> Sha {
    digit.to_string().repeat(40).parse().unwrap()
}

pub fn env_name(name: &str) -> EnvName {
    name.parse().unwrap()
}

pub fn host_name(name: &str) -> HostName {
    name.parse().unwrap()
}

/// The directory of a commit that was staged so many minutes ago.
pub fn release(digit: char, minutes: i64) -> ReleaseName {
    ReleaseName::new(ago(minutes), &sha(digit))
}

pub fn hook(phase: Phase, name: &str) -> Hook {
    let on_failure = phase.default_on_failure();
    let timeout = Duration::from_secs(600);
    Hook { name: name.to_owned(), phase, run: format!("./{name}"), on_failure, timeout, reload: name == "reload" }
}

pub fn http(name: &str) -> Check {
    let url = format!("http://127.0.0.1:8080/{name}");
    let probe = Probe::Http { url, status: 200, bearer: None, body: None };
    Check { name: name.to_owned(), probe, from: From::Host, on_failure: OnFailure::Rollback }
}

/// An environment with one host `web1`, one gate, one check, one shared file, and nothing else.
pub fn environment(name: &str, desired: char) -> Environment {
    Environment {
        name: env_name(name),
        app: "api".parse().unwrap(),
        recipe: "plain".to_owned(),
        release: ReleaseRef::Sha(sha(desired)),
        targets: vec![target("web1")],
        backups: Vec::new(),
        repository: Some("https://git.example.com/api.git".to_owned()),
        delivery: Delivery::Bundle(Bundle {
            url: "https://artifacts.example.com/{sha}.tar.gz".to_owned(),
            sha256: "{url}.sha256".to_owned(),
            checks: "{url}.checks.json".to_owned(),
            fetch_from: FetchFrom::Controller,
            strip: 0,
        }),
        shared: vec![Shared { path: ".env".to_owned(), from: ".env".to_owned(), directory: false }],
        files: Vec::new(),
        sealed: Vec::new(),
        mutable: Vec::new(),
        links_out: Vec::new(),
        units: Vec::new(),
        drains: Vec::new(),
        settle: soll::model::activation::SETTLE,
        keep_releases: 5,
        required_env: vec!["APP_KEY".to_owned()],
        gates: vec![Gate {
            name: "index".to_owned(),
            test: GateTest::File("public/index.php".to_owned()),
            timeout: Duration::from_secs(60),
        }],
        hooks: Vec::new(),
        checks: Vec::new(),
        variables: BTreeMap::from([("tenant".to_owned(), "acme".to_owned())]),
        health: Health {
            before: Before::Warn,
            grace: Duration::ZERO,
            attempts: 6,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            every: Duration::from_secs(300),
            failures: 2,
            checks: vec![http("health")],
        },
        watch: None,
        drift: DriftPolicy::Report,
        drift_every: Duration::from_secs(600),
        on_failure: EnvFailure::Rollback,
        revert_commit: false,
        frozen: None,
        promote: None,
        approvals: 0,
        approvals_for_rollback: None,
        not_author: false,
        immutable: false,
        track: None,
        strategy: Strategy::AllAtOnce,
        deadline: Duration::from_secs(120),
        unreachable: Unreachable::Block,
        windows: Vec::new(),
        emergency: None,
        pull: None,
        bounds: Default::default(),
    }
}

pub fn target(name: &str) -> Target {
    Target {
        name: host_name(name),
        address: Address::Remote(format!("{name}.example.com")),
        user: Some("deploy".to_owned()),
        port: None,
        agent_dir: None,
        root: "/var/www/api".to_owned(),
    }
}

/// One host: a record, a link, directories.
#[derive(Clone)]
pub struct Host(pub HostState);

impl Host {
    /// A root on which nothing was ever deployed; its `.env` is there.
    pub fn fresh() -> Self {
        Host(HostState {
            record: Record::default(),
            current: Current::Missing,
            releases: Vec::new(),
            files: BTreeMap::from([(".env".to_owned(), Some(Digest::of(b"APP_KEY=1")))]),
            unreadable: BTreeMap::new(),
            rendered: BTreeMap::new(),
            rerendered: Vec::new(),
            missing_env: Vec::new(),
            drift: None,
            leftovers: Vec::new(),
            foreign: Default::default(),
            revisions: BTreeMap::new(),
            misplaced: Vec::new(),
            holder: None,
            lease_over: false,
            health: Vec::new(),
            machine: None,
            seat: None,
            services: Vec::new(),
            services_unseen: None,
        })
    }

    /// Runs this commit, confirmed 90 minutes ago and green since.
    pub fn running(env: &Environment, digit: char) -> Self {
        Host::fresh().deployed(env, digit, 90)
    }

    /// A whole deployment that ended well so many minutes ago.
    pub fn deployed(self, env: &Environment, digit: char, minutes: i64) -> Self {
        let mut host = self.switched(env, digit, minutes);
        let confirmed = Confirmed {
            release: release(digit, minutes),
            sha: Some(sha(digit)),
            bundle: Some(made_of(env, digit)),
            at: ago(minutes),
            inputs: Some(env.inputs_digest()),
            files: present_files(&host.0),
            activation: Default::default(),
        };
        let epoch = host.0.record.epoch;
        host.0.record.confirm(epoch, &release(digit, minutes), confirmed).unwrap();
        let green =
            Green { release: release(digit, minutes), since: ago(minutes), last: ago(1), samples: 1 + minutes as u64 };
        host.0.record.green = Some(green);
        host
    }

    /// A deployment whose run died after the switch.
    pub fn switched(self, env: &Environment, digit: char, minutes: i64) -> Self {
        let mut host = self.staged(env, digit, minutes);
        let (state, name) = (&mut host.0, release(digit, minutes));
        let key = quarantine_key(env, state, &sha(digit), Some(made_of(env, digit)));
        let epoch = state.record.epoch.next().unwrap();
        state.record.acquire(epoch).unwrap();
        let probation = Probation {
            release: name.clone(),
            sha: sha(digit),
            back_to: state.record.confirmed.as_ref().map(|c| c.release.clone()),
            epoch,
            armed_at: ago(minutes),
            lease: env.deadline,
            key,
            rollback: Vec::new(),
            activation: Default::default(),
            returning: false,
            watched: None,
        };
        state.record.arm(probation).unwrap();
        state.current = Current::Release(name);
        host
    }

    /// A release that is complete beside what runs.
    pub fn staged(mut self, env: &Environment, digit: char, minutes: i64) -> Self {
        let (name, links) = (release(digit, minutes), links_digest(env, &self.0));
        let staged = Release {
            sha: Some(sha(digit)),
            bundle: Some(made_of(env, digit)),
            tree: None,
            links: None,
            strip: 0,
            staged_at: ago(minutes),
            sealed: false,
            confirmed_at: None,
            failed: false,
            adopted: false,
        };
        self.0.record.staged(name.clone(), staged);
        self.0.record.seal(&name, Digest::of(b"tree"), links).unwrap();
        self.0.releases.push(name);
        self.0.releases.sort();
        self
    }

    /// What is rendered for it comes to this version by now.
    pub fn renders(mut self, from: &str, version: &str) -> Self {
        self.0.rendered.insert(from.to_owned(), Digest::of(version.as_bytes()));
        self
    }

    /// A directory that somebody else made.
    pub fn foreign(mut self, name: &str) -> Self {
        self.0.releases.push(name.parse().unwrap());
        self.0.releases.sort();
        self
    }

    /// `current`, by whatever hand.
    pub fn at(mut self, name: &str) -> Self {
        self.0.current = Current::Release(name.parse().unwrap());
        self
    }

    pub fn link(mut self, current: Current) -> Self {
        self.0.current = current;
        self
    }

    /// A deployment of this commit failed, and the host went back.
    pub fn failed(mut self, env: &Environment, digit: char) -> Self {
        let key = quarantine_key(env, &self.0, &sha(digit), Some(made_of(env, digit)));
        let reason = "check `health` on web1: 503 in 4 ms (6 attempts)".to_owned();
        self.0.record.quarantine(Quarantine { key, reason, at: ago(10), verdict: true, alone: false });
        self
    }

    /// It failed on this host while the others went on.
    pub fn failed_alone(self, env: &Environment, digit: char) -> Self {
        self.failed(env, digit).with(|state| state.record.quarantined.iter_mut().for_each(|q| q.alone = true))
    }

    pub fn file(mut self, from: &str, contents: Option<&str>) -> Self {
        self.0.files.insert(from.to_owned(), contents.map(|c| Digest::of(c.as_bytes())));
        self
    }

    pub fn drifted(mut self, paths: &[(&str, DriftKind)]) -> Self {
        let entries =
            paths.iter().map(|(path, kind)| Drift { path: (*path).to_owned(), kind: *kind, touched: None }).collect();
        let release = self.0.current.release().unwrap().clone();
        self.0.drift = Some(DriftReport { release, at: ago(3), looked: None, age: 0, entries, more: 0 });
        self
    }

    pub fn migration(mut self, env: &Environment, digit: char, state: Migration) -> Self {
        let hook = env.hooks_of(Phase::Migrate).next().unwrap();
        self.0.record.migrations.insert(migration_key(&sha(digit), hook), state);
        self
    }

    pub fn with(mut self, change: impl FnOnce(&mut HostState)) -> Self {
        change(&mut self.0);
        self
    }
}

/// The digest of a commit's bundle.
pub fn bundle(digit: char) -> Digest {
    Digest::of(digit.to_string().as_bytes())
}

/// What a release of this commit goes by.
pub fn made_of(env: &Environment, digit: char) -> Digest {
    match &env.delivery {
        Delivery::Bundle(_) => bundle(digit),
        Delivery::Git(checkout) => checkout.digest(&sha(digit)),
        Delivery::Compose(files) => files.digest(&sha(digit), &env.bundle_values()),
    }
}

/// The same environment, whose releases are services: an `api` that each of them changes, and others.
pub fn of_services(mut env: Environment) -> Environment {
    env.delivery = Delivery::Compose(Box::new(ComposeFiles {
        from: FilesFrom::Directory { path: "platform".to_owned(), tree: "7".repeat(40) },
        files: vec!["compose.yml".to_owned()],
        project: "platform".to_owned(),
        images: BTreeMap::from([("api".to_owned(), "r.example/{tenant}/api:{sha8}".to_owned())]),
        ..ComposeFiles::default()
    }));
    env
}

/// What an environment whose releases are services says of them.
pub fn files_of(env: &mut Environment) -> &mut ComposeFiles {
    match &mut env.delivery {
        Delivery::Compose(files) => files,
        Delivery::Bundle(_) | Delivery::Git(_) => panic!("its releases are no services"),
    }
}

/// The same environment, whose releases are commits.
pub fn of_commits(mut env: Environment) -> Environment {
    env.delivery = Delivery::Git(Checkout {
        repository: env.repository.clone().unwrap(),
        directory: String::new(),
        submodules: false,
        fetch_from: FetchFrom::Controller,
        checks: "https://ci.example.com/{sha}.json".to_owned(),
        checks_from: None,
    });
    env
}

/// What an environment whose releases are commits says of them.
pub fn checkout_of(env: &mut Environment) -> &mut Checkout {
    match &mut env.delivery {
        Delivery::Git(checkout) => checkout,
        Delivery::Bundle(_) | Delivery::Compose(_) => panic!("its releases are no commits"),
    }
}

/// Everything that a plan depends on.
#[derive(Clone)]
pub struct Case {
    pub desired: Desired,
    pub observed: Observed,
    pub now: Timestamp,
    pub secrets: Option<BTreeSet<String>>,
}

impl Case {
    /// One environment whose hosts are as given; its bundle is there.
    pub fn new(env: &Environment, hosts: &[(&str, &Host)]) -> Self {
        let empty = Case { desired: Desired::default(), observed: Observed::default(), now: noon(), secrets: None };
        empty.and(env, hosts)
    }

    /// One more environment.
    pub fn and(mut self, env: &Environment, hosts: &[(&str, &Host)]) -> Self {
        let reached = |host: &Host| HostObserved::Reached(Box::new(host.0.clone()));
        let resolved = match &env.release {
            ReleaseRef::Sha(sha) => Resolved::Sha(sha.clone()),
            ReleaseRef::Directory(name) => Resolved::Sha(Sha::unknown_of(name)),
            ReleaseRef::Tag(_) | ReleaseRef::Awaited => Resolved::NotAsked,
        };
        let digit = env.release.as_str().chars().next().unwrap();
        let seen = EnvObserved {
            hosts: hosts.iter().map(|(name, host)| (host_name(name), reached(host))).collect(),
            resolved,
            artifact: Some(ArtifactFacts { sha256: Fact::Known(made_of(env, digit)), checks: Fact::NotAsked }),
            ..EnvObserved::default()
        };
        self.observed.environments.insert(env.name.clone(), seen);
        self.desired.environments.insert(env.name.clone(), env.clone());
        self
    }

    /// Changes what was seen of an environment.
    pub fn seen(mut self, env: &str, change: impl FnOnce(&mut EnvObserved)) -> Self {
        change(self.observed.environments.get_mut(&env_name(env)).unwrap());
        self
    }

    pub fn unreachable(self, env: &str, host: &str) -> Self {
        let why = "connection timed out after 10 s".to_owned();
        self.seen(env, |seen| drop(seen.hosts.insert(host_name(host), HostObserved::Unreachable(why))))
    }

    /// The plan of all environments.
    pub fn plan(&self) -> Plan {
        let names: Vec<_> = self.desired.environments.keys().cloned().collect();
        let context = Context {
            commit: "c0ffee00",
            now: self.now,
            secrets: self.secrets.as_ref().map(|known| known as &dyn Secrets),
        };
        plan(&self.desired, &self.observed, &names, &context)
    }

    /// The plan of one of them.
    pub fn env(&self, name: &str) -> EnvPlan {
        self.plan().environments.into_iter().find(|e| e.name.as_str() == name).unwrap()
    }
}
