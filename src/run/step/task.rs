//! One run's fixed facts: who, what, where, under which epoch; and how templates and commands are filled from them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::host::wire::Cwd;
use crate::journal::event::Started;
use crate::model::desired::{Environment, Hook, MetricSource, Phase, Probe, Target};
use crate::model::ids::{Digest, Epoch, HostName, ReleaseName, Sha};
use crate::model::observed::HostState;
use crate::model::record::Command;
use crate::model::template::{Values, fill};
use crate::plan::Place;
use crate::run::step::world::Artifact;

/// Everything that a run's steps share.
pub struct Task {
    pub started: Started,
    pub env: Environment,
    pub epoch: Epoch,
    /// As they were when this run had acquired them.
    pub states: BTreeMap<HostName, HostState>,
    /// Set by the verify step, or by the checksum step; the host steps after it need it.
    pub artifact: OnceLock<Artifact>,
}

/// A directory with its name and commit.
pub struct Located {
    pub cwd: Cwd,
    pub release: Option<ReleaseName>,
    pub sha: Option<Sha>,
}

impl Task {
    /// The commit that this run is about.
    pub fn sha(&self) -> &Sha {
        &self.started.to
    }

    /// The target of a step.
    pub fn target(&self, host: &HostName) -> Option<&Target> {
        self.env.targets.iter().find(|t| t.name == *host)
    }

    /// What the host runs, as seen when it was acquired.
    pub fn live(&self, host: &HostName) -> Option<&ReleaseName> {
        self.states.get(host).and_then(|s| s.current.release())
    }

    /// A plan's place, now that the new release has a name.
    pub fn locate(&self, host: &HostName, place: &Place) -> Located {
        match place {
            Place::New { sha } => {
                let release = self.started.release.clone();
                Located { cwd: Cwd::Release(release.clone()), release: Some(release), sha: Some(sha.clone()) }
            }
            Place::Existing { release, sha } => {
                Located { cwd: Cwd::Release(release.clone()), release: Some(release.clone()), sha: sha.clone() }
            }
            Place::Live { sha } => Located { cwd: Cwd::Current, release: self.live(host).cloned(), sha: sha.clone() },
        }
    }

    /// The values that URLs and commands may name.
    pub fn values(&self, target: &Target, release: Option<&ReleaseName>, sha: Option<&Sha>) -> Values {
        values(&self.env, target, release, sha)
    }

    /// A configured command with everything it needs.
    pub fn command(
        &self,
        target: &Target,
        located: &Located,
        name: &str,
        run: &str,
        timeout: std::time::Duration,
    ) -> Command {
        command(&self.env, target, (located.release.as_ref(), located.sha.as_ref()), name, run, timeout)
    }

    /// What a host needs to find its way back alone: rollback hooks, then the door is opened again.
    pub fn way_back(&self, target: &Target, confirmed: &ReleaseName, sha: Option<&Sha>) -> Vec<Command> {
        let hooks = |phase| self.env.hooks_of(phase);
        let fill =
            |hook: &Hook| command(&self.env, target, (Some(confirmed), sha), &hook.name, &hook.run, hook.timeout);
        hooks(Phase::Rollback).chain(hooks(Phase::MaintenanceOff)).map(fill).collect()
    }

    /// The hooks that open a root again, ready to run, around this release.
    pub fn reopening(&self, target: &Target, live: Option<&ReleaseName>, sha: Option<&Sha>) -> Vec<Command> {
        let fill = |hook: &Hook| command(&self.env, target, (live, sha), &hook.name, &hook.run, hook.timeout);
        self.env.hooks_of(Phase::MaintenanceOff).map(fill).collect()
    }

    /// The bundle's digest, once it is known.
    pub fn bundle_digest(&self) -> Option<Digest> {
        self.artifact.get().map(Artifact::digest)
    }
}

/// The values that URLs and commands of an environment may name.
pub fn values(env: &Environment, target: &Target, release: Option<&ReleaseName>, sha: Option<&Sha>) -> Values {
    let mut values: Values = env.variables.clone();
    let mut set = |name: &str, value: &str| values.insert(name.to_owned(), value.to_owned());
    set("env", env.name.as_str());
    set("host", target.name.as_str());
    set("root", &target.root);
    set("release", release.map_or("", |r| r.as_str()));
    set("sha", sha.map_or("", |s| s.as_str()));
    set("sha8", sha.map_or("", |s| s.short()));
    values
}

/// A configured command of an environment, filled for one release.
pub fn command(
    env: &Environment,
    target: &Target,
    (release, sha): (Option<&ReleaseName>, Option<&Sha>),
    name: &str,
    run: &str,
    timeout: std::time::Duration,
) -> Command {
    let values = values(env, target, release, sha);
    let text = |key: &str| values.get(key).cloned().unwrap_or_default();
    let own = [
        ("SOLL_ENV", text("env")),
        ("SOLL_SHA", text("sha")),
        ("SOLL_RELEASE", text("release")),
        ("SOLL_ROOT", text("root")),
        ("SOLL_HOST", text("host")),
    ];
    let variables = env.variables.iter().map(|(key, value)| (format!("SOLL_VAR_{key}"), value.clone()));
    let vars = own.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(variables).collect();
    let hides = env.env_file().map(|file| format!("{}/shared/{}", target.root, file.from)).into_iter().collect();
    Command { name: name.to_owned(), run: fill(run, &values), env: vars, timeout, hides }
}

/// A check's question with its templates filled.
pub fn fill_probe(probe: &Probe, values: &Values) -> Probe {
    let mut probe = probe.clone();
    match &mut probe {
        Probe::Http { url, body, .. } => {
            *url = fill(url, values);
            *body = body.as_ref().map(|b| fill(b, values));
        }
        Probe::Tcp { address } | Probe::Tls { address, .. } => *address = fill(address, values),
        Probe::Run { command } => *command = fill(command, values),
        Probe::Systemd { unit } => *unit = fill(unit, values),
        Probe::Assets { manifest, base_url } => {
            *manifest = fill(manifest, values);
            *base_url = fill(base_url, values);
        }
    }
    probe
}

/// A metric's source with its templates filled.
pub fn fill_source(source: &MetricSource, values: &Values) -> MetricSource {
    let mut source = source.clone();
    match &mut source {
        MetricSource::Http { url, .. } => *url = fill(url, values),
        MetricSource::Run { command } => *command = fill(command, values),
        MetricSource::Prometheus { url, query, .. } => {
            *url = fill(url, values);
            *query = fill(query, values);
        }
    }
    source
}
