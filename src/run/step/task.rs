//! One run's fixed facts: who, what, where, under which epoch.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::host::wire::Cwd;
use crate::journal::FailureClass;
use crate::journal::event::Started;
use crate::model::desired::{Environment, Hook, Phase, Target};
use crate::model::ids::{Digest, Epoch, HostName, ReleaseName, Sha};
use crate::model::observed::HostState;
use crate::model::record::Command;
use crate::model::template::Values;
use crate::plan::{Action, ReleaseDir, Step};
use crate::run::fill::command;
use crate::run::step::world::{Artifact, Trouble};

/// Everything that a run's steps share.
pub struct Task {
    pub started: Started,
    pub env: Environment,
    pub epoch: Epoch,
    /// As they were when this run had acquired them.
    pub states: BTreeMap<HostName, HostState>,
    /// The bundle that was planned, where its digest was known then.
    pub planned: Option<Digest>,
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
    pub fn locate(&self, host: &HostName, place: &ReleaseDir) -> Located {
        match place {
            ReleaseDir::New { sha } => {
                let release = self.started.release.clone();
                Located { cwd: Cwd::Release(release.clone()), release: Some(release), sha: Some(sha.clone()) }
            }
            ReleaseDir::Existing { release, sha } => {
                Located { cwd: Cwd::Release(release.clone()), release: Some(release.clone()), sha: sha.clone() }
            }
            ReleaseDir::Live { sha } => {
                Located { cwd: Cwd::Current, release: self.live(host).cloned(), sha: sha.clone() }
            }
        }
    }

    /// The values that URLs and commands may name.
    pub fn values(&self, target: &Target, release: Option<&ReleaseName>, sha: Option<&Sha>) -> Values {
        self.env.values(target, release, sha)
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

    /// Refuses a bundle that is not the one that was planned, and perhaps approved: it was replaced meanwhile.
    pub fn must_be_planned(&self, bundle: Digest) -> Result<(), Trouble> {
        match self.planned {
            Some(planned) if planned != bundle => Err(Trouble {
                class: FailureClass::Stale,
                message: format!(
                    "the bundle of {} is not the one that was planned (sha256 {}, planned {}): it was replaced meanwhile",
                    self.sha().short(),
                    bundle.short(),
                    planned.short()
                ),
            }),
            _ => Ok(()),
        }
    }

    /// What the release is made of that this run wants a host to be at, where it is there already: there may be several of one
    /// commit, and a verdict is about this one. Else of another one of that commit.
    pub fn made_of(&self, host: &HostName) -> Option<Digest> {
        let releases = &self.states.get(host)?.record.releases;
        let place = |step: &Step| match &step.action {
            Action::Switch { to } => Some(to.clone()),
            Action::Confirm { release, .. } => Some(release.clone()),
            _ => None,
        };
        let mut steps = self.started.steps.iter().filter(|step| step.host.as_ref() == Some(host));
        let goal = steps.find_map(place).and_then(|place| self.locate(host, &place).release);
        let goal = goal.and_then(|release| releases.get(&release));
        goal.or_else(|| releases.values().find(|release| release.sha.as_ref() == Some(self.sha())))?.bundle
    }

    /// The bundle's digest, once it is known.
    pub fn bundle_digest(&self) -> Option<Digest> {
        self.artifact.get().map(Artifact::digest)
    }
}
