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
use crate::artifact::picked::Picked;
use crate::artifact::registry::{Image, Layer};
use crate::artifact::store::ArtifactError;
use crate::artifact::terms::Terms;
use crate::health;
use crate::host::call::client::{Client, Heartbeat};
use crate::host::call::piece::Packing;
use crate::host::wire::compose::Login;
use crate::host::wire::render::Version;
use crate::host::wire::{HostError, Op, Reply, Secret};
use crate::journal::{Event, FailureClass};
use crate::link::endpoint::Endpoint;
use crate::model::desired::{Environment, MetricSource, Probe, Target};
use crate::model::ids::{Digest, Epoch, HostName, RunId, Sha};
use crate::model::image::Platform;
use crate::model::observed::Attempt;
use crate::model::tenancy::Tenant;
use crate::plan::policy::Refused;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::commit;
use crate::run::controller::{Controller, now};
use crate::run::images::Images;
use crate::run::look::build::Build;
use crate::run::look::reach;
use crate::run::secrets::Purpose;
use crate::run::size::bytes;
use crate::run::step::parcel::{Parcel, Plain, Sending};
use crate::run::step::stop_request::StopRequest;
use crate::run::step::transfer::warned;
use crate::run::step::world::{Bundle, Interruption, RESUMED, RemoteBundle, Tree, Trouble, World, interrupted};
use crate::run::width::{self, Turn};
use crate::run::{registries, rendered};

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
    parcels: Mutex<VecDeque<(Digest, Picked, Arc<Parcel>)>>,
    /// Of bundles that hosts have already.
    trees: Mutex<HashMap<Digest, Option<Tree>>>,
    /// Of projects whose images are sent.
    images: Images,
    /// The run, once its first event was journaled.
    run: Arc<OnceLock<RunId>>,
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
    /// It was asked to stop, and goes on with what is under way.
    fn stopping(&self, run: &RunId, why: &Interruption);
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
            images: Images::default(),
            run: Arc::default(),
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
            // An answer that says so is no surprise to whoever it is for.
            self.note_cancelled(&client, &target.root);
            answer.unwrap_or_else(|_| Err(reach::unanswered(target, doing, patience)))
        };
        let mut answer = width::wait(self.turn.clone(), answer).await;
        if let Ok(reply) = &mut answer {
            rendered::hide(&self.snapshot, target, reply);
        }
        answer
    }

    /// Whoever takes a root says which machine is meant, by what is known of the host at that moment, and by which names it is
    /// taken: no caller can forget it.
    async fn meant(&self, target: &Target, mut op: Op) -> Result<Op, HostError> {
        if let Op::Acquire { tenant, .. } = &mut op {
            let is_it = |one: &&Target| one.name == target.name && one.root == target.root;
            let environments = self.snapshot.desired.environments.values();
            *tenant = environments.filter_map(|env| Some(Tenant::of(env, env.targets.iter().find(is_it)?))).next();
        }
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

    fn note_cancelled(&self, client: &Client, root: &str) {
        if let Some(by) = client.cancellations().borrow().get(root) {
            self.wish.say(Interruption::Cancelled(by.clone()));
        }
    }

    /// Whoever looks on is told once that the run was asked to stop.
    fn tell_of_wishes(&self, listeners: &mut JoinSet<()>) {
        let (Some(listener), true) = (self.listener.clone(), listeners.is_empty()) else { return };
        let (wish, run) = (Arc::downgrade(&self.wish), self.run.clone());
        listeners.spawn(async move {
            let Some(wish) = wish.upgrade() else { return };
            wish.differs_from(None).await;
            if let (Some(run), Some(why)) = (run.get(), wish.get()) {
                listener.stopping(run, &why);
            }
        });
    }

    /// Renews the lease of a root that this run holds, four times as often as it must, until the run is over.
    pub async fn keep(&self, target: &Target, lease: Duration, epoch: Epoch) -> Result<(), HostError> {
        let client = self.client(target).await?;
        let every = (lease / 4).clamp(Duration::from_millis(50), Duration::from_secs(1));
        let beat = client.heartbeat(&target.root, every);
        self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner).push(beat);
        let (mut wishes, wish, root) = (client.cancellations(), Arc::downgrade(&self.wish), target.root.clone());
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        self.tell_of_wishes(&mut listeners);
        let (stop, at) = (self.wish.clone(), root.clone());
        // What waits for the command that runs there is not asked: the host is, beside it.
        listeners.spawn(async move {
            let by = stop.at_once().await;
            let op = Op::Cancel { by, now: true, only: Some(epoch) };
            if let Err(error) = client.call(&at, op).await {
                tracing::warn!(root = at, %error, "what runs there could not be stopped");
            }
        });
        listeners.spawn(async move {
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
    fn parcel(&self, unpacked: Arc<Unpacked>, files: &Picked, bytes: u64) -> Result<Arc<Parcel>, HostError> {
        let mut parcels = self.parcels.lock().unwrap_or_else(PoisonError::into_inner);
        // What could not be packed once may be now.
        parcels.retain(|(.., parcel)| !parcel.has_failed());
        let bundle = unpacked.bundle;
        let same = |of: &Digest, contents: &Picked| *of == bundle && contents == files;
        if let Some((.., parcel)) = parcels.iter().find(|(of, contents, _)| same(of, contents)) {
            return Ok(parcel.clone());
        }
        let packing = Packing::of(bytes);
        let dir = self.controller.artifacts.dir();
        let parcel = Parcel::begin(dir, unpacked, files.clone(), packing)
            .map_err(|error| HostError::Io(format!("cannot pack what is sent below {}: {error}", dir.display())))?;
        // Each takes room on the disk for as long as somebody may want it.
        if parcels.len() == PARCELS {
            parcels.pop_front();
        }
        parcels.push_back((bundle, files.clone(), parcel.clone()));
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

    async fn offer(
        &self,
        target: &Target,
        epoch: Epoch,
        tree: &Tree,
        base: Option<&Tree>,
        keep: Option<u32>,
    ) -> Result<Reply, HostError> {
        for _ in 0..RESUMED {
            let telling = tree.telling(base);
            let op = Op::Missing { epoch, listing: telling.listing(), keep };
            let (doing, patience) = (op.doing(), op.patience());
            let answer = async {
                let client = self.client(target).await?;
                let offered = client.offer(&target.root, (epoch, keep), telling, patience);
                let answer = tokio::time::timeout(patience, offered).await;
                answer.unwrap_or_else(|_| Err(reach::unanswered(target, doing, patience)))
            };
            match width::wait(self.turn.clone(), answer).await {
                Err(HostError::Interrupted(why)) => {
                    tracing::info!(host = %target.name, why, "the manifest is told again")
                }
                answer => return answer,
            }
        }
        Err(interrupted(&target.name))
    }

    async fn upload(&self, target: &Target, epoch: Epoch, bundle: &Bundle, files: Picked) -> Result<Reply, HostError> {
        let client = self.client(target).await?;
        // Never closed.
        let _turn = self.transfers.acquire().await;
        let held = self.bundle.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let unpacked = match held {
            Some((digest, unpacked)) if digest == bundle.digest => unpacked,
            _ => match self.images.held(&bundle.digest) {
                Some(layer) => layer,
                None => return Err(HostError::Io("the bundle is not open in this run".to_owned())),
            },
        };
        let of = files.files(&unpacked.manifest).map(|(.., size)| size).sum();
        let so_far = AtomicU64::new(0);
        let sent = |bytes| {
            so_far.store(bytes, Ordering::Relaxed);
            self.sent(Some(&target.name), Sent { bytes, of: Some(of) });
        };
        let what = (bundle.tree.digest, files.clone(), of);
        let uploaded = async {
            if client.packs() {
                let mut pieces = Sending::new(self.parcel(unpacked.clone(), &files, of)?, sent);
                client.upload(&target.root, epoch, what, &mut pieces).await
            } else {
                let mut pieces = Plain::begin(unpacked.clone(), files.clone(), sent);
                client.upload(&target.root, epoch, what, &mut pieces).await
            }
        };
        let uploaded = width::wait_while_still(self.turn.clone(), &so_far, uploaded).await;
        let Err(HostError::Integrity(_)) = &uploaded else { return uploaded };
        // What arrived is not what it was called: on the way, or here already?
        let checked = tokio::task::spawn_blocking(move || unpacked.check(&files)).await;
        checked.map_err(io::Error::other).flatten().map_err(|error| HostError::Io(error.to_string()))?;
        uploaded
    }

    async fn remote_bundle(&self, env: &Environment, sha: &Sha) -> Result<RemoteBundle, Trouble> {
        let build = Build::of(env, sha, self.snapshot.base.as_deref()).map_err(Trouble::error)?;
        let source = match build {
            Build::Bundle(source) => source,
            Build::Git(commit) => return Ok(RemoteBundle::of(commit)),
            Build::Directory(directory) => {
                return Err(Trouble::error(format!("{} is sent, and no host fetches it", directory.place())));
            }
        };
        let fetcher = self.controller.artifacts.fetcher();
        fetcher.permit(&source.url).map_err(|error| Trouble::error(error.to_string()))?;
        let digest = fetcher.checksum(&source).await;
        let digest = digest.map_err(|error| Trouble::error(error.to_string()))?;
        let known_as = format!("sha256 {}", digest.short());
        let place = Secret::new(source.url.address());
        Ok(RemoteBundle { digest, known_as, commit: None, place, tree: OnceLock::new() })
    }

    async fn fetch(&self, env: &Environment, sha: &Sha) -> Result<String, Trouble> {
        let build = Build::of(env, sha, self.snapshot.base.as_deref()).map_err(Trouble::error)?;
        let digest = build.digest(&self.controller).await.map_err(Self::trouble)?;
        let cached = self.controller.artifacts.get(&digest).is_some();
        let progress =
            |seen: crate::artifact::fetch::Progress| self.sent(None, Sent { bytes: seen.done, of: seen.total });
        let unpacked = build.bring(&self.controller, Some(digest), &progress).await.map_err(Self::trouble)?;
        let unpacked = Terms::of(env).take(unpacked, &build.place());
        let unpacked = unpacked.map_err(|error| Self::trouble(error.into()))?;
        let (size, notes) = (bytes(unpacked.manifest.bytes()), unpacked.notes.clone());
        *self.bundle.lock().unwrap_or_else(PoisonError::into_inner) = Some((digest, Arc::new(unpacked)));
        let place = build.place();
        let said = if cached { format!("{size}, in the cache already") } else { format!("{size} from {place}") };
        Ok(warned(said, &notes))
    }

    async fn verify(&self, env: &Environment, sha: &Sha) -> Result<Bundle, Trouble> {
        let held = self.bundle.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((digest, unpacked)) = held else {
            return Err(Trouble::error(format!("the bundle of {} was not fetched in this run", sha.short())));
        };
        let build = Build::of(env, sha, self.snapshot.base.as_deref()).map_err(Trouble::error)?;
        let known_as = build.known_as(&digest);
        Ok(Bundle { digest, known_as, tree: Tree::new(unpacked.manifest.clone()), notes: unpacked.notes.clone() })
    }

    fn tree_of(&self, env: &Environment, bundle: &Digest) -> Option<Tree> {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        // On terms that it would not be taken on now it may have come there all the same: then all of the next one is told.
        let take = |unpacked| Terms::of(env).take(unpacked, "the cache").ok();
        let read = || self.controller.artifacts.get(bundle).and_then(take).map(|taken| Tree::new(taken.manifest));
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
        self.snapshot.secrets().sent(&env.name, name, url)
    }

    async fn image(&self, env: &Environment, reference: &str, platform: &Platform) -> Result<Arc<Image>, Trouble> {
        let registry = self.images.registry(&self.controller, self.snapshot.secrets(), env, reference);
        let registry = registry.map_err(Trouble::error)?;
        let image = self.images.image(&registry, reference, platform).await;
        image.map_err(|error| Self::trouble(error.into()))
    }

    async fn layer(&self, env: &Environment, reference: &str, layer: &Layer) -> Result<Bundle, Trouble> {
        let registry = self.images.registry(&self.controller, self.snapshot.secrets(), env, reference);
        let registry = registry.map_err(Trouble::error)?;
        let progress =
            |seen: crate::artifact::fetch::Progress| self.sent(None, Sent { bytes: seen.done, of: seen.total });
        let brought = registry.layer(&self.controller.artifacts, reference, layer, &progress).await;
        let (brought, known_as) = (brought.map_err(Self::trouble)?, format!("sha256 {}", layer.digest.short()));
        let tree = Tree::new(brought.manifest.clone());
        Ok(Bundle { digest: self.images.hold(brought), known_as, tree, notes: Vec::new() })
    }

    fn login(&self, env: &Environment, registry: &str) -> Result<Option<Login>, Trouble> {
        registries::login(self.snapshot.secrets(), env, registry).map_err(Trouble::error)
    }

    fn password(&self, env: &Environment, name: &str) -> Result<Secret, Trouble> {
        let found = self.snapshot.secrets().get(name, &Purpose::database(&env.name));
        found.map_err(|refused| {
            Trouble::error(format!("a database is dumped with the secret {name}, {}: {}", refused.why, refused.fix))
        })
    }

    fn render(&self, env: &Environment, target: &Target, sha: &Sha) -> Result<Vec<Version>, Trouble> {
        rendered::render(self.snapshot.secrets(), env, target, sha).map_err(Trouble::error)
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

    async fn other_wish(&self, heard: Option<&Interruption>) {
        self.wish.differs_from(heard).await;
    }
}
