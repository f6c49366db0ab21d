//! One root in an agent: its calls one after the other, the lock, and the lease (law 6). The thread that does the work is
//! the one that watches the clock, so that an effect under way is always finished first.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::fault::fault;
use crate::host::disk::lock::Lock;
use crate::host::disk::machine;
use crate::host::disk::reserve;
use crate::host::disk::root::{Root, now};
use crate::host::release::observe::observe;
use crate::host::release::prune;
use crate::host::release::render;
use crate::host::release::switch;
use crate::host::serve::ops::perform;
use crate::host::serve::session::{Pieces, Session, Silence};
use crate::host::wire::{HostError, Observe, Op, Reply};
use crate::model::ids::{Digest, Epoch};
use crate::model::machine as machines;
use crate::model::record::{Accepted, Holder, Refusal};
use crate::model::tenancy::Tenant;

/// What a worker is given.
pub enum Task {
    Job(Box<Job>),
    /// The controller was lost: the root is free for others until it is back.
    Detached,
}

/// A request of a controller, and the data that came with it.
pub struct Job {
    pub id: u64,
    pub op: Op,
    pub pieces: Option<Pieces>,
}

/// The thread of one root.
pub struct Worker {
    session: Arc<Session>,
    root: Root,
    held: Option<Acquired>,
}

struct Acquired {
    /// `None`: the controller is lost, and whoever wants the root may take it.
    lock: Option<Lock>,
    holder: Holder,
    epoch: Epoch,
    lease: Duration,
    /// The lease of what the host undoes by itself, while something of this epoch is there.
    leased: Option<Duration>,
    /// A release was staged: where it comes to nothing its room is given back at the end.
    staged: bool,
}

/// A worker whose controller is lost looks so often whether another run has taken its place.
const LOOK: Duration = Duration::from_secs(1);

/// A host that cannot go back (a full disk, an I/O error) tries again so often before it leaves it to the next run.
const ATTEMPTS: u32 = 30;

impl Worker {
    /// A worker that holds nothing yet.
    pub fn new(session: Arc<Session>, root: Root) -> Worker {
        Worker { session, root, held: None }
    }

