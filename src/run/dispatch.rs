//! The only writer of a run's state: starts what may start, journals what happened, and, when the forward part fails,
//! asks the pure core what follows. Makes the events; knows no step's insides.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::executor::{Executor, StepResult};
use super::task::Task;
use super::world::{Interruption, Trouble, World};
use crate::fault::fault;
use crate::host::wire::Op;
use crate::journal::consequence::{Consequence, back_on_failure, consequence, result};
use crate::journal::{Event, Failure, FailureClass, RunResult, RunState, StepEnd};
use crate::model::desired::{EnvFailure, OnFailure, Phase};
use crate::model::ids::{HostName, ReleaseName, Sha};
use crate::model::observed::HostState;
use crate::model::record::Quarantine;
use crate::plan::{Action, Step, back};

/// Steps of one run that are under way at once.
const WIDTH: usize = 16;

/// Runs one task to its end.
pub struct Dispatcher<W> {
    world: Arc<W>,
    task: Arc<Task>,
    state: RunState,
}

/// How a part of the graph ended.
enum End {
    Complete,
    Failed(Failure),
    Stopped(Interruption),
}

impl<W: World> Dispatcher<W> {
    /// For a task whose hosts are acquired.
    pub fn new(world: Arc<W>, task: Task) -> Self {
        Dispatcher { world, task: Arc::new(task), state: RunState::default() }
    }

    /// Runs it.
    pub async fn run(mut self) -> Result<(RunResult, String), Trouble> {
        self.open().await?;
        let steps = self.task.started.steps.clone();
        let (result, reason) = match self.drive(&steps, true).await? {
            End::Complete => (RunResult::Succeeded, String::new()),
            End::Failed(failure) => self.turn_back(failure).await?,
            End::Stopped(why) => self.stop(why).await?,
        };
        self.finish(result, reason).await
    }

    /// Carries out a verdict that stands on the hosts already: the run that gave it did not live to go back.
    pub async fn carry_out(mut self, verdict: String) -> Result<(RunResult, String), Trouble> {
        self.open().await?;
        let (step, class, on_failure) = ("verdict".to_owned(), FailureClass::Verdict, OnFailure::Abort);
        let failure = Failure { step, host: None, class, on_failure, message: verdict, output: None };
        let (result, reason) = self.go_back(failure).await?;
        self.finish(result, reason).await
    }

    async fn open(&mut self) -> Result<(), Trouble> {
        self.record(Event::Started(Box::new(self.task.started.clone()))).await?;
        self.record(Event::Acquired { epoch: self.task.epoch }).await?;
        fault!("run.after-started");
        Ok(())
    }

    /// The result is journaled before it is returned (law 8).
    async fn finish(&mut self, result: RunResult, reason: String) -> Result<(RunResult, String), Trouble> {
        fault!("run.before-finished");
        let at = self.world.now();
        self.record(Event::Finished { at, result, reason: reason.clone() }).await?;
        fault!("run.after-finished");
        Ok((result, reason))
    }

    /// A failed forward part: verdict, way back, result.
    async fn turn_back(&mut self, failure: Failure) -> Result<(RunResult, String), Trouble> {
        let Consequence::TurnBack { quarantine } = consequence(&failure, &self.state) else {
            return Ok(result(&self.task.env, &failure, &self.state, None));
        };
        if quarantine {
            fault!("run.before-quarantine");
            self.quarantine(&failure).await?;
            fault!("run.after-quarantine");
        }
        self.go_back(failure).await
    }

    async fn go_back(&mut self, failure: Failure) -> Result<(RunResult, String), Trouble> {
        let steps = self.way_back(Some(&failure), failure.class == FailureClass::Verdict);
        let at = self.world.now();
        self.record(Event::TurnedBack { at, failure: Some(failure.clone()), steps: steps.clone() }).await?;
        fault!("run.after-turned-back");
        let end = self.drive(&steps, false).await?;
        let back = match &end {
            End::Failed(back) => Some(back),
            End::Complete | End::Stopped(_) => None,
        };
        Ok(result(&self.task.env, &failure, &self.state, back))
    }

    /// Somebody wants it to stop: what was closed is opened, what was switched goes back.
    async fn stop(&mut self, why: Interruption) -> Result<(RunResult, String), Trouble> {
        let cancelled = matches!(why, Interruption::Cancelled(_));
        let (result, reason) = match why {
            Interruption::Superseded(commit) => (RunResult::Superseded, format!("commit {commit} is newer")),
            Interruption::Cancelled(who) => (RunResult::Cancelled, format!("cancelled by {who}")),
            Interruption::Terminating => (RunResult::Superseded, "the controller was told to end".to_owned()),
        };
        let steps = self.way_back(None, cancelled);
        let any = |wanted: fn(&Action) -> bool| steps.iter().any(|s| wanted(&s.action));
        let left = match (any(|a| *a == Action::Rollback), any(|a| *a == Action::Hold)) {
            (_, true) => "what was switched had nothing to go back to, or was to be held, and stays",
            (true, false) => "everything is back where it was",
            (false, false) => "`current` is untouched",
        };
        let at = self.world.now();
        self.record(Event::TurnedBack { at, failure: None, steps: steps.clone() }).await?;
        Ok(match self.drive(&steps, false).await? {
            End::Failed(back) => (RunResult::Failed, format!("{reason}; AND THE WAY BACK FAILED: {}", back.message)),
            _ => (result, format!("{reason}; {left}")),
        })
    }

