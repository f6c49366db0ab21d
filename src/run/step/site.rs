//! The real world of one run: its agents, the bundle store, the state repository, the journal.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

use crate::artifact::pack::Unpacked;
use crate::artifact::store::ArtifactError;
use crate::health;
use crate::host::call::client::{Client, Heartbeat};
use crate::host::call::piece::Packing;
use crate::host::wire::{HostError, Op, Reply, Secret};
use crate::journal::{Event, FailureClass};
use crate::model::desired::{Environment, MetricSource, Probe, Target};
use crate::model::ids::{Digest, Epoch, HostName, RunId, Sha};
use crate::model::observed::Attempt;
use crate::plan::policy::Refused;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::commit;
use crate::run::controller::{Controller, now};
use crate::run::look::observe::source;
use crate::run::look::reach;
use crate::run::size::bytes;
use crate::run::step::parcel::{Parcel, Plain, Sending};
use crate::run::step::world::{Bundle, Interruption, RemoteBundle, Tree, Trouble, World};
use crate::run::width::{self, Turn};
use crate::ssh::endpoint::Endpoint;

/// The world of one run. When it is dropped its agents hear no controller any more: what is on probation then is theirs
/// to take back (law 6).
pub struct Site {
    pub controller: Arc<Controller>,
    pub snapshot: Arc<AcceptedSnapshot>,
    /// Said by the daemon, a signal, or a host that was asked to cancel.
    pub wish: Arc<StopRequest>,
    /// Told of every event after it is journaled.
    pub listener: Option<Listener>,
    /// By where they are; nothing: this machine.
    clients: Mutex<HashMap<Option<Endpoint>, Arc<OnceCell<Client>>>>,
    bundle: Mutex<Option<(Digest, Arc<Unpacked>)>>,
    /// By what is in them, the newest last.
    parcels: Mutex<VecDeque<(Vec<Digest>, Arc<Parcel>)>>,
    /// Of bundles that hosts have already.
    trees: Mutex<HashMap<Digest, Option<Tree>>>,
    /// The run, once its first event was journaled.
    run: OnceLock<RunId>,
    /// So many hosts are sent to at once: what is under way to each of them is in memory, and the wire is one.
    transfers: Semaphore,
    /// Keep the leases of what this run holds (law 6).
    heartbeats: Mutex<Vec<Heartbeat>>,
    /// Hear of people who want this run to stop.
    listeners: Mutex<JoinSet<()>>,
    /// Whoever this run is a part of is not counted while a host does not answer.
    turn: Option<Arc<Turn>>,
}

/// So many are kept for hosts that come later.
const PARCELS: usize = 2;

/// Uploads at once.
const TRANSFERS: usize = 8;

/// Whoever looks on while a run is under way.
pub trait Listen: Send + Sync {
    /// After it is journaled, in order.
    fn event(&self, run: &RunId, event: &Event);
    /// Bytes on their way to a host, or, without one, to this machine.
    fn sent(&self, run: &RunId, host: Option<&HostName>, sent: Sent);
}

/// One who looks on.
pub type Listener = Arc<dyn Listen>;

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub bytes: u64,
    pub of: Option<u64>,
}

/// A wish that a run should stop; the first one stays.
#[derive(Debug, Default)]
pub struct StopRequest(Mutex<Option<Interruption>>);

