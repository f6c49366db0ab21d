//! The only writer of a run's state: starts what may start, journals what happened, and, when the forward part fails,
//! asks the pure core what follows. Makes the events; knows no step's insides.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::fault::fault;
use crate::host::wire::Op;
use crate::journal::consequence::{Consequence, Fleet, complete, consequence, result, tolerated};
use crate::journal::suspicion;
use crate::journal::{Event, Failure, FailureClass, RunResult, RunState, StepEnd};
use crate::model::desired::{OnFailure, Target};
use crate::model::ids::HostName;
use crate::model::observed::HostState;
use crate::model::record::Suspect;
use crate::plan::{Action, Judged, Step};
use crate::run::step::executor::{Executor, StepResult, StepTrouble};
use crate::run::step::task::Task;
use crate::run::step::way_back::Who;
use crate::run::step::world::{Interruption, Trouble, World};

/// Steps of one run that are under way at once.
const WIDTH: usize = 16;

/// Runs one task to its end.
pub struct Dispatcher<W> {
    world: Arc<W>,
    pub(in crate::run) task: Arc<Task>,
    pub(in crate::run) state: RunState,
    pub(in crate::run) fleet: Fleet,
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
        let (task, state) = (Arc::new(task), RunState::default());
        let mut this = Dispatcher { world, task, state, fleet: Fleet::default() };
        this.fleet = this.fleet();
        this
    }

    fn fleet(&self) -> Fleet {
        let (task, executor) = (&self.task, self.executor());
        let failed = |(name, state): &(&HostName, &HostState)| {
            state.record.verdict_on(&executor.key(name)).is_some_and(|verdict| verdict.alone)
        };
        let resumed = |(name, state): &(&HostName, &HostState)| {
            state.record.probation.as_ref().is_some_and(|p| self.goal(name).as_ref() == Some(&p.release))
        };
        let names = |wanted: &dyn Fn(&(&HostName, &HostState)) -> bool| {
            task.states.iter().filter(|host| wanted(host)).map(|(name, _)| name.clone()).collect()
        };
        let (hosts, may_fail) = (task.states.len(), task.env.strategy.max_failures());
        Fleet { hosts, may_fail, failed: names(&failed), resumed: names(&resumed) }
    }

    fn executor(&self) -> Executor<W> {
        let (world, task) = (self.world.clone(), self.task.clone());
        Executor { world, task, evidence: mpsc::unbounded_channel().0, halt: Arc::default() }
    }

    /// Runs it.
    pub async fn run(mut self) -> Result<(RunResult, String), Trouble> {
        self.open().await?;
        let steps = self.task.started.steps.clone();
        let (result, reason) = match self.drive(&steps, true).await? {
            End::Complete => complete(&self.state, &self.fleet),
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
        let known = || self.task.states.values().filter_map(|state| self.condemned(state));
        // A verdict about some hosts alone sends nobody else back.
        let who = if known().all(|verdict| verdict.alone) { Who::Condemned } else { Who::All };
        let (result, reason) = self.go_back(failure, who).await?;
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
        let who = if quarantine { Who::All } else { Who::Unswitched };
        self.go_back(failure, who).await
    }

    async fn go_back(&mut self, failure: Failure, who: Who) -> Result<(RunResult, String), Trouble> {
        let steps = self.way_back(Some(&failure), &who);
        let at = self.world.now();
        self.record(Event::TurnedBack { at, failure: Some(failure.clone()), steps: steps.clone() }).await?;
        fault!("run.after-turned-back");
        let end = self.drive(&steps, false).await?;
        let green = |host: &HostName| self.task.states.get(host).is_some_and(|state| state.record.green.is_some());
        if failure.class == FailureClass::Verdict
            && let Some((host, again)) = suspicion::suspect(&self.state, &failure, green)
        {
            return Ok(self.acquit(&failure, &host, &again).await);
        }
        if failure.class == FailureClass::Verdict {
            fault!("run.before-quarantine");
            self.quarantine(&failure, &who).await?;
            fault!("run.after-quarantine");
        }
        let back = match &end {
            End::Failed(back) => Some(back),
            End::Complete | End::Stopped(_) => None,
        };
        Ok(result(&self.task.env, &failure, &self.state, back))
    }

    /// It was not the release: what the hosts took along as they went back is lifted, and the one that failed twice is held
    /// for people.
    async fn acquit(&self, failure: &Failure, suspect: &HostName, again: &str) -> (RunResult, String) {
        let (env, sha) = (&self.task.env.name, self.task.env.release.short(self.task.sha()));
        let reason =
            format!("{}; AND THE WAY BACK FAILED, to a release that was well before: {again}", failure.message);
        let executor = self.executor();
        let held = self.task.env.targets.iter().filter(|target| self.task.states.contains_key(&target.name));
        let told = held.map(async |target| {
            let is_ill = target.name == *suspect;
            let suspect = is_ill.then(|| Suspect { reason: reason.clone(), at: self.world.now() });
            let op = Op::Acquit { epoch: self.task.epoch, case: executor.key(&target.name), suspect };
            if let Err(error) = self.world.call(target, op).await {
                tracing::warn!(host = %target.name, %error, "what was said of the release could not be lifted");
            }
        });
        join_all(told).await;
        let message = format!(
            "{reason}: {suspect} is suspect, not {sha}, and nothing is tried there until somebody has looked; then: soll retry {env}"
        );
        (RunResult::Failed, message)
    }

    /// Somebody wants it to stop: what was closed is opened, what was switched goes back.
    async fn stop(&mut self, why: Interruption) -> Result<(RunResult, String), Trouble> {
        let cancelled = matches!(why, Interruption::Cancelled(_));
        let (result, reason) = match why {
            Interruption::Superseded(commit) => (RunResult::Superseded, format!("commit {commit} is newer")),
            Interruption::Cancelled(who) => (RunResult::Cancelled, format!("cancelled by {who}")),
            Interruption::Terminating => (RunResult::Superseded, "the controller was told to end".to_owned()),
        };
        let steps = self.way_back(None, &if cancelled { Who::All } else { Who::Unswitched });
        let any = |wanted: fn(&Action) -> bool| steps.iter().any(|s| wanted(&s.action));
        let back = (any(|a| matches!(a, Action::Rollback { .. })), any(|a| matches!(a, Action::Hold { .. })));
        let left = match back {
            (_, true) => "what was switched had nothing to go back to, or was to be held, and stays".to_owned(),
            (true, false) => "everything is back where it was".to_owned(),
            (false, false) if self.state.is_interrupted() => format!(
                "what was switched stays on probation: whoever comes next goes on with its watch, and without a controller \
                 it goes back by itself within {}",
                humantime::format_duration(self.task.env.deadline)
            ),
            (false, false) => "`current` is untouched".to_owned(),
        };
        let at = self.world.now();
        self.record(Event::TurnedBack { at, failure: None, steps: steps.clone() }).await?;
        Ok(match self.drive(&steps, false).await? {
            End::Failed(back) => (RunResult::Failed, format!("{reason}; AND THE WAY BACK FAILED: {}", back.message)),
            _ => (result, format!("{reason}; {left}")),
        })
    }

    /// Records the verdict on the hosts that this run holds and that did not take it along as they went back (law 4). By now
    /// nobody waits for it, so that one which is gone keeps none on a bad release.
    async fn quarantine(&mut self, failure: &Failure, who: &Who) -> Result<(), Trouble> {
        let takes = |step: &&Step| {
            matches!(step.action, Action::Rollback { verdict: Some(_) } | Action::Hold { verdict: Some(_) })
                && self.state.passed(&step.id)
        };
        let back = || self.state.back.iter().flatten();
        let mut hosts: Vec<HostName> = back().filter(takes).filter_map(|step| step.host.clone()).collect();
        if *who == Who::All {
            let executor = self.executor();
            let judged = Judged { reason: failure.message.clone(), alone: false };
            let open = |target: &&Target| self.task.states.contains_key(&target.name) && !hosts.contains(&target.name);
            let tell = self.task.env.targets.iter().filter(open).map(async |target| {
                let entry = executor.verdict(&target.name, &judged);
                match self.world.call(target, Op::Quarantine { epoch: self.task.epoch, entry }).await {
                    Ok(_) => Some(target.name.clone()),
                    Err(error) => {
                        tracing::warn!(host = %target.name, %error, "the verdict could not be recorded");
                        None
                    }
                }
            });
            let told = join_all(tell).await;
            hosts.extend(told.into_iter().flatten());
        }
        hosts.sort();
        self.record(Event::Quarantined { hosts, reason: failure.message.clone() }).await
    }

    /// One host goes back alone, and takes its verdict along.
    async fn set_aside(&mut self, failure: &Failure) -> Result<bool, Trouble> {
        let Some(host) = failure.host.clone().filter(|host| self.task.target(host).is_some()) else {
            return Ok(false);
        };
        let steps = self.way_back(Some(failure), &Who::One(host.clone()));
        let at = self.world.now();
        self.record(Event::SetAside { at, host, failure: failure.clone(), steps }).await?;
        fault!("run.after-turned-back");
        Ok(true)
    }

    /// Runs a graph. `forward`: the first failure that the rollout cannot do without stops it, and it may be
    /// interrupted; on the way back every host goes as far as it can.
    async fn drive(&mut self, steps: &[Step], forward: bool) -> Result<End, Trouble> {
        let (sender, mut evidence) = mpsc::unbounded_channel();
        let (world, task) = (self.world.clone(), self.task.clone());
        let halt = Arc::new(AtomicBool::new(false));
        let executor = Arc::new(Executor { world, task, evidence: sender, halt: halt.clone() });
        let mut running: JoinSet<(Step, jiff::Timestamp, StepResult)> = JoinSet::new();
        let mut failures: Vec<Failure> = Vec::new();
        let (mut stopped, mut wish) = (None, None);
        // Hosts that the rollout may do without, and whose own steps are still under way.
        let mut ill: BTreeMap<HostName, Failure> = BTreeMap::new();
        let mut busy: Vec<HostName> = Vec::new();
        loop {
            for (host, failure) in std::mem::take(&mut ill) {
                if busy.contains(&host) {
                    ill.insert(host, failure);
                } else if !self.fleet.spares(&failure, &self.state) || !self.set_aside(&failure).await? {
                    failures.push(failure);
                }
            }
            if forward && failures.is_empty() {
                wish = self.world.interruption();
                // Whoever told it to end may want everything back after all.
                stopped = self.interruption().filter(is_cancelled).or(stopped).or_else(|| self.interruption());
                // What is only waited for is not waited for any longer, now that its answer changes nothing.
                halt.store(stopped.as_ref().is_some_and(is_cancelled), Ordering::Relaxed);
            }
            let go_on = stopped.is_none() && (failures.is_empty() || !forward);
            let fenced = failures.iter().any(|failure| failure.class == FailureClass::Fenced);
            let ready = match (forward, go_on) {
                (true, true) => self.state.ready_forward(),
                (true, false) if !fenced => self.state.ready_aside(),
                (true, false) => Vec::new(),
                (false, _) => self.state.ready(steps),
            };
            if !ready.is_empty() {
                let well = |step: &&Step| step.host.as_ref().is_none_or(|host| !ill.contains_key(host));
                let ready: Vec<_> = ready.into_iter().filter(well).cloned().collect();
                for step in ready {
                    if running.len() >= WIDTH {
                        break;
                    }
                    busy.extend(step.host.clone());
                    let at = self.world.now();
                    fault!("run.before-intent", step.action.kind());
                    self.record(Event::Intended { step: step.id.clone(), at }).await?;
                    fault!("run.after-intent", step.action.kind());
                    let executor = executor.clone();
                    // The way back of a host that was set aside is part of no forward part.
                    let yields = forward && !step.host.as_ref().is_some_and(|host| self.state.aside.contains_key(host));
                    running.spawn(async move {
                        let result = executor.execute(&step, yields).await;
                        fault!("run.after-effect", step.action.kind());
                        (step, at, result)
                    });
                }
            }
            tokio::select! {
                biased;
                Some((step, attempt)) = evidence.recv() => self.record(Event::Attempted { step, attempt }).await?,
                () = self.world.other_wish(wish.as_ref()), if forward && !running.is_empty() && failures.is_empty() => {}
                ended = running.join_next() => {
                    let Some(ended) = ended else { break };
                    let (step, began, mut outcome) =
                        ended.map_err(|e| Trouble::error(format!("a step broke off: {e}")))?;
                    // What is confirmed stays: a hook that was stopped after it did not do its work, and that is all.
                    if let Err(trouble) = &mut outcome
                        && trouble.class == FailureClass::Interrupted
                        && (self.is_confirming() || !forward)
                    {
                        trouble.class = FailureClass::Error;
                    }
                    while let Ok((step, attempt)) = evidence.try_recv() {
                        self.record(Event::Attempted { step, attempt }).await?;
                    }
                    if let Some(at) = step.host.as_ref().and_then(|host| busy.iter().position(|b| b == host)) {
                        busy.swap_remove(at);
                    }
                    if matches!(&outcome, Err(trouble) if trouble.class == FailureClass::Interrupted) {
                        let wish = self.world.interruption();
                        stopped = wish.filter(is_cancelled).or(stopped).or_else(|| self.world.interruption());
                        stopped = stopped.or(Some(Interruption::Terminating));
                    }
                    let Some(failure) = self.ended(&step, began, outcome).await? else { continue };
                    match failure.host.clone() {
                        Some(host) if ill.contains_key(&host) && failure.class != FailureClass::Fenced => {}
                        Some(host) if forward && self.fleet.spares(&failure, &self.state) => {
                            ill.insert(host, failure);
                        }
                        _ => failures.push(self.astray(failure)),
                    }
                }
            }
        }
        // Of equals the first in the plan, whichever was heard first.
        let place = |failure: &Failure| steps.iter().position(|step| step.id == failure.step).unwrap_or(steps.len());
        let worst = failures.into_iter().min_by_key(|f| (Reverse(weight(f.class)), place(f)));
        Ok(match (worst, stopped) {
            (Some(failure), _) => End::Failed(failure),
            (None, Some(why)) => End::Stopped(why),
            (None, None) => End::Complete,
        })
    }

    /// The own way back of a host that was set aside failed: its verdict stands, and now it ends the rollout.
    fn astray(&self, failure: Failure) -> Failure {
        let aside = failure.host.as_ref().and_then(|host| self.state.aside.get(host));
        match aside.filter(|_| self.state.back.is_none() && failure.class != FailureClass::Fenced) {
            Some(aside) => {
                let message = format!("{}; its way back failed: {}", aside.failure.message, failure.message);
                Failure { message, ..aside.failure.clone() }
            }
            None => failure,
        }
    }

    fn interruption(&self) -> Option<Interruption> {
        let wanted = self.world.interruption()?;
        match wanted {
            _ if self.state.at_safe_point() => Some(wanted),
            // A person who cancels after the switch wants it back; anything else waits for the verdict.
            Interruption::Cancelled(_) if !self.is_confirming() => Some(wanted),
            _ => None,
        }
    }

    fn is_confirming(&self) -> bool {
        let mut steps = self.task.started.steps.iter();
        steps.any(|s| matches!(s.action, Action::Confirm { .. }) && self.state.touched(&s.id))
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
            Err(StepTrouble { class: FailureClass::Interrupted, message, .. }) => {
                (StepEnd::Interrupted { note: message }, None)
            }
            Err(trouble) => {
                let failure = Failure {
                    step: step.id.clone(),
                    host: step.host.clone(),
                    class: trouble.class,
                    on_failure: step.on_failure,
                    message: trouble.message,
                    output: trouble.output,
                };
                if tolerated(step, failure.class) {
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

fn is_cancelled(wish: &Interruption) -> bool {
    matches!(wish, Interruption::Cancelled(_))
}

/// Which failure speaks for the run where several steps failed at once.
fn weight(class: FailureClass) -> u8 {
    match class {
        FailureClass::Stale | FailureClass::Interrupted => 0,
        FailureClass::Error => 1,
        FailureClass::Connection => 2,
        FailureClass::Verdict => 3,
        FailureClass::Fenced => 4,
    }
}
