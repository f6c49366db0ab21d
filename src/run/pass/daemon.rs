//! The loop (H1): hears that something changed, reads the newest accepted commit, and lets every environment make its
//! passes, one at a time each and many at once. Decides when; never what. Nothing here waits for a network: looking at
//! repositories goes on beside the loop, so that one that hangs holds nobody up.

mod newest;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::journal::notice::Notice;
use crate::model::desired::Environment;
use crate::model::ids::EnvName;
use crate::plan::due::{self, Job};
use crate::run::accepted::{AcceptedSnapshot, Newest};
use crate::run::controller::{Controller, ControllerError, now};
use crate::run::look::observe::Left;
use crate::run::look::track;
use crate::run::pass::backup::due::due as due_backups;
use crate::run::pass::lane::{CALM, Lane, Pause, Wait, pause, rhythm, waits};
use crate::run::pass::notices;
use crate::run::pass::outcome::Outcome;
use crate::run::pass::reconcile::Pass;
use crate::run::pass::see::FRESH;
use crate::run::pass::teller::Teller;
use crate::run::step::site::Listener;
use crate::run::step::stop_request::StopRequest;
use crate::run::step::world::Interruption;
use crate::run::width::Width;
use crate::state_repo::Watcher;

/// So many environments make a pass at once, those aside that wait for a host.
const WIDTH: usize = 16;

/// What the daemon tells whoever runs it.
pub trait Report: Send + Sync + 'static {
    /// A commit is acted on from now on.
    fn accepted(&self, snapshot: &AcceptedSnapshot);
    /// A pass ended.
    fn passed(&self, environment: &EnvName, outcome: &Outcome);
    /// Something is not as it was: told once, after it is journaled, and in the order in which it was found.
    fn notice(&self, notice: &Notice);
}

/// A pass that is over.
struct Ended {
    outcome: Outcome,
    pause: Pause,
}

/// The loop's state.
pub struct Daemon<R> {
    controller: Arc<Controller>,
    report: Arc<R>,
    teller: Teller,
    listener: Option<Listener>,
    snapshot: Option<Arc<AcceptedSnapshot>>,
    /// The last thing that kept a commit from being acted on.
    refused: Option<Notice>,
    /// What was wrong in parts of the commit that is acted on: the same mistake in the next one is told once.
    wrong: Option<String>,
    /// Nothing is changed until people have looked: passes look after what runs, what is due is backed up as the commit that was
    /// acted on last has it, and nothing else is done.
    looks_only: bool,
    lanes: BTreeMap<EnvName, Lane>,
    width: Arc<Width>,
    passes: JoinSet<Ended>,
    /// Whose pass a task is.
    names: HashMap<Id, EnvName>,
    /// The look at the state repository, at most one, and whether another one is wanted.
    reading: JoinSet<Result<Newest, ControllerError>>,
    read: bool,
    /// The look at the branches that are tracked, likewise.
    following: JoinSet<Vec<Notice>>,
    follow: bool,
    /// The backups that are being made, and of which environments: beside the passes, which must not wait for a dump, and
    /// which the lock of the root keeps apart from it.
    saving: JoinSet<(EnvName, Vec<Notice>)>,
    saves: BTreeSet<EnvName>,
    /// Somebody wants the loop to end: what is under way comes to its end, and nothing is begun.
    ends: bool,
    /// Of a webhook, or whoever else knows better than the poll.
    pub nudge: Arc<tokio::sync::Notify>,
    /// The passes that are under way, for whoever wants what they do to be stopped at once.
    pub wishes: Arc<Wishes>,
}

/// The wishes to stop that the passes under way heed.
#[derive(Default)]
pub struct Wishes(Mutex<BTreeMap<EnvName, Arc<StopRequest>>>);

impl Wishes {
    /// All of them are to stop at once, and to go back.
    pub fn stop_now(&self, by: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().for_each(|wish| wish.stop_now(by));
    }