impl StopRequest {
    /// Asks for it.
    pub fn say(&self, wish: Interruption) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(wish);
    }

    /// What was asked for.
    pub fn get(&self) -> Option<Interruption> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Site {
    /// For one run on this snapshot.
    pub fn new(
        controller: Arc<Controller>,
        snapshot: Arc<AcceptedSnapshot>,
        wish: Arc<StopRequest>,
        listener: Option<Listener>,
    ) -> Self {
        Site {
            controller,
            snapshot,
            wish,
            listener,
            clients: Mutex::default(),
            bundle: Mutex::default(),
            parcels: Mutex::default(),
            trees: Mutex::default(),
            run: OnceLock::new(),
            transfers: Semaphore::new(TRANSFERS),
            heartbeats: Mutex::default(),
            listeners: Mutex::default(),
            turn: width::turn(),
        }
    }

    /// Asks for an operation that may take so long.
    ///
    /// # Errors
    /// Those of the operation; [`HostError::Connection`]: there was no answer.
    pub async fn call_within(&self, target: &Target, op: Op, patience: Duration) -> Result<Reply, HostError> {
        let doing = op.doing();
        let answer = async {
            let op = self.meant(target, op).await?;
            let client = self.client(target).await?;
            let answer = tokio::time::timeout(patience, client.call(&target.root, op)).await;
            answer.unwrap_or_else(|_| Err(reach::unanswered(target, doing, patience)))
        };
        width::wait(self.turn.clone(), answer).await
    }

    /// Whoever takes a root says which machine is meant, by what is known of the host at that moment: no caller can forget it.
    async fn meant(&self, target: &Target, mut op: Op) -> Result<Op, HostError> {
        if let Op::Acquire { machine, .. } | Op::Claim { machine, .. } = &mut op {
            let known = self.controller.machines(vec![target.name.clone()]).await;
            *machine = known.map_err(|error| HostError::Io(error.to_string()))?.remove(&target.name);
        }
        Ok(op)
    }

    /// One agent serves every root of a machine; each host is connected beside the others.
    async fn client(&self, target: &Target) -> Result<Client, HostError> {
        reach::permitted(&self.controller, target)?;
        let endpoint = reach::endpoint(target);
        let cell = {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            clients.entry(endpoint.clone()).or_default().clone()
        };
        let client = cell.get_or_try_init(|| reach::agent(&self.controller, endpoint.as_ref())).await?;
        Ok(client.clone())
    }

    /// Ends what this run has with its agents. Others may use those that only serve roots which are `free`.
    pub async fn give_back(&self, free: &[&Target], others: &[&Target]) {
        self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        let clients = std::mem::take(&mut *self.clients.lock().unwrap_or_else(PoisonError::into_inner));
        let serves = |endpoint: &Option<Endpoint>, targets: &[&Target]| {
            targets.iter().any(|target| reach::endpoint(target) == *endpoint)
        };
        for (endpoint, cell) in clients {
            let idle = serves(&endpoint, free) && !serves(&endpoint, others);
            if let Some(client) = cell.get().filter(|_| idle) {
                reach::give_back(&self.controller, endpoint.as_ref(), client.clone()).await;
            }
        }
    }

    /// Connects to all of these at once; what fails is said when it is used.
    pub async fn connect(&self, targets: impl Iterator<Item = &Target>) {
        join_all(targets.map(|target| self.client(target))).await;
    }

    /// Renews the lease of a root that this run holds, four times as often as it must, until the run is over.
    pub async fn keep(&self, target: &Target, lease: Duration) -> Result<(), HostError> {
        let client = self.client(target).await?;
        let every = (lease / 4).clamp(Duration::from_millis(50), Duration::from_secs(1));
        let beat = client.heartbeat(&target.root, every);
        self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner).push(beat);
        let (mut wishes, wish, root) = (client.cancellations(), Arc::downgrade(&self.wish), target.root.clone());
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            while wishes.changed().await.is_ok() {
                let Some(wish) = wish.upgrade() else { return };
                if let Some(by) = wishes.borrow().get(&root).cloned() {
                    wish.say(Interruption::Cancelled(by));
                }
            }
        });
        Ok(())
    }

    /// What is sent, packed once for all hosts that have the same of it.
    fn parcel(&self, unpacked: Arc<Unpacked>, digests: Vec<Digest>, bytes: u64) -> Result<Arc<Parcel>, HostError> {
        let mut parcels = self.parcels.lock().unwrap_or_else(PoisonError::into_inner);
        // What could not be packed once may be now.
        parcels.retain(|(_, parcel)| !parcel.has_failed());
        if let Some((_, parcel)) = parcels.iter().find(|(contents, _)| *contents == digests) {
            return Ok(parcel.clone());
        }
        let packing = Packing::of(bytes);
        let dir = self.controller.artifacts.dir();
        let parcel = Parcel::begin(dir, unpacked, digests.clone(), packing)
            .map_err(|error| HostError::Io(format!("cannot pack what is sent below {}: {error}", dir.display())))?;
        // Each takes room on the disk for as long as somebody may want it.
        if parcels.len() == PARCELS {
            parcels.pop_front();
        }
        parcels.push_back((digests, parcel.clone()));
        Ok(parcel)
    }

    fn sent(&self, host: Option<&HostName>, sent: Sent) {
        if let (Some(listener), Some(run)) = (&self.listener, self.run.get()) {
            listener.sent(run, host, sent);
        }
    }

    fn trouble(error: ArtifactError) -> Trouble {
        Trouble { class: FailureClass::Error, message: error.to_string() }
    }
}

