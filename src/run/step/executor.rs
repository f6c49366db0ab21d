//! Carries one step out. Every arm says how; none decides whether, when or what comes next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::UnboundedSender;

use crate::host::wire::activate::{Activated, Deed};
use crate::host::wire::render::Compared;
use crate::host::wire::{CommandRole, Exit, GateResult, HostError, Op, Reply};
use crate::journal::FailureClass;
use crate::model::activation::Activation;
use crate::model::desired::{Gate, GateTest, Hook, OnFailure, Phase, Shared, Target, digests};
use crate::model::ids::{HostName, ReleaseName};
use crate::model::observed::{Attempt, Leftover};
use crate::model::record::{Probation, Quarantine, QuarantineKey, Refusal};
use crate::plan::intent::quarantine_key;
use crate::plan::{Action, Judged, ReleaseDir, Step};
use crate::run::size::bytes;
use crate::run::step::backup;
use crate::run::step::judge;
use crate::run::step::pull;
use crate::run::step::task::{Located, Task};
use crate::run::step::transfer;
use crate::run::step::watch;
use crate::run::step::world::{Artifact, Trouble, World};

/// A prepare hook that ends with this exit code gives no verdict: what it needs could not be had for now.
const TRY_AGAIN: i32 = 75;

/// What a step gives: something to say, or a failure with the output that explains it.
pub type StepResult = Result<String, StepTrouble>;

/// A failed step, before the plan's `on_failure` is attached to it.
#[derive(Debug)]
pub struct StepTrouble {
    pub class: FailureClass,
    pub message: String,
    pub output: Option<String>,
}

impl StepTrouble {
    /// An error that nothing is known of yet.
    pub fn none() -> StepTrouble {
        StepTrouble { class: FailureClass::Error, message: "nothing was done".to_owned(), output: None }
    }
}

impl From<Trouble> for StepTrouble {
    fn from(trouble: Trouble) -> Self {
        StepTrouble { class: trouble.class, message: trouble.message, output: None }
    }
}

impl From<HostError> for StepTrouble {
    fn from(error: HostError) -> Self {
        let class = match &error {
            HostError::Connection(_) | HostError::Interrupted(_) => FailureClass::Connection,
            HostError::Refused { refusal: Refusal::Fenced { .. } } | HostError::Locked { .. } => FailureClass::Fenced,
            HostError::Integrity(_) => FailureClass::Stale,
            HostError::Stopped(_) => FailureClass::Interrupted,
            HostError::Refused { .. } | HostError::Precondition(_) | HostError::Io(_) | HostError::Exposed { .. } => {
                FailureClass::Error
            }
        };
        StepTrouble { class, message: error.to_string(), output: None }
    }
}

/// Who is started or stopped on a host.
#[derive(Clone, Copy)]
enum Who {
    /// One of systemd.
    Unit,
    /// One of a project of containers.
    Service,
}

/// One step with what it may touch.
pub struct Executor<W> {
    pub world: Arc<W>,
    pub task: Arc<Task>,
    /// Evidence on the way, for the dispatcher to journal.
    pub evidence: UnboundedSender<(String, Attempt)>,
    /// The run goes back, whatever the steps of its forward part still find out.
    pub halt: Arc<AtomicBool>,
}