    fn begin(&self, name: &EnvName, wish: &Arc<StopRequest>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), wish.clone());
    }

    fn end(&self, name: &EnvName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl<R: Report> Daemon<R> {
    /// A loop that has not looked yet. Must be made within the runtime.
    pub fn new(controller: Arc<Controller>, report: Arc<R>, listener: Option<Listener>) -> Self {
        let teller = Teller::begin(controller.clone(), report.clone());
        Daemon {
            controller,
            report,
            teller,
            listener,
            snapshot: None,
            refused: None,
            wrong: None,
            looks_only: false,
            lanes: BTreeMap::new(),
            width: Width::new(WIDTH),
            passes: JoinSet::new(),
            names: HashMap::new(),
            reading: JoinSet::new(),
            read: true,
            following: JoinSet::new(),
            follow: true,
            saving: JoinSet::new(),
            saves: BTreeSet::new(),
            ends: false,
            nudge: Arc::default(),
            wishes: Arc::default(),
        }
    }

    /// Loops until `stop` resolves; then what is running stops at its safe point and is waited for.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), ControllerError> {
        let mut watcher = Watcher::new(&self.controller.repo).unwrap_or_else(|error| {
            self.teller.tell(Notice::Polled { why: error.to_string() });
            None
        });
        let mut looked = Instant::now();
        let mut poll = jittered(self.controller.settings.poll);
        tokio::pin!(stop);
        loop {
            self.start_reading();
            self.start_following();
            self.start_due();
            // A person may have acknowledged what was refused: that moves no ref.
            let wait = if self.refused.is_some() { poll.min(CALM) } else { poll };
            let next = self.next_due().map_or(looked + wait, |due| due.min(looked + wait));
            tokio::select! {
                () = &mut stop => break,
                () = hint(&mut watcher) => self.read = true,
                () = self.nudge.notified() => (self.read, self.follow) = (true, true),
                Some(ended) = self.passes.join_next_with_id() => self.ended(ended),
                Some(read) = self.reading.join_next() => self.heard(read),
                Some(saved) = self.saving.join_next() => self.saved(saved),
                Some(followed) = self.following.join_next() => self.followed(followed.unwrap_or_default()),
                () = tokio::time::sleep_until(next) => {}
            }
            if looked.elapsed() >= wait {
                (self.read, self.follow) = (true, true);
                self.tell_overdue();
                looked = Instant::now();
                poll = jittered(self.controller.settings.poll);
            }
        }
        self.ends = true;
        for lane in self.lanes.values().filter(|lane| lane.busy) {
            lane.wish.say(Interruption::Terminating);
        }
        while let Some(ended) = self.passes.join_next_with_id().await {
            self.ended(ended);
        }
        // A dump may take hours: its agent hears the end of the connection, and what was written of it counts for nothing.
        self.saving.shutdown().await;
        self.teller.end().await;
        Ok(())
    }

    /// Tells of jobs whose pass has not even had its turn.
    fn tell_overdue(&self) {
        let Some(snapshot) = &self.snapshot else { return };
        for (name, lane) in self.lanes.iter().filter(|(_, lane)| !lane.busy) {
            let Some(env) = snapshot.desired.environments.get(name) else { continue };
            let overdue = notices::jobs(env, &lane.done_ago()).into_iter().filter(|notice| !notice.is_well());
            overdue.for_each(|notice| self.teller.tell(notice));
        }
    }

    /// Moves environments that track a branch.
    fn start_following(&mut self) {
        let Some(snapshot) =
            self.snapshot.clone().filter(|_| self.follow && !self.looks_only && self.following.is_empty())
        else {
            return;
        };
        self.follow = false;
        let controller = self.controller.clone();
        self.following.spawn(async move { track::follow(&controller, &snapshot).await });
    }

    /// Makes the backups that are due, of an environment that just had its pass. What came to nothing is tried again when its
    /// host says so.
    fn start_saving(&mut self, name: &EnvName) {
        let Some(snapshot) = self.snapshot.clone() else { return };
        let Some(env) = snapshot.desired.environments.get(name).cloned() else { return };
        // One that is begun while the loop ends would be broken off.
        if self.ends || env.backups.is_empty() || !self.saves.insert(name.clone()) {
            return;
        }
        let (controller, name) = (self.controller.clone(), name.clone());
        self.saving.spawn(async move {
            let (_, notices) = Box::pin(due_backups(&controller, &snapshot, &env, Duration::ZERO, &|_| ())).await;
            (name, notices)
        });
    }

    fn saved(&mut self, saved: Result<(EnvName, Vec<Notice>), JoinError>) {
        match saved {
            Ok((name, notices)) => {
                self.saves.remove(&name);
                notices.into_iter().for_each(|notice| self.teller.tell(notice));
            }
            Err(error) => {
                // Nobody knows whose it was: each is asked again after its next pass.
                tracing::warn!(%error, "a backup broke off");
                self.saves.clear();
            }
        }
    }

    fn followed(&mut self, notices: Vec<Notice>) {
        for notice in notices {
            self.read |= matches!(notice, Notice::Followed { .. });
            self.teller.tell(notice);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let idle = self.lanes.values().filter(|lane| !lane.busy);
        self.snapshot.as_ref().and_then(|_| idle.map(|lane| lane.due).min())
    }

    fn start_due(&mut self) {
        let Some(snapshot) = self.snapshot.clone() else { return };
        let at = Instant::now();
        for (name, lane) in self.lanes.iter_mut().filter(|(_, lane)| !lane.busy && lane.due <= at) {
            let Some(env) = snapshot.desired.environments.get(name) else { continue };
            let Some(turn) = self.width.begin() else {
                // The next one to end, or to wait for a host, makes room.
                lane.due = at + Duration::from_millis(50);
                continue;
            };
            let due = due::due(env, &lane.ago());
            let is_due = |job| due.iter().any(|due| due.job == job);
            let (samples, scans) = (is_due(Job::Sample), is_due(Job::Drift));
            if samples {
                lane.sampled = Some(at);
            }
            if scans {
                lane.scanned = Some(at);
            }
            lane.busy = true;
            lane.wish = Arc::default();
            self.wishes.begin(name, &lane.wish);
            lane.desired = env.digest();
            let pass = Pass {
                controller: self.controller.clone(),
                snapshot: snapshot.clone(),
                wish: lane.wish.clone(),
                listener: self.listener.clone(),
                patience: Duration::ZERO,
                only: None,
                samples,
                tends: true,
            };
            let (env, known) = (env.clone(), lane.wait.take());
            let jobs = samples || scans;
            let task = match self.looks_only {
                true => self.passes.spawn(turn.scope(look_after(pass, env, known, jobs))),
                false => self.passes.spawn(turn.scope(one(pass, env, known, jobs))),
            };
            self.names.insert(task.id(), name.clone());
        }
    }

    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, Ended { outcome, pause }) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let message = format!("a pass broke off: {error}");
                let pause = Pause { again: CALM, wait: None, said: None };
                (error.id(), Ended { outcome: Outcome::Error { unreachable: false, message }, pause })
            }
        };
        let Some(name) = self.names.remove(&id) else { return };
        self.wishes.end(&name);
        self.controller.board.has_looked(&name);
        self.report.passed(&name, &outcome);
        let env = self.snapshot.as_ref().and_then(|s| s.desired.environments.get(&name));
        // An environment that has left the state file meanwhile gets no more passes; without a snapshot nobody knows whether it
        // has.
        let gone = self.snapshot.is_some() && env.is_none();
        let seen = env.map(|env| notices::hosts(&name, env.drift, &self.controller.board.hosts(&name)));
        let standing = notices::standing(&name, &outcome);
        for notice in standing.into_iter().chain(pause.said).chain(seen.into_iter().flatten()) {
            self.teller.tell(notice);
        }
        let Some(lane) = self.lanes.get_mut(&name) else { return };
        lane.busy = false;
        lane.wait = pause.wait;
        // A pass that came to nothing has not asked for health: the next one does, when its time comes.
        let nothing = matches!(outcome, Outcome::Locked { .. } | Outcome::Error { .. } | Outcome::Refused { .. });
        if nothing {
            (lane.sampled, lane.scanned) = (None, None);
        } else {
            lane.has_done(matches!(outcome, Outcome::Ran { .. }));
        }
        for notice in env.map(|env| notices::jobs(env, &lane.done_ago())).into_iter().flatten() {
            self.teller.tell(notice);
        }
        let job = env.filter(|_| !nothing).map_or(Duration::MAX, |env| due::next(env, &lane.ago()));
        // A commit that arrived meanwhile has made it due already.
        lane.due = match lane.wish.get() {
            Some(_) => Instant::now(),
            None => Instant::now() + pause.again.min(job),
        };
        if gone {
            self.lanes.remove(&name);
            return;
        }
        self.start_saving(&name);
    }
}