    /// `returns`: what is on probation goes back. Without a verdict or a person's word nobody is sent back: what was
    /// switched is left to its probation (law 4).
    fn way_back(&self, failure: Option<&Failure>, returns: bool) -> Vec<Step> {
        let task = &self.task;
        let (switched, closed) = (self.state.switched(), self.state.closed());
        let took_part = |name: &HostName| task.started.steps.iter().any(|s| s.host.as_ref() == Some(name));
        let hosts: Vec<_> = task
            .states
            .iter()
            .filter(|(name, _)| took_part(name) && (returns || !switched.contains(*name)))
            .map(|(name, state)| {
                let goal = self.goal(name);
                // A probation that this run took over is its switch too.
                let resumed = state.record.probation.as_ref().is_some_and(|p| {
                    let condemned = p.sha == *task.sha() && state.record.verdict_on(&p.key).is_some();
                    condemned || goal.as_ref() == Some(&p.release)
                });
                let switched = switched.contains(name) || (returns && resumed);
                let confirmed = state.record.confirmed.as_ref().map(|c| (c.release.clone(), c.sha.clone()));
                let confirmed = confirmed.or_else(|| self.adopted(name));
                back::Host {
                    name: name.clone(),
                    switched,
                    confirmed: confirmed.filter(|(release, _)| !switched || Some(release) != goal.as_ref()),
                    closed: closed.contains(name) || state.record.closed.is_some(),
                }
            })
            .collect();
        let verdict = failure.is_some_and(|f| f.class == FailureClass::Verdict);
        let wanted = verdict && task.env.revert_commit && task.env.on_failure == EnvFailure::Rollback;
        let cause = back::Cause {
            on_failure: back_on_failure(failure),
            reason: failure.map_or_else(|| "it was stopped".to_owned(), |f| f.message.clone()),
            revert: back::common(&hosts)
                .or_else(|| self.restarted().then(|| earlier(&task.states, task.sha())).flatten())
                .filter(|to| wanted && to != task.sha())
                .map(|to| (task.sha().clone(), to)),
        };
        back::back(&task.env, &hosts, &cause)
    }

    /// The release that this run wants a host to be at.
    fn goal(&self, host: &HostName) -> Option<ReleaseName> {
        let place = |step: &Step| match &step.action {
            Action::Switch { to } => Some(to.clone()),
            Action::Confirm { release, .. } => Some(release.clone()),
            _ => None,
        };
        let mut steps = self.task.started.steps.iter().filter(|s| s.host.as_ref() == Some(host));
        steps.find_map(place).and_then(|place| self.task.locate(host, &place).release)
    }

    /// What was adopted in this run is the way back, although the state at its start did not say so.
    fn adopted(&self, host: &HostName) -> Option<(ReleaseName, Option<Sha>)> {
        let mut steps = self.task.started.steps.iter().filter(|s| s.host.as_ref() == Some(host) && self.done(&s.id));
        steps.find_map(|s| match &s.action {
            Action::Adopt { release, sha, .. } => Some((release.clone(), sha.clone())),
            _ => None,
        })
    }

    /// This run was the restart of a confirmed release: the second rung of the ladder is the one before it (C6).
    fn restarted(&self) -> bool {
        let mut steps = self.task.started.steps.iter();
        steps.any(|s| matches!(&s.action, Action::Hook { hook, .. } if hook.phase == Phase::Restart))
    }

    /// Passed without a warning.
    fn done(&self, step: &str) -> bool {
        use crate::journal::StepState;
        matches!(self.state.steps.get(step), Some(StepState::Ended(StepEnd::Done { .. })))
    }

    /// Records the verdict on every host that can be reached; one is enough for the next decision (law 4).
    async fn quarantine(&mut self, failure: &Failure) -> Result<(), Trouble> {
        let (world, task) = (self.world.clone(), self.task.clone());
        let executor = Executor { world, task, evidence: mpsc::unbounded_channel().0 };
        let mut hosts = Vec::new();
        for target in &self.task.env.targets {
            let key = executor.key(&target.name);
            let entry = Quarantine { key, reason: failure.message.clone(), at: self.world.now(), verdict: true };
            match self.world.call(target, Op::Quarantine { epoch: self.task.epoch, entry }).await {
                Ok(_) => hosts.push(target.name.clone()),
                Err(error) => tracing::warn!(host = %target.name, %error, "the verdict could not be recorded"),
            }
        }
        self.record(Event::Quarantined { hosts, reason: failure.message.clone() }).await
    }