impl<W: World> Executor<W> {
    /// Carries `step` out. `yields`: it is left in the middle where its answer is not needed any more.
    pub async fn execute(&self, step: &Step, yields: bool) -> StepResult {
        let Some(host) = &step.host else { return self.on_controller(step).await };
        let Some(target) = self.task.target(host) else {
            return Err(Trouble::error(format!("step `{}` names the unknown host {host}", step.id)).into());
        };
        let epoch = self.task.epoch;
        match &step.action {
            Action::HealthBefore { check, attempts } => {
                let live = self.live(host);
                let looked = judge::check(self, (&step.id, yields), target, &live, check, *attempts).await;
                // What runs was judged, not what would come: a verdict here would quarantine the cure (A4).
                looked.map_err(|trouble| StepTrouble {
                    class: trouble.class.without_verdict(),
                    message: format!("unhealthy before the deployment: {}", trouble.message),
                    ..trouble
                })
            }
            Action::Health { check, place } | Action::Assets { check, place } => {
                let current = Located { cwd: crate::host::wire::Cwd::Current, ..self.task.locate(host, place) };
                judge::check(self, (&step.id, yields), target, &current, check, self.task.env.health.attempts).await
            }
            Action::Watch { watch, place, watched } => {
                let located = self.task.locate(host, place);
                watch::watch(self, &step.id, target, &located, watch, watched.clone().unwrap_or_default()).await
            }
            Action::Activate { activation } => {
                // Nobody stops a way back.
                let deed = if yields { Deed::Restart } else { Deed::Back };
                self.activate(target, activation.clone(), deed).await
            }
            Action::Backup { backup: job } => backup::step(self, step, target, job).await,
            Action::Drain { activation } => {
                let (activation, lease) = (activation.clone(), self.task.env.deadline);
                let rest = self.units(target, Op::Drain { epoch, activation, lease }, Who::Unit).await;
                // What does not stop is of the release that runs: a verdict here would quarantine another one.
                rest.map_err(|trouble| StepTrouble { class: trouble.class.without_verdict(), ..trouble })
            }
            Action::Grace { seconds } => self.pause(*seconds, yields).await,
            Action::Adopt { release, sha, checks } => {
                for check in checks {
                    judge::check(self, (&step.id, yields), target, &self.live(host), check, 1).await?;
                }
                let unread = self.adopt(target, release, sha.clone()).await?;
                let confirmed = self.confirm(target, release, sha.clone(), None).await?;
                Ok(match unread.first() {
                    None => confirmed,
                    Some(first) => {
                        format!("{confirmed}; {} of it cannot be read and is not vouched for: {first}", unread.count())
                    }
                })
            }
            Action::Upload => transfer::upload(self, target).await,
            Action::Extract => transfer::extract(self, target).await,
            Action::Render => self.render(target, host).await,
            Action::Link => {
                let env = &self.task.env;
                let (name, shared) = (self.new_release(), self.linked(host));
                // As it is linked: what is rendered for this release is what it must hold.
                let env_file = env.env_file().and_then(|file| shared.iter().find(|shared| shared.path == file.path));
                let env_file = env_file.map(|file| file.from.clone());
                let required_env = env.required_env.clone();
                self.done(target, Op::Link { epoch, name, shared, env_file, required_env }).await
            }
            Action::Pull { project } => pull::pull(self, target, project).await,
            Action::Gate { gate, place } => self.gate(target, host, gate, place).await,
            Action::Hook { hook, place } | Action::Reload { hook, place } => {
                let means = if hook.phase == Phase::Rollback { CommandRole::Back } else { CommandRole::Work };
                self.hook(target, host, hook, place, means).await
            }
            Action::Maintenance { hook, place } => {
                let means = match hook.phase {
                    Phase::MaintenanceOn => {
                        let located = self.task.locate(host, place);
                        let open = self.task.reopening(target, located.release.as_ref(), located.sha.as_ref());
                        CommandRole::Close { open, lease: self.task.env.deadline }
                    }
                    _ => CommandRole::Open,
                };
                self.hook(target, host, hook, place, means).await
            }
            Action::Migrate { hook, place } => {
                let key = crate::plan::forward::migration_key(self.task.sha(), hook);
                let case = (hook.on_failure != OnFailure::Warn).then(|| self.key(host));
                self.hook(target, host, hook, place, CommandRole::Migration { key, case }).await
            }
            Action::Seal { place: ReleaseDir::Existing { release, sha } } => {
                self.adopt(target, release, sha.clone()).await.map(|_| format!("{release} taken over"))
            }
            Action::Seal { .. } => {
                let (name, shared) = (self.new_release(), self.linked(host));
                let mutable = self.task.env.mutable.clone();
                match self.world.call(target, Op::Seal { epoch, name, shared, mutable }).await? {
                    Reply::Sealed { tree, .. } => Ok(format!("tree {}", tree.short())),
                    other => Err(unexpected(&other)),
                }
            }
            Action::Switch { to } => self.switch(target, host, to).await,
            Action::Confirm { release, again: true, .. } => {
                let Some(name) = self.task.locate(host, release).release else { return Err(nameless(step)) };
                self.confirm_again(target, &name).await
            }
            Action::Confirm { release, inputs, .. } => {
                let located = self.task.locate(host, release);
                let Some(name) = located.release else { return Err(nameless(step)) };
                self.confirm(target, &name, located.sha, Some(*inputs)).await
            }
            Action::Prune { keep } => match self.world.call(target, Op::Prune { epoch, keep: *keep }).await? {
                Reply::Pruned { removed, kept_in_use, left } => Ok(pruned(&removed, &kept_in_use, &left)),
                other => Err(unexpected(&other)),
            },
            Action::Rollback { verdict } => {
                let verdict = verdict.as_ref().map(|judged| self.verdict(host, judged));
                match self.world.call(target, Op::Return { epoch, verdict }).await? {
                    Reply::Returned { to } => Ok(format!("`current` is back at {to}")),
                    other => Err(unexpected(&other)),
                }
            }
            Action::Hold { verdict } => {
                let verdict = verdict.as_ref().map(|judged| self.verdict(host, judged));
                self.done(target, Op::Hold { epoch, verdict }).await
            }
            Action::Verify { place } => {
                let Some(name) = self.task.locate(host, place).release else { return Err(nameless(step)) };
                self.done(target, Op::Verify { epoch, name }).await
            }
            Action::Fetch { .. } => transfer::fetch(self, target).await,
            Action::Checksum { .. } | Action::RevertCommit { .. } => self.on_controller(step).await,
        }
    }

