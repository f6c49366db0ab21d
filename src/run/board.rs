//! What a daemon knows without asking anybody: of each environment the last plan, what the hosts were like then, and the
//! last health samples, each with its time. Passes write it as they end; whoever shows or publishes something reads it, and
//! touches no host. It lives as long as its process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::model::ids::{EnvName, HostName, ReleaseName, Sha};
use crate::model::observed::{CheckResult, EnvObserved, HostObserved, HostState, Observed};
use crate::plan::planner;
use crate::plan::{EnvPlan, HostView};
use crate::run::accepted::AcceptedSnapshot;

/// The board of one process. A process that follows no repository (a single command) keeps nothing on it.
#[derive(Default)]
pub struct Board(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// The commit that is acted on.
    accepted: Option<Arc<AcceptedSnapshot>>,
    rows: BTreeMap<EnvName, Row>,
    /// The last samples of each host.
    samples: BTreeMap<EnvName, BTreeMap<HostName, Sample>>,
    /// The trees of what an environment runs, as far as another one that is promoted from it by tree had them looked up.
    trees: BTreeMap<EnvName, BTreeMap<Sha, String>>,
    /// The environments whose first pass has looked, or come to nothing.
    begun: BTreeSet<EnvName>,
    /// All environments had been looked at once.
    is_whole: bool,
    /// Those whose hosts a run has changed since they were looked at.
    changed: BTreeSet<EnvName>,
    /// Counts what was written.
    version: u64,
}

/// One environment, as the last pass left it.
#[derive(Debug, Clone)]
pub struct Row {
    /// The commit that was judged.
    pub snapshot: Arc<AcceptedSnapshot>,
    /// When its hosts were looked at.
    pub at: Timestamp,
    /// What would be done, and what is in the way. Its health is that of the last samples.
    pub plan: EnvPlan,
    /// What was seen, with the drift that the hosts last found (which has its own time) and the last health samples.
    pub observed: EnvObserved,
    /// When health was asked for last; `None`: never since the hosts run what they run.
    pub sampled: Option<Timestamp>,
}

/// What the checks of one host said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub at: Timestamp,
    /// What it ran then.
    pub release: ReleaseName,
    /// Of the checks that the host makes.
    pub there: Vec<CheckResult>,
    /// Of those that the controller makes.
    pub here: Vec<CheckResult>,
}

/// Everything on the board at one moment.
#[derive(Debug, Clone)]
pub struct Seen {
    /// That of [`Board::version`].
    pub version: u64,
    /// The commit that is acted on.
    pub accepted: Arc<AcceptedSnapshot>,
    /// Environments that were not looked at yet are missing.
    pub rows: BTreeMap<EnvName, Row>,
}

impl Board {
    /// From now on this commit is acted on; environments that it does not have are forgotten.
    pub fn accepted(&self, snapshot: &Arc<AcceptedSnapshot>) {
        let mut kept = self.kept();
        let there = |name: &EnvName| snapshot.desired.environments.contains_key(name);
        kept.rows.retain(|name, _| there(name));
        kept.samples.retain(|name, _| there(name));
        kept.trees.retain(|name, _| there(name));
        kept.begun.retain(there);
        kept.changed.retain(there);
        kept.accepted = Some(snapshot.clone());
        kept.version += 1;
    }

    /// A pass over an environment has looked at its hosts, at `at`, and come to this plan.
    pub fn looked(&self, snapshot: &Arc<AcceptedSnapshot>, at: Timestamp, plan: &EnvPlan, observed: &Observed) {
        let mut kept = self.kept();
        let is_known =
            kept.accepted.as_ref().is_some_and(|accepted| accepted.desired.environments.contains_key(&plan.name));
        let Some(seen) = observed.environments.get(&plan.name).filter(|_| is_known) else { return };
        for (source, seen) in &observed.environments {
            if *source != plan.name && !seen.live_trees.is_empty() {
                kept.trees.insert(source.clone(), seen.live_trees.clone());
            }
        }
        let row = Row { snapshot: snapshot.clone(), at, plan: plan.clone(), observed: seen.clone(), sampled: None };
        kept.rows.insert(plan.name.clone(), row);
        kept.changed.remove(&plan.name);
        kept.version += 1;
    }

    /// The checks of these hosts were asked.
    pub fn sampled(&self, name: &EnvName, samples: BTreeMap<HostName, Sample>) {
        let mut kept = self.kept();
        if kept.rows.contains_key(name) {
            kept.samples.entry(name.clone()).or_default().extend(samples);
            kept.version += 1;
        }
    }

    /// A pass over an environment has written what it saw, or come to nothing: whoever reads need not wait for it.
    pub fn has_looked(&self, name: &EnvName) {
        self.kept().begun.insert(name.clone());
    }

    /// A run begins: it takes its time, and its hosts are not what they were like any more.
    pub fn runs(&self, name: &EnvName) {
        let mut kept = self.kept();
        kept.begun.insert(name.clone());
        kept.changed.insert(name.clone());
    }

    /// How long ago the hosts of an environment were looked at; `None`: not since they were changed last, or the clock was
    /// set back since.
    pub fn age(&self, name: &EnvName, now: Timestamp) -> Option<Duration> {
        let kept = self.kept();
        let row = kept.rows.get(name).filter(|_| !kept.changed.contains(name))?;
        Duration::try_from(now.duration_since(row.at)).ok()
    }

    /// What the last look saw of each host; nothing: a run has changed them since.
    pub fn hosts(&self, name: &EnvName) -> Vec<HostView> {
        let kept = self.kept();
        let row = kept.rows.get(name).filter(|_| !kept.changed.contains(name));
        row.map(|row| row.plan.hosts.clone()).unwrap_or_default()
    }

    /// Changes whenever something is written.
    pub fn version(&self) -> u64 {
        self.kept().version
    }

    /// All of it; `None`: no commit is accepted yet, or not every environment of the first one was looked at. Whoever comes
    /// later is missing for a moment, and makes nobody wait.
    pub fn seen(&self) -> Option<Seen> {
        let mut kept = self.kept();
        let accepted = kept.accepted.clone()?;
        kept.is_whole |= accepted.desired.environments.keys().all(|name| kept.begun.contains(name));
        if !kept.is_whole {
            return None;
        }
        let rows = kept.rows.iter().map(|(name, row)| (name.clone(), kept.joined(name, row)));
        Some(Seen { version: kept.version, rows: rows.collect(), accepted })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// What the last look saw, with the last samples of what still runs.
    fn joined(&self, name: &EnvName, row: &Row) -> Row {
        let mut row = row.clone();
        for (host, sample) in self.samples.get(name).into_iter().flatten() {
            let Some(HostObserved::Reached(state)) = row.observed.hosts.get_mut(host) else { continue };
            if !sample.holds(state) {
                continue;
            }
            state.health.clone_from(&sample.there);
            row.observed.health.extend(sample.here.iter().cloned());
            row.sampled = row.sampled.max(Some(sample.at));
        }
        for (sha, tree) in self.trees.get(name).into_iter().flatten() {
            row.observed.live_trees.insert(sha.clone(), tree.clone());
        }
        if let Some(env) = row.snapshot.desired.environments.get(name) {
            row.plan.health = planner::health(env, &row.observed);
        }
        row
    }
}

impl Sample {
    /// Whether it still says something about this host: not about another release than that which ran then, nor about one
    /// that was stopped, or closed, since.
    fn holds(&self, state: &HostState) -> bool {
        let idles = state.record.stopped.is_some() || state.record.closed.is_some();
        state.current.release() == Some(&self.release) && !idles
    }
}