impl World for Site {
    fn now(&self) -> Timestamp {
        now()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn call(&self, target: &Target, op: Op) -> Result<Reply, HostError> {
        let patience = op.patience();
        self.call_within(target, op, patience).await
    }

    async fn upload(
        &self,
        target: &Target,
        epoch: Epoch,
        bundle: Digest,
        blobs: Vec<(Digest, u64)>,
    ) -> Result<Reply, HostError> {
        let client = self.client(target).await?;
        // Never closed.
        let _turn = self.transfers.acquire().await;
        let held = self.bundle.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let unpacked = match held {
            Some((digest, unpacked)) if digest == bundle => unpacked,
            _ => return Err(HostError::Io("the bundle is not open in this run".to_owned())),
        };
        let of = blobs.iter().map(|(_, size)| size).sum();
        let so_far = AtomicU64::new(0);
        let sent = |bytes| {
            so_far.store(bytes, Ordering::Relaxed);
            self.sent(Some(&target.name), Sent { bytes, of: Some(of) });
        };
        let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
        let uploaded = async {
            if client.packs() {
                let mut pieces = Sending::new(self.parcel(unpacked.clone(), digests.clone(), of)?, sent);
                client.upload(&target.root, epoch, blobs, &mut pieces).await
            } else {
                let mut pieces = Plain::begin(unpacked.clone(), digests.clone(), sent);
                client.upload(&target.root, epoch, blobs, &mut pieces).await
            }
        };
        let uploaded = width::wait_while_still(self.turn.clone(), &so_far, uploaded).await;
        let Err(HostError::Integrity(_)) = &uploaded else { return uploaded };
        // What arrived is not what it was called: on the way, or here already?
        let checked = tokio::task::spawn_blocking(move || unpacked.check(&digests)).await;
        checked.map_err(io::Error::other).flatten().map_err(|error| HostError::Io(error.to_string()))?;
        uploaded
    }

    async fn remote_bundle(&self, env: &Environment, sha: &Sha) -> Result<RemoteBundle, Trouble> {
        let source = source(env, sha, self.snapshot.base.as_deref()).map_err(Trouble::error)?;
        let fetcher = self.controller.artifacts.fetcher();
        fetcher.permit(&source.url).map_err(|error| Trouble::error(error.to_string()))?;
        let digest = fetcher.checksum(&source).await;
        let digest = digest.map_err(|error| Trouble::error(error.to_string()))?;
        Ok(RemoteBundle { digest, place: Secret::new(source.url.address()), tree: OnceLock::new() })
    }

    async fn fetch(&self, env: &Environment, sha: &Sha) -> Result<String, Trouble> {
        let source = source(env, sha, self.snapshot.base.as_deref()).map_err(Trouble::error)?;
        let expected = self.controller.artifacts.fetcher().checksum(&source).await;
        let digest = expected.map_err(|error| Trouble::error(error.to_string()))?;
        let cached = self.controller.artifacts.get(&digest).is_some();
        let progress =
            |seen: crate::artifact::fetch::Progress| self.sent(None, Sent { bytes: seen.done, of: seen.total });
        let unpacked =
            self.controller.artifacts.ensure(&source, Some(digest), &progress).await.map_err(Self::trouble)?;
        let size = bytes(unpacked.manifest.bytes());
        *self.bundle.lock().unwrap_or_else(PoisonError::into_inner) = Some((digest, Arc::new(unpacked)));
        let place = &source.url;
        Ok(if cached { format!("{size}, in the cache already") } else { format!("{size} from {place}") })
    }

    async fn verify(&self, _env: &Environment, sha: &Sha) -> Result<Bundle, Trouble> {
        let held = self.bundle.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((digest, unpacked)) = held else {
            return Err(Trouble::error(format!("the bundle of {} was not fetched in this run", sha.short())));
        };
        Ok(Bundle { digest, tree: Tree::new(unpacked.manifest.clone()) })
    }

    fn tree_of(&self, bundle: &Digest) -> Option<Tree> {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || self.controller.artifacts.get(bundle).map(|unpacked| Tree::new(unpacked.manifest));
        trees.entry(*bundle).or_insert_with(read).clone()
    }

    async fn probe(&self, probe: &Probe, secret: Option<Secret>, timeout: Duration) -> Attempt {
        let context = health::Context { secret: secret.as_ref(), dir: None, timeout, now };
        health::probe::attempt(probe, &context).await
    }

    async fn measure(&self, source: &MetricSource, secret: Option<Secret>, timeout: Duration) -> Result<f64, String> {
        let context = health::Context { secret: secret.as_ref(), dir: None, timeout, now };
        health::metric::sample(source, &context).await
    }

    fn secret(&self, env: &Environment, name: &str, url: &str) -> Result<Secret, Refused> {
        self.controller.settings.secrets.sent(&env.name, name, url)
    }

    async fn revert(&self, env: &Environment, from: &Sha, to: &Sha, reason: &str) -> Result<String, Trouble> {
        let (controller, env) = (self.controller.clone(), env.clone());
        let (from, to, reason) = (from.clone(), to.clone(), reason.to_owned());
        let committed =
            tokio::task::spawn_blocking(move || commit::revert(&controller, &env, &from, &to, &reason)).await;
        let committed = committed.map_err(|error| Trouble::error(error.to_string()))?;
        committed.map(|commit| commit.to_string()).map_err(|error| Trouble::error(error.to_string()))
    }

    async fn journal(&self, run: &RunId, event: &Event) -> Result<(), Trouble> {
        let (controller, run, event) = (self.controller.clone(), run.clone(), event.clone());
        let told = self.listener.clone();
        self.run.get_or_init(|| run.clone());
        let wrote = tokio::task::spawn_blocking(move || {
            let wrote = controller.store.append(&run, &event);
            if let (Ok(_), Some(told)) = (&wrote, told) {
                told.event(&run, &event);
            }
            wrote
        });
        let wrote = wrote.await.map_err(|error| Trouble::error(error.to_string()))?;
        wrote.map(|_| ()).map_err(|error| Trouble::error(format!("the journal cannot be written: {error}")))
    }

    fn interruption(&self) -> Option<Interruption> {
        self.wish.get()
    }
}