/// A pass that changes nothing, while the newest commit is not acted on: what runs is looked at for whoever reads the board,
/// and its jobs are done. Its wait after an error stays what it is.
async fn look_after(pass: Pass, env: Environment, known: Option<Wait>, jobs: bool) -> Ended {
    let is_fresh = pass.controller.board.age(&env.name, now()).is_some_and(|age| age < FRESH);
    if jobs || !is_fresh {
        pass.look_after(&env.name).await;
    }
    let again = rhythm(&pass.controller, env.health.every);
    let reason = "the newest commit is not acted on".to_owned();
    Ended { outcome: Outcome::Waiting { until: now(), reason }, pause: Pause { again, wait: known, said: None } }
}

/// One pass of a lane. `jobs`: samples or scans are due, whether or not it may act.
async fn one(pass: Pass, env: Environment, known: Option<Wait>, jobs: bool) -> Ended {
    let (controller, name, desired) = (pass.controller.clone(), env.name.clone(), env.digest());
    let every = env.health.every;
    // Whoever waits for a slow disk must not hold up those who keep leases (law 6).
    let judge = controller.clone();
    let waiting = tokio::task::spawn_blocking(move || waits(&judge, &env, known)).await.unwrap_or_default();
    let (outcome, waiting) = match waiting {
        Some((outcome, wait)) => {
            let is_fresh = controller.board.age(&name, now()).is_some_and(|age| age < FRESH);
            if jobs || !is_fresh {
                pass.look_after(&name).await;
            }
            (outcome, Some(wait))
        }
        None => (pass.environment(&name, &Left::new()).await, None),
    };
    let controller = pass.controller.clone();
    let ended = tokio::task::spawn_blocking(move || {
        let mut pause = pause(&controller, &name, desired, every, &outcome);
        if let Some(wait) = waiting {
            pause.again = pause.again.min(wait.left());
            pause.wait = Some(wait);
        }
        Ended { outcome, pause }
    });
    ended.await.unwrap_or_else(|error| {
        let outcome = Outcome::Error { unreachable: false, message: format!("a pass broke off: {error}") };
        Ended { outcome, pause: Pause { again: CALM, wait: None, said: None } }
    })
}

async fn hint(watcher: &mut Option<Watcher>) {
    match watcher {
        Some(watcher) => watcher.changed().await,
        None => std::future::pending().await,
    }
}

/// Polls of many daemons do not fall on one moment: up to a fifth more.
fn jittered(poll: Duration) -> Duration {
    let salt =
        u64::from(now().subsec_nanosecond().unsigned_abs() / 1_000_000 % 200) ^ u64::from(std::process::id() % 200);
    poll + poll.mul_f64((salt % 200) as f64 / 1000.0)
}