    async fn on_controller(&self, step: &Step) -> StepResult {
        let env = &self.task.env;
        match &step.action {
            Action::Fetch { sha } => tokio::select! {
                biased;
                fetched = self.world.fetch(env, sha) => Ok(fetched?),
                message = self.halted() => {
                    Err(StepTrouble { class: FailureClass::Interrupted, message, output: None })
                }
            },
            Action::Grace { seconds } => self.pause(*seconds, true).await,
            Action::Verify { .. } => {
                let bundle = self.world.verify(env, self.task.sha()).await?;
                self.task.must_be_planned(bundle.digest)?;
                let files = bundle.tree.manifest.files().count();
                let note = format!("{}, {files} files, {}", bundle.known_as, bytes(bundle.tree.manifest.bytes()));
                // A second verify in one run gives the same bundle.
                let _ = self.task.artifact.set(Artifact::Unpacked(bundle));
                Ok(note)
            }
            Action::Checksum { sha } => {
                let remote = self.world.remote_bundle(env, sha).await?;
                self.task.must_be_planned(remote.digest)?;
                let note = remote.known_as.clone();
                let _ = self.task.artifact.set(Artifact::Remote(remote));
                Ok(note)
            }
            Action::RevertCommit { from, to } => {
                let commit = self.world.revert(env, from, to, &step.reason).await?;
                Ok(format!("commit {}", &commit[..commit.len().min(10)]))
            }
            _ => Err(Trouble::error(format!("step `{}` names no host", step.id)).into()),
        }
    }

    /// Time that passes. A person who cancels does not wait for its end; nothing else makes it shorter.
    async fn pause(&self, seconds: f64, yields: bool) -> StepResult {
        match self.doze(std::time::Duration::from_secs_f64(seconds), yields).await {
            true => Ok(String::new()),
            false => Ok("ended early: cancelled".to_owned()),
        }
    }

    /// Waits for so long. `false`: the run goes back, so that nobody needs what was waited for.
    pub(in crate::run) async fn doze(&self, time: std::time::Duration, yields: bool) -> bool {
        let slice = std::time::Duration::from_secs(1);
        let mut left = time;
        while !(yields && self.halt.load(Ordering::Relaxed)) {
            if left.is_zero() {
                return true;
            }
            self.world.sleep(left.min(slice)).await;
            left = left.saturating_sub(slice);
        }
        false
    }

    /// Ends once somebody wants everything back: nobody needs what was fetched then.
    async fn halted(&self) -> String {
        while self.doze(std::time::Duration::from_secs(3600), true).await {}
        "ended early: cancelled".to_owned()
    }

    pub(in crate::run) fn new_release(&self) -> ReleaseName {
        self.task.started.release.clone()
    }

    fn live(&self, host: &HostName) -> Located {
        self.task.locate(host, &ReleaseDir::Live { sha: self.task.started.from_sha.clone() })
    }