    /// Works until the controller is gone, and after that until no lease needs watching.
    pub fn run(mut self, tasks: &Receiver<Task>) {
        while !self.session.is_closed() {
            if self.remaining().is_some_and(|left| left.is_zero()) {
                self.expire();
            }
            if !self.session.is_attached() {
                // What is asked for already waits, too: nobody would hear how it went.
                self.let_go();
                if self.is_replaced() {
                    self.held = None;
                    self.refresh();
                    // Refused, each of them: there is nothing left to come back for.
                    while let Ok(task) = tasks.try_recv() {
                        if let Task::Job(job) = task {
                            self.answer(*job);
                        }
                    }
                }
                self.session.wait(self.remaining().unwrap_or(LOOK).min(LOOK));
                continue;
            }
            let task = match self.remaining() {
                Some(left) => tasks.recv_timeout(left),
                None => tasks.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match task {
                Ok(Task::Detached) => {}
                // Heard before the lease was over or not: what counts is the lease at the time of the deed.
                Ok(Task::Job(job)) if self.remaining().is_some_and(|left| left.is_zero()) => {
                    self.expire();
                    self.answer(*job);
                }
                Ok(Task::Job(job)) => self.answer(*job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.farewell();
    }

    fn answer(&mut self, job: Job) {
        let id = job.id;
        let result = catch_unwind(AssertUnwindSafe(|| self.perform(job))).unwrap_or_else(|panic| Err(bug(&*panic)));
        self.refresh();
        self.session.answer(id, self.root.path(), result);
    }

    fn perform(&mut self, job: Job) -> Result<Reply, HostError> {
        match job.op {
            Op::Acquire { epoch, who, lease, accept, machine, tenant, look } => {
                let found = machine::id();
                // Before anything is made there: another machine keeps no trace of it.
                machines::judge(machine.as_ref(), self.root.record()?.machine.as_ref(), found)
                    .map_err(Refusal::OtherMachine)?;
                self.acquire(epoch, who, lease, (accept, found, tenant), &look)
            }
            Op::Release { epoch, look } => {
                self.fence(epoch)?;
                if self.held.as_ref().is_some_and(|held| held.staged) {
                    prune::give_back(&self.root);
                }
                reserve::fill(&self.root);
                // What is on probation or closed stays watched until its lease is over, or someone takes over.
                self.held = self.held.take().filter(|held| held.leased.is_some());
                // The root is given back even where the look at it fails.
                let state = look.and_then(|look| observe(&self.root, &look).ok()).map(Box::new);
                Ok(Reply::Released { watched: self.held.is_some(), state })
            }
            op => {
                let epoch = op.epoch().unwrap_or_default();
                let lease = self.fence(epoch)?;
                if let (Op::Extract { .. }, Some(held)) = (&op, &mut self.held) {
                    held.staged = true;
                }
                match job.pieces {
                    Some(mut pieces) => {
                        pieces.lease = Some(lease);
                        perform(&self.root, op, &*self.session.prober, &mut pieces)
                    }
                    None => {
                        let mut silence = Silence { session: self.session.clone(), lease };
                        perform(&self.root, op, &*self.session.prober, &mut silence)
                    }
                }
            }
        }
    }

    /// Only the holder acts, and only under its own epoch (law 3). Gives its lease.
    fn fence(&mut self, epoch: Epoch) -> Result<Duration, HostError> {
        let Some(held) = self.held.as_mut().filter(|held| held.epoch == epoch) else {
            return Err(Refusal::Fenced { have: self.root.record()?.epoch.0, got: epoch.0 }.into());
        };
        if held.lock.is_none() {
            let lock = Lock::take(&self.root, &held.holder)?;
            let newest = self.root.record()?.epoch;
            if newest != epoch {
                self.held = None;
                return Err(Refusal::Fenced { have: newest.0, got: epoch.0 }.into());
            }
            held.lock = Some(lock);
        }
        Ok(held.lease())
    }

    /// Nobody is there to give the root back: another run may take it, and then this one is fenced.
    fn let_go(&mut self) {
        let Some(held) = self.held.as_mut().filter(|held| held.lock.is_some()) else { return };
        if held.leased.is_some() {
            let _ = self.root.note_heard(self.session.silent());
        }
        held.lock = None;
    }

    fn acquire(
        &mut self,
        epoch: Epoch,
        who: String,
        lease: Duration,
        (accept, found, tenant): (Option<String>, Option<Digest>, Option<Tenant>),
        look: &Observe,
    ) -> Result<Reply, HostError> {
        self.root.prepare()?;
        let holder = Holder { who, since: now(), epoch, pid: std::process::id() };
        let lock = Lock::take(&self.root, &holder)?;
        self.root.forget();
        fault!("host.acquire.after-lock");
        let record = self.root.record()?;
        if epoch <= record.epoch {
            return Err(Refusal::Fenced { have: record.epoch.0, got: epoch.0 }.into());
        }
        if record.leased().is_some_and(|leased| self.root.lease_over(&leased)) {
            let done = switch::lease_ran_out(&self.root);
            // A door that does not open keeps nobody out who may be about to cure it.
            if self.root.record()?.probation.is_some() {
                done?;
            }
        }
        // A run that died between the link and what leads to its rendered files left them behind.
        if let Err(error) = render::settle_live(&self.root) {
            // The next switch does it again, and says so where it cannot.
            tracing::warn!(root = %self.root.path().display(), %error, "rendered files of the live release could not be led to");
        }
        self.root.tidy()?;
        self.root.note_heard(Duration::ZERO)?;
        self.root.update(|record| {
            record.pin(found, now())?;
            record.acquire(epoch)?;
            record.take_over(epoch)?;
            record.set_lease(lease);
            record.tenant = tenant.or(record.tenant.take());
            if let Some(commit) = accept {
                record.accepted = Some(Accepted { commit, at: now() });
            }
            Ok(())
        })?;
        fault!("host.acquire.after-record");
        reserve::fill(&self.root);
        let state = observe(&self.root, look)?;
        self.held = Some(Acquired { lock: Some(lock), holder, epoch, lease, leased: None, staged: false });
        Ok(Reply::Acquired(Box::new(state)))
    }

    /// After every call: what the record says now decides which lease is watched.
    fn refresh(&mut self) {
        if let Some(held) = &mut self.held
            && let Ok(record) = self.root.record()
        {
            held.leased = record.leased().filter(|l| l.epoch == held.epoch).map(|l| l.lease);
        }
        let (epoch, leased) = self.held.as_ref().map(|held| (held.epoch, held.leased)).unzip();
        self.session.holds(&self.root, epoch, leased.flatten());
    }

    /// What is left of the lease; `None`: nothing is held.
    fn remaining(&self) -> Option<Duration> {
        self.held.as_ref().map(|held| held.lease().saturating_sub(self.session.silent()))
    }

    /// The lease is over: back, where a release is on probation or the door is closed; and the root is given back. Later calls
    /// under this epoch are refused.
    fn expire(&mut self) {
        let Some(held) = self.held.take() else { return };
        if held.leased.is_some() {
            self.end_lease(held);
        }
        self.refresh();
    }

    /// Goes back, as who holds the root or as who takes it for that.
    fn end_lease(&self, held: Acquired) {
        let Acquired { mut lock, epoch, .. } = held;
        let who = "the host itself: the lease is over".to_owned();
        let holder = Holder { who, since: now(), epoch, pid: std::process::id() };
        while lock.is_none() && !self.taken_over(epoch) {
            lock = Lock::take(&self.root, &holder).ok();
            if lock.is_none() {
                // Someone else is at it: a new run, which raises the epoch, or one that is refused.
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        if lock.is_some() {
            self.go_back(epoch);
        }
    }

    /// Another run has taken the root.
    fn is_replaced(&self) -> bool {
        let newest = self.root.record().map(|record| record.epoch);
        self.held.as_ref().is_some_and(|held| newest.is_ok_and(|newest| newest != held.epoch))
    }

    fn taken_over(&self, epoch: Epoch) -> bool {
        let record = self.root.record();
        record.is_ok_and(|r| r.epoch != epoch || r.leased().is_none_or(|l| l.epoch != epoch))
    }

    fn go_back(&self, epoch: Epoch) {
        for attempt in 1..=ATTEMPTS {
            let ours = self.root.record().map(|r| r.leased().is_some_and(|l| l.epoch == epoch));
            if ours == Ok(false) || switch::lease_ran_out(&self.root).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100) * attempt);
        }
    }

    /// The controller is gone. The root is free for another one at once; a probation or a closed door is watched until someone
    /// has taken over or its lease is over.
    fn farewell(&mut self) {
        self.let_go();
        let Some(held) = self.held.take().filter(|held| held.leased.is_some()) else { return };
        while !self.taken_over(held.epoch) {
            let left = held.lease().saturating_sub(self.session.silent());
            if left.is_zero() {
                return self.end_lease(held);
            }
            std::thread::sleep(left.min(Duration::from_millis(500)));
        }
    }
}

impl Acquired {
    fn lease(&self) -> Duration {
        self.leased.unwrap_or(self.lease)
    }
}

/// A mistake in this program is an answer like any other: the controller must not wait for it.
pub fn bug(panic: &(dyn std::any::Any + Send)) -> HostError {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    HostError::Io(format!("the agent failed inside ({}): please report this", text.unwrap_or("no reason given")))
}