    /// Runs a graph. `forward`: the first failure stops it, and it may be interrupted; on the way back every host
    /// goes as far as it can.
    async fn drive(&mut self, steps: &[Step], forward: bool) -> Result<End, Trouble> {
        let (sender, mut evidence) = mpsc::unbounded_channel();
        let (world, task) = (self.world.clone(), self.task.clone());
        let executor = Arc::new(Executor { world, task, evidence: sender });
        let mut running: JoinSet<(Step, jiff::Timestamp, StepResult)> = JoinSet::new();
        let mut failures: Vec<Failure> = Vec::new();
        let mut stopped = None;
        loop {
            if forward && stopped.is_none() && failures.is_empty() {
                stopped = self.interruption();
            }
            let go_on = stopped.is_none() && (failures.is_empty() || !forward);
            if go_on {
                let ready: Vec<_> = self.state.ready(steps).into_iter().cloned().collect();
                for step in ready {
                    if running.len() >= WIDTH {
                        break;
                    }
                    let at = self.world.now();
                    fault!("run.before-intent", step.action.kind());
                    self.record(Event::Intended { step: step.id.clone(), at }).await?;
                    fault!("run.after-intent", step.action.kind());
                    let executor = executor.clone();
                    running.spawn(async move {
                        let result = executor.execute(&step).await;
                        fault!("run.after-effect", step.action.kind());
                        (step, at, result)
                    });
                }
            }
            tokio::select! {
                biased;
                Some((step, attempt)) = evidence.recv() => self.record(Event::Attempted { step, attempt }).await?,
                ended = running.join_next() => {
                    let Some(ended) = ended else { break };
                    let (step, began, outcome) =
                        ended.map_err(|e| Trouble::error(format!("a step broke off: {e}")))?;
                    while let Ok((step, attempt)) = evidence.try_recv() {
                        self.record(Event::Attempted { step, attempt }).await?;
                    }
                    failures.extend(self.ended(&step, began, outcome).await?);
                }
            }
        }
        let worst = failures.into_iter().max_by_key(|f| weight(f.class));
        Ok(match (worst, stopped) {
            (Some(failure), _) => End::Failed(failure),
            (None, Some(why)) => End::Stopped(why),
            (None, None) => End::Complete,
        })
    }

    fn interruption(&self) -> Option<Interruption> {
        let wanted = self.world.interruption()?;
        let confirming = self
            .task
            .started
            .steps
            .iter()
            .any(|s| matches!(s.action, Action::Confirm { .. }) && self.state.touched(&s.id));
        match wanted {
            _ if self.state.at_safe_point() => Some(wanted),
            // A person who cancels after the switch wants it back; anything else waits for the verdict.
            Interruption::Cancelled(_) if !confirming => Some(wanted),
            _ => None,
        }
    }

    async fn ended(
        &mut self,
        step: &Step,
        began: jiff::Timestamp,
        outcome: StepResult,
    ) -> Result<Option<Failure>, Trouble> {
        let at = self.world.now();
        let millis = u64::try_from(at.duration_since(began).as_millis()).unwrap_or(0);
        let (end, failure) = match outcome {
            Ok(note) => (StepEnd::Done { note }, None),
            Err(trouble) => {
                let failure = Failure {
                    step: step.id.clone(),
                    host: step.host.clone(),
                    class: trouble.class,
                    on_failure: step.on_failure,
                    message: trouble.message,
                    output: trouble.output,
                };
                // A fenced run stops at once: a warning would let it go on against the one that took over.
                if step.on_failure == OnFailure::Warn && failure.class != FailureClass::Fenced {
                    (StepEnd::Warned { failure }, None)
                } else {
                    (StepEnd::Failed { failure: failure.clone() }, Some(failure))
                }
            }
        };
        self.record(Event::Ended { step: step.id.clone(), at, millis, end }).await?;
        fault!("run.after-result", step.action.kind());
        Ok(failure)
    }

    async fn record(&mut self, event: Event) -> Result<(), Trouble> {
        self.world.journal(&self.task.started.run, &event).await?;
        self.state.apply(&event);
        Ok(())
    }
}

/// What every host had confirmed before `sha`, where it is one commit.
fn earlier(states: &BTreeMap<HostName, HostState>, sha: &Sha) -> Option<Sha> {
    let mut before = states.values().map(|state| {
        let others = state.record.releases.values().filter(|r| r.sha.as_ref() != Some(sha) && !r.failed);
        others.filter(|r| r.confirmed_at.is_some()).max_by_key(|r| r.confirmed_at).and_then(|r| r.sha.clone())
    });
    let first = before.next()??;
    before.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

/// Which failure speaks for the run where several steps failed at once.
fn weight(class: FailureClass) -> u8 {
    match class {
        FailureClass::Stale => 0,
        FailureClass::Error => 1,
        FailureClass::Connection => 2,
        FailureClass::Verdict => 3,
        FailureClass::Fenced => 4,
    }
}