    async fn done(&self, target: &Target, op: Op) -> StepResult {
        self.world.call(target, op).await?;
        Ok(String::new())
    }

    async fn gate(&self, target: &Target, host: &HostName, gate: &Gate, place: &ReleaseDir) -> StepResult {
        let located = self.task.locate(host, place);
        let command = match &gate.test {
            GateTest::Run(run) => Some(self.task.command(target, &located, &gate.name, run, gate.timeout)),
            GateTest::File(_) | GateTest::Dir(_) => None,
        };
        let Some(name) = located.release else {
            return Err(Trouble::error(format!("gate `{}` has no release to look at", gate.name)).into());
        };
        let op = Op::Gate { epoch: self.task.epoch, name, gate: gate.clone(), command };
        match self.world.call(target, op).await? {
            Reply::Gate(GateResult { pass: true, evidence }) => Ok(evidence),
            Reply::Gate(GateResult { pass: false, evidence }) => {
                let message = format!("gate `{}` says no on {host}: {evidence}", gate.name);
                Err(StepTrouble { class: FailureClass::Verdict, message, output: None })
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn hook(
        &self,
        target: &Target,
        host: &HostName,
        hook: &Hook,
        place: &ReleaseDir,
        means: CommandRole,
    ) -> StepResult {
        let mut located = self.task.locate(host, place);
        // After the switch the working directory is `current`, so that what a hook restarts sees the link.
        if hook.phase >= crate::model::desired::Phase::PostSwitch
            && hook.phase != crate::model::desired::Phase::Rollback
        {
            located.cwd = crate::host::wire::Cwd::Current;
        }
        let command = self.task.command(target, &located, &hook.name, &hook.run, hook.timeout);
        let op = Op::Hook { epoch: self.task.epoch, cwd: located.cwd, command, means };
        match self.world.call(target, op).await? {
            Reply::Command(result) if result.ok() => Ok(result.told()),
            // `EX_TEMPFAIL` of sysexits.h. Nothing was touched yet: a registry that is away says nothing about the release.
            Reply::Command(result) if hook.phase == Phase::Prepare && result.exit == Exit::Code(TRY_AGAIN) => {
                let message = format!(
                    "prepare hook `{}` could not do its work on {host} for now, and says that it can be tried again: {}",
                    hook.name,
                    result.evidence()
                );
                Err(StepTrouble { class: FailureClass::Error, message, output: Some(result.output) })
            }
            Reply::Command(result) => {
                let phase = hook.phase.as_str();
                let message = format!("{phase} hook `{}` says no on {host}: {}", hook.name, result.evidence());
                Err(StepTrouble { class: FailureClass::Verdict, message, output: Some(result.output) })
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn activate(&self, target: &Target, activation: Activation, deed: Deed) -> StepResult {
        let who = if activation.project.is_some() { Who::Service } else { Who::Unit };
        self.units(target, Op::Activate { epoch: self.task.epoch, activation, deed }, who).await
    }

    /// What is started or stopped on a host.
    async fn units(&self, target: &Target, op: Op, who: Who) -> StepResult {
        match self.world.call(target, op).await? {
            Reply::Activated(Activated { told, failed: None }) => Ok(told.join("; ")),
            Reply::Activated(Activated { failed: Some(failed), .. }) => {
                let (unit, host, why) = (&failed.unit, &target.name, &failed.why);
                let message = match who {
                    Who::Unit => format!("unit {unit} says no on {host}: {why}"),
                    Who::Service => format!("service {unit} says no on {host}: {why}"),
                };
                Err(StepTrouble { class: FailureClass::Verdict, message, output: Some(failed.journal) })
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn switch(&self, target: &Target, host: &HostName, to: &ReleaseDir) -> StepResult {
        let task = &self.task;
        let located = task.locate(host, to);
        let (Some(release), Some(state)) = (located.release, task.states.get(host)) else {
            return Err(Trouble::error(format!("the switch of {host} names no release")).into());
        };
        // Of one whose commit nobody knows what stands for it: a verdict has to be about something.
        let sha = located.sha.unwrap_or_else(|| task.sha().clone());
        // An adoption in this run may have made a way back that the state at the start did not have.
        let confirmed = state.record.confirmed.as_ref().map(|c| (c.release.clone(), c.sha.clone()));
        let back = confirmed.or_else(|| state.current.release().map(|r| (r.clone(), task.started.from_sha.clone())));
        let own = Activation::of(&task.env, target);
        if !own.is_empty() {
            // What cannot be restarted is found while `current` is untouched.
            self.activate(target, own, Deed::Look).await?;
        }
        let activation = Activation::back(&task.env, target, &state.record);
        let rollback = back.as_ref().map(|(r, sha)| task.way_back(target, r, sha.as_ref())).unwrap_or_default();
        let probation = Probation {
            release: release.clone(),
            sha,
            back_to: back.map(|(release, _)| release),
            epoch: task.epoch,
            armed_at: self.world.now(),
            lease: task.env.deadline,
            key: self.key(host),
            rollback,
            activation,
            returning: false,
            watched: None,
        };
        let told = match self.world.call(target, Op::Switch { epoch: task.epoch, probation }).await? {
            Reply::Switched { told } => told,
            other => return Err(unexpected(&other)),
        };
        let told: String = told.iter().map(|told| format!("; {told}")).collect();
        Ok(format!("current -> releases/{release}{told}"))
    }

    /// The shared paths as the new release is linked to them, rendered files by the versions that were planned.
    fn linked(&self, host: &HostName) -> Vec<Shared> {
        let versions = self.task.states.get(host).map(|state| &state.rendered);
        self.task.env.linked(versions.unwrap_or(&BTreeMap::new()))
    }

    /// Sends the rendered files of the new release. A variable or a secret that changed since the plan was made is another plan.
    async fn render(&self, target: &Target, host: &HostName) -> StepResult {
        let files = self.world.render(&self.task.env, target, self.task.sha())?;
        let planned = self.task.states.get(host).map(|state| &state.rendered);
        if let Some(other) = files.iter().find(|file| planned.and_then(|of| of.get(&file.from)) != Some(&file.digest()))
        {
            let message =
                format!("{} is rendered otherwise than when it was planned: a secret changed meanwhile", other.from);
            return Err(StepTrouble { class: FailureClass::Stale, message, output: None });
        }
        match self.world.call(target, Op::Render { epoch: self.task.epoch, files }).await? {
            Reply::Rendered(compared) => Ok(compared.iter().map(Compared::told).collect::<Vec<_>>().join("; ")),
            other => Err(unexpected(&other)),
        }
    }

    /// What a verdict about this run's release is filed under on a host.
    pub fn key(&self, host: &HostName) -> QuarantineKey {
        let (env, sha, bundle) = (&self.task.env, self.task.sha(), self.task.bundle_digest());
        match self.task.states.get(host) {
            Some(state) => quarantine_key(env, state, sha, bundle.or_else(|| self.task.made_of(host))),
            None => QuarantineKey {
                sha: sha.clone(),
                bundle,
                config: env.config_digest(),
                files: digests::files(&std::collections::BTreeMap::new()),
            },
        }
    }

    /// A verdict as one host records it.
    pub fn verdict(&self, host: &HostName, judged: &Judged) -> Quarantine {
        let Judged { reason, alone } = judged.clone();
        Quarantine { key: self.key(host), reason, at: self.world.now(), verdict: true, alone }
    }
}

pub(in crate::run) fn unexpected(reply: &Reply) -> StepTrouble {
    Trouble::error(format!("the host gave an answer that does not fit its question: {reply:?}")).into()
}

fn nameless(step: &Step) -> StepTrouble {
    Trouble::error(format!("step `{}` names no release", step.id)).into()
}

fn pruned(removed: &[ReleaseName], kept: &[ReleaseName], left: &[Leftover]) -> String {
    let names = |list: &[ReleaseName]| list.iter().map(ReleaseName::as_str).collect::<Vec<_>>().join(", ");
    let mut told = Vec::new();
    if !removed.is_empty() {
        told.push(format!("removed {}", names(removed)));
    }
    if !kept.is_empty() {
        told.push(format!("kept, a process uses them: {}", names(kept)));
    }
    if let Some(first) = left.first() {
        told.push(format!("{} of theirs stays: {}", left.len(), first.what()));
    }
    told.join("; ")
}
